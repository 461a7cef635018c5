"""The decisions of a space on each of its hosts: which options there are at which sites, each option once."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces.architecture import select_sites
from search_spaces.attention import entry
from search_spaces.errors import InputError
from search_spaces.fitting import NONE, ModuleSpec, sharing_key, what_is_built
from search_spaces.hosts import HostConfig
from search_spaces.naming import are_one_without_own
from search_spaces.sites import find_sites
from search_spaces.sites.site_type import Site
from search_spaces.space.combinations import (
    SHARE,
    Combination,
    Selection,
    Setting,
    Shared,
    make_combinations,
    what_all_build,
)
from search_spaces.space.host_choices import host_label
from search_spaces.space.space_config import ChoiceConfig, SpaceConfig
from search_spaces.yaml_files import Document

Keys = tuple[str | int, ...]

Origin = tuple[int, str, str]
"""Where a decision comes from: the number and the selector of its choice, and the site, block or stage."""


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
    same: dict[Setting, int]
    """From every legal (module, varied knobs) to the option that builds it."""
    domains: dict[str, dict[str, tuple[Any, ...]]]
    """From each module to its varied knobs and their values."""
    members: tuple[Site, ...]
    """The sites themselves."""
    every: dict[Setting, Option] = field(compare=False)
    """From every legal (module, varied knobs) to the option as it is written, in the order of the file."""
    origin: Origin = field(compare=False)
    """The same on every host that has the decision."""

    def __hash__(self) -> int:
        return hash((self.name, self.options))

    def option_index(self, module: str, knobs: dict[str, Any]) -> int:
        """Return the option that this module with these varied knobs builds."""
        return self.same[module, tuple((knob, knobs[knob]) for knob in self.domains[module])]

    def index_of(self, specs: Sequence[ModuleSpec | None]) -> int | None:
        """Return the option that builds what these build, one at each site; None if there is none."""
        built = tuple(what_is_built(site, spec) for site, spec in zip(self.members, specs, strict=True) if spec)
        return self.built.index(built) if built in self.built else None


def make_decisions(config: SpaceConfig, document: Document) -> list[tuple[Decision, ...]]:
    """Return the decisions of a space on each of its hosts, in the order of its choices and of the network.

    Raises:
        InputError: a mistake in the choices, with file, line and key, and with the host where there are several.
    """
    hosts = [_one_host(config, host, document) for host in config.hosts]
    for number, choice in enumerate(config.choices):
        where: Keys = ("choices", number)
        selections = _select(hosts, choice, document, where)
        for host, selection in zip(hosts, selections, strict=True):
            host.refuse_overlap(config, number, selection.sites, document)
        combinations = make_combinations(selections, choice, document.child(*where))
        for host, selection in zip(hosts, selections, strict=True):
            for key, group in _groups(choice, selection.sites):
                host.decisions.append(_decision(choice, (number, choice.at, key), group, combinations))
                host.refuse_two_ways(document, where)
    return [tuple(host.decisions) for host in hosts]


def _one_host(config: SpaceConfig, host: HostConfig, document: Document) -> "_OneHost":
    try:
        return _OneHost(host, find_sites(host), f"on {host_label(host)}: " if len(config.hosts) > 1 else "")
    except InputError as error:
        raise document.error(("host",), str(error)) from None


class _OneHost:
    """The decisions on one host while they are made; `where` begins its messages."""

    def __init__(self, config: HostConfig, sites: Sequence[Site], where: str) -> None:
        self.config, self.sites, self.where = config, sites, where
        self.decisions: list[Decision] = []
        self._taken: dict[str, int] = {}

    def refuse_overlap(self, config: SpaceConfig, number: int, sites: Sequence[Site], document: Document) -> None:
        for site in sites:
            if (other := self._taken.setdefault(site.name, number)) != number:
                mine, theirs = config.choices[number].at, config.choices[other].at
                message = f"{mine!r} and {theirs!r} (choices[{other}]) overlap at {site.name}"
                raise document.error(("choices", number, "at"), f"{self.where}{message}")

    def refuse_two_ways(self, document: Document, where: Keys) -> None:
        """Refuse a last decision that could build at a tensor's one name what an earlier one builds at its other."""
        *earlier, last = self.decisions
        for decision in earlier:
            for site, other in itertools.product(last.members, decision.members):
                if are_one_without_own(site, other):
                    self._refuse_two_ways_without_own(site, last, other, decision, document, where)
                if are_one_without_own(other, site):
                    self._refuse_two_ways_without_own(other, decision, site, last, document, where)
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
                        f"{self.where}{other.name} and {site.name} are one tensor, and {module} or {NONE} may stand "
                        f"at both: two ways to build one network; leave {module} out of one of the two choices",
                    )

    def _refuse_two_ways_without_own(
        self, own: Site, mine: Decision, other: Site, theirs: Decision, document: Document, where: Keys
    ) -> None:
        """Refuse what could stand either in the place of the host's own attention or, with that removed, beside it."""
        specs = [option.spec for option in mine.options if option.spec]
        if None not in [option.spec for option in theirs.options]:
            return
        if not any(entry(spec.module).kind == "removal" for spec in specs):
            return
        built = {what_is_built(other, option.spec) for option in theirs.options if option.spec}
        if module := next((spec.module for spec in specs if what_is_built(own, spec) in built), None):
            raise document.error(
                (*where, "at"),
                f"{self.where}{own.name} and {other.name} are one tensor where the host's own attention is removed, "
                f"and {module} may stand at both: two ways to build one network; leave {module} out of one of the two "
                "choices",
            )


