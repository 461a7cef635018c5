"""An experiment: one YAML file with space, data, training, objectives, search and confirmation."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from nas.samplers import AUTO, SAMPLERS, resolve_sampler
from reports.objectives import OBJECTIVES, QUALITY
from reports.view import ControlKind
from search_spaces import InputError, SearchSpace
from search_spaces.config import Config
from search_spaces.errors import unknown
from search_spaces.shipped import SPACES, find_file
from search_spaces.space.space_config import SpaceConfig
from search_spaces.yaml_files import Document, read_yaml, validate
from trials import DataConfig, TrainConfig
from trials.data import known_images
from trials.trial import check_recipe


class EarlyStoppingConfig(Config):
    """When trials of the search are stopped before their end, by successive halving; needs `train: {schedule: wsd}`."""

    rungs: list[int] = Field(min_length=1)
    """Epochs after which a trial is cooled down, measured and judged; ascending, below `train.epochs`."""
    reduction_factor: float = Field(3.0, gt=1)
    """One in so many goes on from each rung: those of the lowest non-dominated rank over quality and costs."""
    let_live: float = Field(0.05, ge=0, lt=1)
    """Share of those to be stopped that are trained to their end all the same, to tell what stopping costs."""

    @field_validator("rungs")
    @classmethod
    def _ascend(cls, rungs: list[int]) -> list[int]:
        if rungs[0] < 1 or any(a >= b for a, b in pairwise(rungs)):
            raise InputError(f"must be epochs in ascending order, from 1 on, got {rungs}")
        return rungs


class SearchConfig(Config):
    """How architectures are proposed."""

    sampler: str = Field(AUTO, json_schema_extra={"enum": [AUTO, *SAMPLERS]})
    """How the next architecture is chosen. `auto`: `exhaustive` where `trials` are enough for the whole space, else
    `nsga2` for one or two objectives and `nsga3` for more."""
    trials: int = Field(60, ge=1)
    """Proposals to train, to the end or until they are stopped early; baselines come on top."""
    seed: int = Field(0, ge=0)
    """Of the sampler and of each trial's training."""
    workers: int | Literal["auto"] = "auto"
    """Trials at a time, each with one thread. `auto`: on a CPU as many as cores, on GPUs as
    many as fill them."""
    deterministic: bool | None = None
    """Ask the sampler for whole generations, so that the same seed gives the same search whatever finishes first; false
    never waits. Not given: true in the local pool, false on a cluster, as the study was begun."""
    memory_limit: float | None = Field(None, gt=0)
    """Bytes that a training may take; a proposal that is expected to take more is not trained."""
    time_limit: float | None = Field(None, gt=0)
    """Seconds that a worker may spend on one training, of the confirmation too, before it is taken to hang: it says
    where it stood, is ended and fails, and is not tried again. Not given: no limit."""
    random_baselines: int = Field(3, ge=0)
    """Random placements among the baselines."""
    early_stopping: EarlyStoppingConfig | None = None
    """When trials are stopped before their end; not given: never."""

    @field_validator("sampler")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in (AUTO, *SAMPLERS):
            raise unknown("sampler", name, (AUTO, *SAMPLERS))
        return name

    @field_validator("workers")
    @classmethod
    def _is_positive(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and workers < 1:
            raise InputError(f"must be at least 1 or `auto`, got {workers}")
        return workers


class Resources(Config):
    """What one trial takes of a machine; parts of a GPU let several trials share it."""

    cpu: float = Field(1.0, gt=0)
    """Cores, and threads of torch (at least one)."""
    gpu: float | None = Field(None, ge=0)
    """GPUs, or a part of one; not given: with Ray a whole one where there is any, in the local pool as
    `search.workers` says."""

    @field_validator("gpu")
    @classmethod
    def _is_a_part_or_whole(cls, gpu: float | None) -> float | None:
        if gpu is not None and gpu > 1:
            raise InputError(f"a trial trains on one GPU or a part of one, got {gpu:g}")
        return gpu


class ConfirmConfig(Config):
    """How the front and the baselines are measured again."""

    top: int = Field(8, ge=0)
    """Architectures of the front to confirm, spread evenly along it; 0 confirms nothing. A race takes what lies closest
    behind the front as well, up to this number."""
    seeds: int = Field(3, ge=1)
    """Trainings of each, with seeds that the search did not use; in a race, before the first decision."""
    epochs: int = Field(24, ge=1)
    """Length of each training."""
    max_seeds: int | None = None
    """More than `seeds` makes the confirmation a race: further seeds, up to this number, go where something is open."""
    budget: int | None = Field(None, ge=1)
    """Trainings that a race may take in all, the baselines' included; without it, as many as it needs."""
    controls: list[ControlKind] = Field(default_factory=lambda: list(get_args(ControlKind)))
    """What the architectures of the front are compared with at equal cost: the hand-made placement nearest in
    parameters and MACs, a random placement that costs the same, the host made wider. None with an empty list."""
    max_controls: int = Field(6, ge=0)
    """Architectures that are trained as such in addition, at most; the front's knee and its best come first."""

    @field_validator("max_seeds")
    @classmethod
    def _is_a_race(cls, max_seeds: int | None, info: ValidationInfo) -> int | None:
        seeds = info.data.get("seeds")
        if max_seeds is None or seeds is None:
            return max_seeds
        if max_seeds < seeds:
            raise InputError(f"must be at least `seeds` ({seeds}), got {max_seeds}")
        if max_seeds > seeds == 1:
            raise InputError(f"a race (here up to {max_seeds} seeds) needs at least `seeds: 2` before it can decide")
        return max_seeds

    @field_validator("budget")
    @classmethod
    def _is_of_a_race(cls, budget: int | None, info: ValidationInfo) -> int | None:
        seeds, max_seeds = info.data.get("seeds"), info.data.get("max_seeds")
        if budget is not None and seeds is not None and (max_seeds is None or max_seeds <= seeds):
            raise InputError(f"is for a race; give `max_seeds` too, more than `seeds` ({seeds})")
        return budget

    @field_validator("controls")
    @classmethod
    def _are_different(cls, controls: list[ControlKind]) -> list[ControlKind]:
        if len(set(controls)) < len(controls):
            raise InputError(f"names a kind twice: {', '.join(controls)}")
        return controls

    @property
    def is_race(self) -> bool:
        """Whether the number of seeds depends on what the first of them show."""
        return self.max_seeds is not None and self.max_seeds > self.seeds


class KeepConfig(Config):
    """What stays on the disk of what trainings write."""

    weights: Literal["front", "all", "none"] = "front"
    """Trained weights of the search: `front`: of its front and of the baselines; `all`; `none`, nor those of the
    confirmation: then nothing can be exported."""
    checkpoints: Literal["unfinished", "all"] = "unfinished"
    """What trainings go on from: of trials that are not over, or `all`, which takes about twice the weights' room."""


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
    resources: Resources = Resources()
    """What one trial takes of a machine."""
    keep: KeepConfig = KeepConfig()
    """Which weights and checkpoints stay on the disk."""

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
    _check_objectives(config, document)
    space_document = _space_document(config, document)
    space_config = validate(SpaceConfig, space_document)
    space = SearchSpace.from_document(space_document)
    _check_images(config, space, document)
    _check_recipe(config, document)
    _check_early_stopping(config, document)
    record = config.model_dump() | {"space": space_config.to_dict()}
    return Experiment(path.stem, config, space, record)


def settle(experiment: Experiment, known: Mapping[str, Any], *, deterministic: bool) -> Experiment:
    """Return the experiment with what it leaves open decided: as the study was begun, if it was.

    Args:
        experiment: as it was read.
        known: What the study says of itself, or nothing.
        deterministic: what `search.deterministic` is where it is not given.
    """
    config = experiment.config
    begun: Mapping[str, Any] = known["experiment"]["search"] if "experiment" in known else {}
    settled: dict[str, Any] = {}
    if config.search.sampler == AUTO:
        objectives, trials = len(config.objectives), config.search.trials
        settled["sampler"] = begun.get("sampler") or resolve_sampler(AUTO, experiment.space, objectives, trials)
    if config.search.deterministic is None:
        settled["deterministic"] = begun.get("deterministic", deterministic)
    search = config.search.model_copy(update=settled)
    record = experiment.record | {"search": search.model_dump()}
    return replace(experiment, config=config.model_copy(update={"search": search}), record=record)


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


def _check_objectives(config: ExperimentConfig, document: Document) -> None:
    """Refuse an objective that is not measured of what these images ask for."""
    task = known_images(config.data)["head"]
    for i, name in enumerate(config.objectives):
        if OBJECTIVES[name].task not in (None, task):
            allowed = ", ".join(each for each, objective in OBJECTIVES.items() if objective.task in (None, task))
            raise document.error(
                ("objectives", i),
                f"{name} is for `head: {OBJECTIVES[name].task}`, but {config.data.source} needs `head: {task}`; "
                f"allowed: {allowed}",
            )


def _check_images(config: ExperimentConfig, space: SearchSpace, document: Document) -> None:
    """Refuse a host that does not fit images whose shape is known before they are read."""
    known = known_images(config.data)
    for host in space.hosts:
        for what, value in known.items():
            if getattr(host, what) != value:
                raise document.error(
                    ("space",),
                    f"the host {host.name} has `{what}: {getattr(host, what)}`, "
                    f"but {config.data.source} needs `{what}: {value}`",
                )


def _check_recipe(config: ExperimentConfig, document: Document) -> None:
    """Refuse a setting of the training that has no effect on these images."""
    try:
        check_recipe(config.data, config.train)
    except InputError as error:
        raise document.error(("train",), str(error)) from None


def _check_early_stopping(config: ExperimentConfig, document: Document) -> None:
    """Refuse early stopping that does not fit the training, or has nothing to judge by."""
    stopping, train = config.search.early_stopping, config.train
    if stopping is None:
        return
    where = ("search", "early_stopping")
    if train.schedule != "wsd":
        raise document.error(
            where,
            f"needs `train: {{schedule: wsd}}`, got `{train.schedule}`: only there does each rung end with a cool-down "
            "of its own, and goes on from before it",
        )
    if not set(config.objectives) & set(QUALITY):
        raise document.error(where, f"needs an objective that training tells: {', '.join(QUALITY)}")
    if not train.warmup < stopping.rungs[0] or not stopping.rungs[-1] < train.epochs:
        raise document.error(
            (*where, "rungs"),
            f"must lie between the warm-up ({train.warmup} epochs) and `train.epochs` ({train.epochs}), "
            f"got {stopping.rungs}",
        )


MAY_CHANGE: Sequence[tuple[str, ...]] = (
    ("description",),
    ("space", "description"),
    ("data", "dir"),
    ("search", "workers"),
    ("search", "time_limit"),
    ("confirm",),
    ("resources",),
    ("keep",),
)
"""What may differ when a study is resumed; besides, `search.trials` may be raised."""


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return in words what keeps a study of the experiment `old` from going on as `new`; empty if nothing does."""
    found = []
    for keys, (before, after) in sorted(_differences(_filled_in(old, new), new, ()).items()):
        allowed = any(keys[: len(free)] == free for free in MAY_CHANGE)
        raised = keys == ("search", "trials") and after > before
        if not allowed and not raised:
            found.append(f"{'.'.join(map(str, keys))}: {_show(before)} -> {_show(after)}")
    return found


def _filled_in(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a study's experiment with the keys that came later, at the defaults under which it was measured."""
    sections: dict[str, type[Config]] = {"data": DataConfig, "train": TrainConfig, "search": SearchConfig}
    filled = dict(old)
    for name, config in sections.items():
        if name in old and name in new:
            later = {key: config.model_fields[key].default for key in new[name].keys() - old[name].keys()}
            filled[name] = later | old[name]
    return filled


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
