"""Recipes by name or path; each task has its class here."""

from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from search_spaces.errors import unknown
from search_spaces.shipped import find_file, shipped_names
from search_spaces.yaml_files import Document, read_yaml, validate
from trials.detection.detection_recipe import DetectionRecipe
from trials.detection.segmentation_recipe import SegmentationRecipe
from trials.retrain.classification_recipe import ClassificationRecipe
from trials.retrain.recipe import Recipe

RECIPES = ("trials.retrain", "library")

TASKS: dict[str, type[Recipe]] = {
    "classification": ClassificationRecipe,
    "detection": DetectionRecipe,
    "segmentation": SegmentationRecipe,
}
"""The class of recipes of each `task`."""


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return shipped_names(RECIPES)


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its shipped name or the path of a YAML file.

    Raises:
        InputError: there is no such recipe, or it has mistakes, each named by file, line and key.
    """
    return parse_recipe(read_yaml(find_file(name, "recipe", RECIPES)))


def parse_recipe(document: Document) -> Recipe:
    """Return the recipe of a document. Raises InputError."""
    data = document.data
    if not isinstance(data, dict) or "task" not in data:
        raise document.error((), f"a recipe needs the key `task`; allowed: {', '.join(TASKS)}")
    if data["task"] not in TASKS:
        raise document.error(("task",), str(unknown("task", str(data["task"]), TASKS)))
    return validate(TASKS[data["task"]], document)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe, whatever its task."""
    by_task, shared = models_json_schema([(recipe, "validation") for recipe in TASKS.values()])
    return {"anyOf": list(by_task.values()), **shared}


def recipe_name(name: str) -> str:
    """Return what a recipe is called in paths and tables: its shipped name, or its file's stem."""
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name
