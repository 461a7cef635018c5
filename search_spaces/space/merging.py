"""The decisions of several hosts as those of one space: first the host, then what there is to decide on some host.

A merged decision has the options of all its hosts. Two ways to choose that build the same on every host are one
option; where they build the same on some hosts only, the first of them stands for both there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.hosts import HostConfig
from search_spaces.space.combinations import Setting
from search_spaces.space.decisions import Decision, Option, Origin
from search_spaces.space.ordering import merge_orders

HOST = "host"
"""The name of the decision on the host; no site and no group of sites is called that."""


@dataclass(frozen=True, kw_only=True)
class HostOption(Option):
    """One of the hosts to choose from."""

    spec: None = None
    label: str
    host: HostConfig

    @property
    def module(self) -> str:
        return self.label


@dataclass(frozen=True)
class Member:
    """A merged decision on one of the hosts that have it."""

    number: int
    """Of that host's own decision."""
    own: tuple[int, ...]
    """From each merged option to the own one that builds it."""


@dataclass(frozen=True)
class MergedDecision:
    """One choice to make, on each host that has sites for it."""

    name: str
    sites: tuple[str, ...]
    """Those of all hosts."""
    options: tuple[Option, ...]
    same: dict[Setting, int]
    """From every legal (module, varied knobs) to the option that builds it."""
    domains: dict[str, dict[str, tuple[Any, ...]]]
    """From each module to its varied knobs and their values; the same on every host."""
    members: tuple[Member | None, ...]
    """One per host; None where the decision does not exist. Empty for the decision on the host itself."""

    def __hash__(self) -> int:
        return hash((self.name, self.options))

    def option_index(self, module: str, knobs: dict[str, Any]) -> int:
        """Return the option that this module with these varied knobs builds."""
        return self.same[module, tuple((knob, knobs[knob]) for knob in self.domains[module])]


def merge(hosts: Sequence[tuple[str, HostConfig, Sequence[Decision]]]) -> tuple[MergedDecision, ...]:
    """Return the decisions of a space over several hosts, given by label, configuration and decisions.

    The first is the host. The others come in the order of the space's choices, then of the networks.
    """
    by_host = [{decision.origin: decision for decision in decisions} for _, _, decisions in hosts]
    numbers = sorted({number for decisions in by_host for number, _, _ in decisions})
    origins = [
        origin
        for number in numbers
        for origin in merge_orders([[each for each in decisions if each[0] == number] for decisions in by_host])
    ]
    return (_host_decision(hosts), *(_merge(origin, by_host) for origin in origins))


def _host_decision(hosts: Sequence[tuple[str, HostConfig, Sequence[Decision]]]) -> MergedDecision:
    return MergedDecision(
        name=HOST,
        sites=(),
        options=tuple(HostOption(label=label, host=host) for label, host, _ in hosts),
        same={(label, ()): number for number, (label, _, _) in enumerate(hosts)},
        domains={label: {} for label, _, _ in hosts},
        members=(),
    )


def _merge(origin: Origin, by_host: Sequence[dict[Origin, Decision]]) -> MergedDecision:
    present = [decisions[origin] for decisions in by_host if origin in decisions]
    first = present[0]
    # What each way to choose builds: the own option of every host that has the decision.
    built = {setting: tuple(decision.same[setting] for decision in present) for setting in first.every}
    distinct = list(dict.fromkeys(built.values()))
    ways = list(built.values())
    settings = list(built)
    own = dict(zip((id(decision) for decision in present), zip(*distinct, strict=True), strict=True))
    names = {decision.name for decision in present}
    return MergedDecision(
        # A group of one site is called by that site where it is so on every host.
        name=first.name if len(names) == 1 else f"{origin[2]}:{origin[1]}",
        sites=tuple(merge_orders([decision.sites for decision in present])),
        options=tuple(first.every[settings[ways.index(way)]] for way in distinct),
        same={setting: distinct.index(way) for setting, way in built.items()},
        domains=first.domains,
        members=tuple(
            Member(list(decisions).index(origin), own[id(decisions[origin])]) if origin in decisions else None
            for decisions in by_host
        ),
    )
