"""The decisions of a space: which options there are at which sites, each option once."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.architecture import select_sites
from search_spaces.attention import names
from search_spaces.errors import InputError, unknown
from search_spaces.fitting import ModuleSpec, check_fit, make_spec, what_is_built
from search_spaces.hosts import HostConfig
from search_spaces.sites import Site, find_sites
from search_spaces.space_config import ChoiceConfig, SpaceConfig
from search_spaces.yaml_files import Document

NONE = "none"
"""The module of an empty site."""


@dataclass(frozen=True)
class Option:
    """One thing that a decision can build: nothing, or a module at each of its sites."""

    spec: ModuleSpec | None
    varied: tuple[tuple[str, Any], ...] = ()
    """The knobs that the space varies, with this option's values."""

    @property
    def module(self) -> str:
        return self.spec.module if self.spec else NONE

    @property
    def knobs(self) -> dict[str, Any]:
        return dict(self.varied)


@dataclass(frozen=True)
class Decision:
    """One choice to make: the same option for all its sites."""

    name: str
    sites: tuple[str, ...]
    options: tuple[Option, ...]
    """Distinct in what they build."""
    built: tuple[Any, ...]
    """What each option builds, for comparison."""
    same: dict[tuple[str, tuple[tuple[str, Any], ...]], int]
    """From every legal (module, varied knobs) to the option that builds it."""
    domains: dict[str, dict[str, tuple[Any, ...]]]
    """From each module to its varied knobs and their values."""
    members: tuple[Site, ...]

    def __hash__(self) -> int:
        return hash((self.name, self.options))

    def option_index(self, module: str, knobs: dict[str, Any]) -> int:
        """Return the option that this module with these varied knobs builds."""
        return self.same[module, tuple((knob, knobs[knob]) for knob in self.domains[module])]

    def index_of(self, spec: ModuleSpec | None) -> int | None:
        """Return the option that builds what `spec` builds, or None."""
        built = _built(self.members, spec)
        return self.built.index(built) if built in self.built else None


def make_decisions(config: SpaceConfig, document: Document) -> tuple[Decision, ...]:
    """Return the decisions of a space, in the order of its choices and of the network.

    Raises:
        InputError: a mistake in the choices, with file, line and key.
    """
    sites = find_sites(config.host)
    taken: dict[str, int] = {}
    decisions: list[Decision] = []
    for number, choice in enumerate(config.choices):
        where: tuple[str | int, ...] = ("choices", number)
        try:
            selected = select_sites(sites, choice.at)
        except InputError as error:
            raise document.error((*where, "at"), str(error)) from None
        for site in selected:
            if (other := taken.setdefault(site.name, number)) != number:
                raise document.error(
                    (*where, "at"),
                    f"{choice.at!r} and {config.choices[other].at!r} (choices[{other}]) overlap at {site.name}",
                )
        combinations = _combinations(config.host, selected, choice, document.child(*where))
        decisions += [_decision(choice, key, group, combinations) for key, group in _groups(choice, selected)]
    return tuple(decisions)


def _groups(choice: ChoiceConfig, sites: Sequence[Site]) -> Iterable[tuple[str, list[Site]]]:
    groups: dict[str, list[Site]] = {}
    for site in sites:
        key = {"site": site.name, "block": site.block, "stage": site.stage, "host": "host"}[choice.per]
        groups.setdefault(key, []).append(site)
    return groups.items()


Combination = tuple[ModuleSpec | None, tuple[tuple[str, Any], ...]]


def _combinations(
    host: HostConfig, sites: Sequence[Site], choice: ChoiceConfig, document: Document
) -> dict[str, list[Combination]]:
    """Return per module every combination of its knobs' values, checked at every site."""
    result: dict[str, list[Combination]] = {}
    for module, given in choice.modules.items():
        try:
            result[module] = _module_combinations(module, given or {})
            for spec, _ in result[module]:
                for site in sites if spec else ():
                    assert spec
                    check_fit(host, site, [spec])
        except InputError as error:
            raise document.error(("modules", module), str(error)) from None
        _refuse_knobs_without_effect(module, given or {}, result[module], sites, document)
    return result


def _module_combinations(module: str, given: dict[str, Any]) -> list[Combination]:
    if module == NONE:
        if given:
            raise InputError(f"the module none has no knobs, got {', '.join(given)}")
        return [(None, ())]
    if module not in names():
        raise unknown("module", module, [NONE, *names()])
    for knob, values in given.items():
        if isinstance(values, list) and (not values or any(values.count(value) > 1 for value in values)):
            raise InputError(f"{knob} must list values, each once, got {values!r}")
    values_of = {knob: values if isinstance(values, list) else [values] for knob, values in given.items()}
    varied = [knob for knob, values in values_of.items() if len(values) > 1]
    result: list[Combination] = []
    for values in itertools.product(*values_of.values()):
        setting = dict(zip(values_of, values, strict=True))
        result.append(
            (make_spec({"module": module, **setting}), tuple((knob, setting[knob]) for knob in varied))
        )
    return result


def _refuse_knobs_without_effect(
    module: str,
    given: dict[str, Any],
    combinations: Sequence[Combination],
    sites: Sequence[Site],
    document: Document,
) -> None:
    """Refuse a value that builds, at every site and with every setting of the other knobs, what another builds."""
    for knob, values in given.items():
        if not isinstance(values, list) or len(values) < 2:
            continue
        built: list[tuple[Any, list[Any]]] = []
        for number, value in enumerate(values):
            all_built = [_built(sites, spec) for spec, varied in combinations if dict(varied)[knob] == value]
            for other, other_built in built:
                if all_built == other_built:
                    raise document.error(
                        ("modules", module, knob, number),
                        f"{knob} {value!r} has no effect: at every site it builds what {other!r} builds",
                    )
            built.append((value, all_built))


def _decision(
    choice: ChoiceConfig, key: str, sites: Sequence[Site], combinations: dict[str, list[Combination]]
) -> Decision:
    options: list[Option] = []
    built: list[Any] = []
    same: dict[tuple[str, tuple[tuple[str, Any], ...]], int] = {}
    domains: dict[str, dict[str, tuple[Any, ...]]] = {}
    for module, module_combinations in combinations.items():
        knobs = [knob for knob, _ in module_combinations[0][1]]
        domains[module] = {
            knob: tuple(dict.fromkeys(dict(varied)[knob] for _, varied in module_combinations))
            for knob in knobs
        }
        for spec, varied in module_combinations:
            what = _built(sites, spec)
            if what not in built:
                built.append(what)
                options.append(Option(spec, varied))
            same[module, varied] = built.index(what)
    return Decision(
        name=sites[0].name if len(sites) == 1 else f"{key}:{choice.at}",
        sites=tuple(site.name for site in sites),
        options=tuple(options),
        built=tuple(built),
        same=same,
        domains=domains,
        members=tuple(sites),
    )


def _built(sites: Sequence[Site], spec: ModuleSpec | None) -> Any:
    """Return what a spec builds at these sites, comparable."""
    return tuple(what_is_built(site, spec) for site in sites) if spec else ()
