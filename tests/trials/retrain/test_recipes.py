"""Recipes as files."""

from pathlib import Path

import pytest

from search_spaces import InputError
from search_spaces.yaml_files import Document, dump_yaml, parse_yaml
from trials.retrain import load_recipe, recipe_name, recipe_names
from trials.retrain.recipes import TASKS, parse_recipe, recipe_schema

SMALL = "task: classification\nsource: x\nepochs: 3\nbatch_size: 8\noptimizer: {lr: 0.1}\ndata: {source: cifar10}\n"


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_says_where_it_is_from_and_stays_what_it_is_when_written_out(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.source
    assert recipe.description
    written = parse_recipe(parse_yaml(dump_yaml(recipe.to_dict())))
    assert written == recipe
    assert written.hash == recipe.hash


def test_an_unknown_recipe_is_answered_with_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown recipe .* 'imagenet-bm'; .*did you mean 'imagenet-bam'"):
        load_recipe("imagenet-bm")
    (tmp_path / "mine.yaml").write_text(SMALL)
    assert load_recipe(str(tmp_path / "mine.yaml")).batch_size == 8
    assert (recipe_name(str(tmp_path / "mine.yaml")), recipe_name("imagenet-bam")) == ("mine", "imagenet-bam")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: x", "a recipe needs the key `task`; allowed: classification"),
        ("task: clasification", r"line 1: task: unknown task 'clasification'; .*did you mean 'classification'"),
        (SMALL.replace("epochs", "epoch"), r"epoch: unknown key; .*did you mean 'epochs'"),
        (SMALL + "iterations: 5\n", "give one of `epochs` and `iterations`"),
        (SMALL.replace("epochs: 3", "iterations: 3"), "a classification's length is given in `epochs`"),
        (SMALL + "schedule: {warmup: 3}\n", "`warmup` must be shorter than the 3 epochs, got 3"),
        (SMALL + "schedule: {kind: step, milestones: [2, 3]}\n", r"`milestones` must lie within the 3 epochs"),
        (SMALL + "crop: {eval_size: 300}\n", "`eval_size` must be at most `eval_resize` .256., got 300"),
        (SMALL + "crop: {eval_size: 200}\n", "`crop` is for images on disk"),
        (SMALL.replace("lr: 0.1", "lr: 0.1, nesterov: true, momentum: 0.0"), "`nesterov: true` needs"),
    ],
)
def test_mistakes_are_answered(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_recipe(parse_yaml(text))


def test_what_does_not_bear_on_the_result_is_not_in_the_hash() -> None:
    recipe = parse_recipe(parse_yaml(SMALL))
    same = {"description": "y", "source": "z", "accumulation": 2, "checkpoint_s": 3.0, "keep": 5}
    assert {parse_recipe(Document(recipe.to_dict() | {key: value})).hash for key, value in same.items()} == {
        recipe.hash
    }
    assert parse_recipe(Document(recipe.to_dict() | {"batch_size": 9})).hash != recipe.hash


def test_the_schema_of_recipes_has_every_task() -> None:
    schema = recipe_schema()
    variants = [schema["$defs"][each["$ref"].rpartition("/")[2]] for each in schema["anyOf"]]
    assert {variant["properties"]["task"]["const"] for variant in variants} == set(TASKS)
    assert all("description" in key for key in variants[0]["properties"].values())