def _select(hosts: Sequence[_OneHost], choice: ChoiceConfig, document: Document, where: Keys) -> list[Selection]:
    """Return what a choice selects on each host; nothing on some hosts is fine, nothing on all is a mistake."""
    found: list[Selection] = []
    reasons = []
    for host in hosts:
        try:
            sites = select_sites(host.sites, choice.at)
        except InputError as error:
            sites = []
            reasons.append(f"{host.where}{error}")
        found.append(Selection(host.config, tuple(sites), host.where))
    if len(reasons) == len(hosts):
        others = f" (and none of the {len(hosts) - 1} other hosts has one)" if len(hosts) > 1 else ""
        raise document.error((*where, "at"), f"{reasons[0]}{others}")
    return found


def _groups(choice: ChoiceConfig, sites: Sequence[Site]) -> Iterable[tuple[str, list[Site]]]:
    groups: dict[str, list[Site]] = {}
    for site in sites:
        key = {"site": site.name, "block": site.block, "stage": site.stage, "host": "host"}[choice.per]
        groups.setdefault(key, []).append(site)
    return groups.items()


def _decision(
    choice: ChoiceConfig,
    origin: Origin,
    sites: Sequence[Site],
    combinations: dict[str, list[Combination]],
) -> Decision:
    options: list[Option] = []
    built: list[Any] = []
    same: dict[Setting, int] = {}
    every: dict[Setting, Option] = {}
    domains: dict[str, dict[str, tuple[Any, ...]]] = {}
    for module, module_combinations in combinations.items():
        knobs = [knob for knob, _ in module_combinations[0][1]]
        domains[module] = {
            knob: tuple(dict.fromkeys(dict(varied)[knob] for _, varied in module_combinations)) for knob in knobs
        }
        shared_by = (choice.modules[module] or {}).get(SHARE)
        for spec, varied in module_combinations:
            option = every[module, varied] = Option(spec, varied, shared_by, choice.at)
            what = what_all_build(sites, spec)
            if what not in built:
                built.append(what)
                options.append(option)
            same[module, varied] = built.index(what)
    return Decision(
        name=sites[0].name if len(sites) == 1 else f"{origin[2]}:{choice.at}",
        sites=tuple(site.name for site in sites),
        options=tuple(options),
        built=tuple(built),
        same=same,
        domains=domains,
        members=tuple(sites),
        every=every,
        origin=origin,
    )
