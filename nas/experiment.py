"""An experiment: one YAML file with space, data, training, objectives, search and confirmation."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator

from nas.samplers import SAMPLERS, sampler_entry
from reports.objectives import OBJECTIVES
from search_spaces import InputError, SearchSpace
from search_spaces.config import Config
from search_spaces.errors import unknown
from search_spaces.shipped import SPACES, find_file
from search_spaces.space_config import SpaceConfig
from search_spaces.yaml_files import Document, read_yaml, validate
from trials import DataConfig, TrainConfig
from trials.data import known_images


class SearchConfig(Config):
    """How architectures are proposed."""

    sampler: str = Field("nsga2", json_schema_extra={"enum": list(SAMPLERS)})
    """How the next architecture is chosen."""
    trials: int = Field(60, ge=1)
    """Proposals to train, to the end; baselines come on top."""
    seed: int = Field(0, ge=0)
    """Of the sampler and of each trial's training."""
    workers: int | Literal["auto"] = "auto"
    """Trials at a time. `auto`: as many as CPU cores, each with one thread; on GPUs one each."""
    deterministic: bool = True
    """Ask the sampler for whole generations, so that the same seed gives the same search whatever finishes first."""
    random_baselines: int = Field(3, ge=0)
    """Random placements among the baselines."""

    @field_validator("sampler")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return sampler_entry(name).name

    @field_validator("workers")
    @classmethod
    def _is_positive(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and workers < 1:
            raise InputError(f"must be at least 1 or `auto`, got {workers}")
        return workers


class ConfirmConfig(Config):
    """How the front and the baselines are measured again."""

    top: int = Field(8, ge=0)
    """Architectures of the front to confirm, spread evenly along it; 0 confirms nothing."""
    seeds: int = Field(3, ge=1)
    """Trainings of each, with seeds that the search did not use."""
    epochs: int = Field(24, ge=1)
    """Length of each training."""


class ExperimentConfig(Config):
    """An experiment as a file writes it."""

    description: str = ""
    """What the experiment is for, in a sentence; stands at the top of the report."""
    space: str | SpaceConfig
    """A shipped space's name, a path (`.yaml`) beside this file, or the space itself."""
    data: DataConfig
    """The images."""
    train: TrainConfig
    """How a trial is trained."""
    objectives: list[str] = Field(
        ["accuracy", "macs"], min_length=1, json_schema_extra={"items": {"type": "string", "enum": list(OBJECTIVES)}}
    )
    """What the front is made of."""
    search: SearchConfig = SearchConfig()
    """The search: sampler, number of trials, seed, workers."""
    confirm: ConfirmConfig = ConfirmConfig()
    """The confirmation that follows it: how many, with how many seeds, how long."""

    @field_validator("objectives")
    @classmethod
    def _are_known(cls, objectives: list[str]) -> list[str]:
        for name in objectives:
            if name not in OBJECTIVES:
                raise unknown("objective", name, OBJECTIVES)
        if len(set(objectives)) < len(objectives):
            raise InputError(f"names an objective twice: {', '.join(objectives)}")
        return objectives


@dataclass(frozen=True)
class Experiment:
    """A validated experiment with its space."""

    name: str
    config: ExperimentConfig
    space: SearchSpace
    record: dict[str, Any]
    """Everything that the results depend on, as plain data with the space inline; kept in the study."""


EXPERIMENTS = ("nas", "library")
"""Where the shipped experiments are."""


def load_experiment(name: str) -> Experiment:
    """Read an experiment by its shipped name or path.

    Raises:
        InputError: a mistake in the file or its space, named by file, line and key.
    """
    path = find_file(name, "experiment", EXPERIMENTS)
    document = read_yaml(path)
    config = validate(ExperimentConfig, document)
    space_document = _space_document(config, document)
    space_config = validate(SpaceConfig, space_document)
    space = SearchSpace.from_document(space_document)
    _check_images(config, space, document)
    record = config.model_dump() | {"space": space_config.model_dump()}
    return Experiment(path.stem, config, space, record)


def load_space(name: str) -> SearchSpace:
    """Read a space by its shipped name or path. Raises InputError."""
    return SearchSpace.load(find_file(name, "space", SPACES))


def _space_document(config: ExperimentConfig, document: Document) -> Document:
    if not isinstance(config.space, str):
        return document.child("space")
    try:
        return read_yaml(find_file(config.space, "space", SPACES, document.folder))
    except InputError as error:
        raise document.error(("space",), str(error)) from None


def _check_images(config: ExperimentConfig, space: SearchSpace, document: Document) -> None:
    """Refuse a host that does not fit images whose shape is known before they are read."""
    known = known_images(config.data)
    host = space.host
    for what, value in known.items():
        if getattr(host, what) != value:
            raise document.error(
                ("space",),
                f"the host {host.name} has `{what}: {getattr(host, what)}`, "
                f"but {config.data.source} needs `{what}: {value}`",
            )


MAY_CHANGE: Sequence[tuple[str, ...]] = (
    ("description",),
    ("space", "description"),
    ("data", "dir"),
    ("search", "workers"),
    ("confirm",),
)
"""What may differ when a study is resumed; besides, `search.trials` may be raised."""


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return in words what keeps a study of the experiment `old` from going on as `new`; empty if nothing does."""
    found = []
    for keys, (before, after) in sorted(_differences(old, new, ()).items()):
        allowed = any(keys[: len(free)] == free for free in MAY_CHANGE)
        raised = keys == ("search", "trials") and after > before
        if not allowed and not raised:
            found.append(f"{'.'.join(map(str, keys))}: {_show(before)} -> {_show(after)}")
    return found


def _differences(old: Any, new: Any, keys: tuple[str, ...]) -> dict[tuple[str, ...], tuple[Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        result: dict[tuple[str, ...], tuple[Any, Any]] = {}
        for key in {**old, **new}:
            result |= _differences(old.get(key), new.get(key), (*keys, key))
        return result
    return {} if old == new else {keys: (old, new)}


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({hashlib.sha256(text.encode()).hexdigest()[:6]})"
