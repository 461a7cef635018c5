"""What a report is drawn from: plain frozen data, filled in from a study by whoever owns the study."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces import Architecture
from search_spaces.space.host_choices import hosts_in_words
from trials.record import TrialRecord
from trials.retrain.record import RetrainRecord

Role = Literal["proposal", "baseline"]
ControlKind = Literal["handmade", "random", "wider"]
State = Literal["complete", "stopped", "failed", "running"]


@dataclass(frozen=True)
class TrialView:
    """One training of one architecture, as the study knows it."""

    number: int
    """Its number in the study it belongs to (search or confirm)."""
    role: Role
    label: str | None
    """A baseline's name (`host`, `se everywhere`); None for what the search proposed."""
    record: TrialRecord | None
    """None while it runs, or where a worker died before it could say anything."""
    state: State
    values: tuple[float, ...] | None
    """The objectives in the experiment's order and in natural units; None if it did not finish."""
    finished_at: str | None
    """ISO 8601, UTC."""
    architecture: Architecture
    rungs: tuple[TrialRecord, ...] = ()
    """What it had at the rungs of early stopping, the shortest first."""
    spared_at: int | None = None
    """Epochs at which it should have been stopped, and was let live to tell what that costs."""

    @property
    def name(self) -> str:
        """What a reader calls it: the baseline's label, else the architecture's id."""
        return self.label or self.architecture.id

    @property
    def measured(self) -> bool:
        """Whether it was trained to its end and every objective is a finite number."""
        finite = self.values is not None and all(math.isfinite(value) for value in self.values)
        return self.state == "complete" and self.record is not None and finite

    @property
    def reason(self) -> str:
        """Why it failed, in one line; empty if it did not."""
        if self.state != "failed":
            return ""
        if self.record is None:
            return "no result came back from its worker"
        return self.record.reason or "an objective was not measured, or is not a finite number"


@dataclass(frozen=True)
class Control:
    """What one architecture is compared with at equal cost, or why there is no such thing."""

    of: str
    """The hash of that architecture."""
    kind: ControlKind
    architecture: Architecture | None
    label: str = ""
    reason: str = ""
    """Why there is none, or why it is not trained; else empty."""


@dataclass(frozen=True)
class Retraining:
    """One architecture of the study, trained in full by a recipe."""

    of: Architecture
    """In the study; `record` is of the same placement, in the host for the recipe's images."""
    record: RetrainRecord


@dataclass(frozen=True)
class StudyView:
    """One study with its confirmation, and what a reader needs to know about both."""

    name: str
    description: str
    experiment: dict[str, Any]
    """The experiment as it can be written to YAML again."""
    objectives: tuple[str, ...]
    """Names in `reports.objectives.OBJECTIVES`."""
    search: tuple[TrialView, ...]
    confirm: tuple[TrialView, ...]
    """One per architecture and seed."""
    num_refused: int
    """Proposals that were never trained: over a limit, or measured already."""
    command: str
    """The command line that runs or resumes the study."""
    path: str
    """The study as commands take it: a folder or a URL."""
    exhausted: bool
    """Whether the search ended because the space holds nothing new."""
    space_size: int
    """Distinct architectures in the space, before limits."""
    hosts: tuple[Architecture, ...]
    """The bare hosts; several where the host is a choice."""
    notes: tuple[str, ...] = ()
    """Sentences for the reader that only the study's owner can know."""
    controls: tuple[Control, ...] = ()
    """What the confirmed architectures are compared with at equal cost, the most important architectures first."""

    retrained: tuple[Retraining, ...] = ()
    """What was trained in full, in the order in which it joined the study."""

    @property
    def hosts_in_words(self) -> str:
        """The hosts' names, or of many their number."""
        return hosts_in_words([bare.host for bare in self.hosts])

    def is_bare_host(self, architecture: Architecture) -> bool:
        """Return whether it is one of the hosts without attention; one that was made wider as a control is not."""
        return architecture.hash in {host.hash for host in self.hosts}
