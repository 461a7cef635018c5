"""The decisions of a space: which options there are at which sites, each option once."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from search_spaces.architecture import select_sites
from search_spaces.attention import entry
from search_spaces.errors import InputError
from search_spaces.fitting import NONE, ModuleSpec, check_fit, make_spec, sharing_key, what_is_built
from search_spaces.hosts import HostConfig
from search_spaces.site_type import Site
from search_spaces.sites import find_sites
from search_spaces.space_config import ChoiceConfig, SpaceConfig
from search_spaces.yaml_files import Document

Shared = Literal["stage", "host"]


@dataclass(frozen=True)
class Option:
    """One thing that a decision can build: nothing, or a module at each of its sites."""

    spec: ModuleSpec | None
    varied: tuple[tuple[str, Any], ...] = ()
    """The knobs that the space varies, with this option's values."""
    shared_by: Shared | None = None
    """Sites of the same width that take this option share one module: those of a stage, or of the host."""
    selector: str = ""
    """That of its choice; what different choices place is not shared."""

    def at(self, site: Site, other: ModuleSpec | None = None) -> ModuleSpec | None:
        """Return what stands at a site, or `other` in its place, with the group that shares it."""
        spec = other or self.spec
        if spec is None or self.shared_by is None:
            return spec
        where = site.stage if self.shared_by == "stage" else "host"
        knobs = ", ".join(f"{knob}={value}" for knob, value in self.varied)
        what = str(other) if other else f"{spec.module}({knobs})"
        key = " ".join(str(part) for part in sharing_key(site, spec) if part)
        return replace(spec, share=f"{where} {self.selector} {what} {key}")

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
    """The sites themselves."""

    def __hash__(self) -> int:
        return hash((self.name, self.options))

    def option_index(self, module: str, knobs: dict[str, Any]) -> int:
        """Return the option that this module with these varied knobs builds."""
        return self.same[module, tuple((knob, knobs[knob]) for knob in self.domains[module])]

    def index_of(self, specs: Sequence[ModuleSpec | None]) -> int | None:
        """Return the option that builds what these build, one at each site; None if there is none."""
        built = tuple(what_is_built(site, spec) for site, spec in zip(self.members, specs, strict=True) if spec)
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
        for key, group in _groups(choice, selected):
            decisions.append(_decision(choice, key, group, combinations))
            _refuse_two_ways(decisions, document, where)
    return tuple(decisions)


def _refuse_two_ways(decisions: Sequence[Decision], document: Document, where: tuple[str | int, ...]) -> None:
    """Refuse a last decision that could build at a tensor's one name what an earlier one builds at its other."""
    *earlier, last = decisions
    for decision in earlier:
        for site, other in itertools.product(last.members, decision.members):
            if site.known_as != other.known_as:
                continue
            mine, theirs = (
                {what_is_built(site, option.spec) if option.spec else None: option for option in each.options}
                for each in (last, decision)
            )
            common = [mine[built].module for built in mine if built in theirs]
            if NONE in common and len(common) > 1:
                module = next(module for module in common if module != NONE)
                raise document.error(
                    (*where, "at"),
                    f"{other.name} and {site.name} are one tensor, and {module} or {NONE} may stand at both: "
                    f"two ways to build one network; leave {module} out of one of the two choices",
                )


def _groups(choice: ChoiceConfig, sites: Sequence[Site]) -> Iterable[tuple[str, list[Site]]]:
    groups: dict[str, list[Site]] = {}
    for site in sites:
        key = {"site": site.name, "block": site.block, "stage": site.stage, "host": "host"}[choice.per]
        groups.setdefault(key, []).append(site)
    return groups.items()


Combination = tuple[ModuleSpec | None, tuple[tuple[str, Any], ...]]

SHARE = "share"


def _combinations(
    host: HostConfig, sites: Sequence[Site], choice: ChoiceConfig, document: Document
) -> dict[str, list[Combination]]:
    """Return per module every combination of its knobs' values, checked at every site."""
    result: dict[str, list[Combination]] = {}
    for module, written in choice.modules.items():
        given = written or {}
        try:
            result[module] = _module_combinations(module, given)
            for spec, _ in result[module]:
                _check_fits(host, sites, spec, given)
        except InputError as error:
            keys = error.keys if error.keys != ("module",) else ()
            raise document.error(("modules", module, *keys), str(error)) from None
        _refuse_knobs_without_effect(module, given, result[module], sites, document)
    return result


def _check_fits(host: HostConfig, sites: Sequence[Site], spec: ModuleSpec | None, given: dict[str, Any]) -> None:
    for site in sites if spec else ():
        assert spec
        try:
            check_fit(host, site, [spec])
        except InputError as error:
            keys = error.keys[1:]
            if keys and isinstance(given.get(str(keys[0])), list):
                keys += (given[str(keys[0])].index(spec.knobs[str(keys[0])]),)
            raise InputError(str(error), keys) from None


def _module_combinations(module: str, given: dict[str, Any]) -> list[Combination]:
    if module == NONE:
        if given:
            raise InputError(f"the module {NONE} has no knobs, got {', '.join(map(str, given))}")
        return [(None, ())]
    if (shared_by := given.get(SHARE)) is not None and shared_by not in get_args(Shared):
        raise InputError(f"in a space it is {' or '.join(get_args(Shared))}, got {shared_by!r}", (SHARE,))
    given = {knob: values for knob, values in given.items() if knob != SHARE}
    for knob, values in given.items():
        if isinstance(values, list) and (not values or any(values.count(value) > 1 for value in values)):
            raise InputError(f"must list values, each once, got {values!r}", (knob,))
    values_of = {knob: values if isinstance(values, list) else [values] for knob, values in given.items()}
    for knob, values in values_of.items():
        for number, value in enumerate(values):
            _check_knob(module, knob, value, (knob, number) if isinstance(given[knob], list) else (knob,))
    varied = [knob for knob, values in values_of.items() if len(values) > 1]
    result: list[Combination] = []
    for combination in itertools.product(*values_of.values()):
        setting = dict(zip(values_of, combination, strict=True))
        spec = make_spec({"module": module, **setting})
        result.append((spec, tuple((knob, setting[knob]) for knob in varied)))
    if shared_by and entry(module).kind == "weights":
        raise InputError(f"{module} keeps the weights of its own convolution and cannot be shared", (SHARE,))
    return result


def _check_knob(module: str, knob: str, value: Any, keys: tuple[str | int, ...]) -> None:
    try:
        make_spec({"module": module, knob: value})
    except InputError as error:
        raise InputError(str(error), error.keys if error.keys == ("module",) else keys) from None


def _refuse_knobs_without_effect(
    module: str,
    given: dict[str, Any],
    combinations: Sequence[Combination],
    sites: Sequence[Site],
    document: Document,
) -> None:
    """Refuse a value that builds, at every site and under all other knobs, what another value builds."""
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
            knob: tuple(dict.fromkeys(dict(varied)[knob] for _, varied in module_combinations)) for knob in knobs
        }
        for spec, varied in module_combinations:
            what = _built(sites, spec)
            if what not in built:
                built.append(what)
                shared_by = (choice.modules[module] or {}).get(SHARE)
                options.append(Option(spec, varied, shared_by, choice.at))
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
