"""What is to be trained: an architecture, a recipe, a seed, and where."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import Architecture, InputError
from search_spaces.yaml_files import Document
from trials.retrain.recipe import Recipe
from trials.retrain.recipes import parse_recipe


@dataclass(frozen=True)
class Job:
    """A training, in all of its processes the same."""

    architecture: Architecture
    recipe: Recipe
    recipe_name: str
    seed: int
    out: Path
    """The folder that is written; on several machines, one that all of them see."""
    data_dir: Path | None = None
    """In place of the recipe's folder."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:<n>`; with several processes on CUDA, each takes the one of its number."""
    workers: int | None = None
    """Processes that read data for each process; None: as many as there are CPUs for it."""
    backbone: Path | None = None
    """Weights to start the backbone from."""
    keep_checkpoints: bool = False
    """Leave the last checkpoints when the training has come to its end."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"a seed must not be negative, got {self.seed}")

    def to_json(self) -> str:
        """Return it as text; `from_json` reads it back in another process."""
        paths = {name: _text(getattr(self, name)) for name in ("out", "data_dir", "backbone")}
        others = {name: getattr(self, name) for name in ("recipe_name", "seed", "device", "workers")}
        whole = {"architecture": self.architecture.to_dict(), "recipe": self.recipe.to_dict()}
        return json.dumps({**whole, **others, **paths, "keep_checkpoints": self.keep_checkpoints})

    @staticmethod
    def from_json(text: str) -> "Job":
        """Return the job that `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        paths = {name: None if data[name] is None else Path(data[name]) for name in ("out", "data_dir", "backbone")}
        architecture = Architecture.from_dict(data["architecture"])
        recipe = parse_recipe(Document(data["recipe"], data["recipe_name"]))
        return Job(**{**data, **paths, "architecture": architecture, "recipe": recipe})


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().absolute())
