"""Which module sits where: names short enough to read, and counts per site and module."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search_spaces import Architecture, find_sites
from search_spaces.fitting import ModuleSpec
from search_spaces.space.host_choices import host_label
from search_spaces.space.ordering import merge_orders

NOTHING = "none"
"""Stands for a site that is left as the host has it."""


@dataclass(frozen=True)
class Naming:
    """Short names for modules: only what differs within the study is spelled out."""

    varying: dict[str, tuple[str, ...]]
    """From module to the knobs that take several values in the study."""
    settings: dict[str, dict[str, tuple[str, ...]]]
    """From module to each knob and its values in the study; `init` and `share` only where they are used."""
    several_hosts: bool = False
    """Whether the study's architectures stand on several hosts; then it is said on which."""

    def host(self, architecture: Architecture) -> str:
        """Return `resnet56` where the study has several hosts, else nothing."""
        return host_label(architecture.host) if self.several_hosts else ""

    def spec(self, spec: ModuleSpec) -> str:
        """Return `se(reduction=4)`, or `se` where every se of the study is the same."""
        knobs = [f"{knob}={value}" for knob, value in _knobs(spec) if knob in self.varying.get(spec.module, ())]
        return f"{spec.module}({', '.join(knobs)})" if knobs else spec.module

    def specs(self, specs: Sequence[ModuleSpec]) -> str:
        """Return the modules of one site in their order: `cbam + se`; `none` where there are none."""
        return " + ".join(self.spec(spec) for spec in specs) or NOTHING

    def lines(self, architecture: Architecture) -> list[str]:
        """Return one line per kind of module: `se(reduction=4): layer1.0/branch, layer2.1/branch`.

        Where it stands at all the host's sites of one place they are written as a glob, `*/branch`. The bare host gives
        a single line that says so. Where the study has several hosts, the first line names the host.
        """
        where: dict[str, list[str]] = {}
        for site, specs in architecture.items:
            where.setdefault(self.specs(specs), []).append(site)
        lines = [f"{name}: {', '.join(_fold(architecture, sites))}" for name, sites in where.items()] or ["bare host"]
        return [f"in {self.host(architecture)}", *lines] if self.several_hosts else lines


def _fold(architecture: Architecture, sites: Sequence[str]) -> list[str]:
    """Replace the sites of a place by a glob where none of the place is missing."""
    places: dict[str, list[str]] = {}
    for site in find_sites(architecture.host):
        places.setdefault(site.place, []).append(site.name)
    whole = {place for place, members in places.items() if len(members) > 1 and set(members) <= set(sites)}
    return list(dict.fromkeys(f"*/{place}" if (place := site.rpartition("/")[2]) in whole else site for site in sites))


def naming_of(architectures: Iterable[Architecture]) -> Naming:
    """Return the naming for a set of architectures."""
    architectures = list(architectures)
    seen: dict[str, dict[str, list[str]]] = {}
    for spec in dict.fromkeys(spec for a in architectures for _, specs in a.items for spec in specs):
        knobs = seen.setdefault(spec.module, {})
        for knob, value in _knobs(spec):
            if str(value) not in knobs.setdefault(knob, []):
                knobs[knob].append(str(value))
    usual = {"init": ["paper"], "share": ["None"]}
    settings = {
        module: {knob: _sorted(values) for knob, values in knobs.items() if values != usual.get(knob)}
        for module, knobs in sorted(seen.items())
    }
    varying = {m: tuple(k for k, values in knobs.items() if len(values) > 1) for m, knobs in settings.items()}
    return Naming(varying, settings, len({architecture.host for architecture in architectures}) > 1)


@dataclass(frozen=True)
class Share:
    """How many of the architectures that have a site have a module there."""

    count: int
    total: int

    @property
    def fraction(self) -> float:
        """The share in [0, 1]; 0 of an empty set."""
        return self.count / self.total if self.total else 0.0


@dataclass(frozen=True)
class PlacementMap:
    """Sites in network order against modules, among the front and among all trials."""

    sites: tuple[str, ...]
    modules: tuple[str, ...]
    """The modules in alphabetical order, and last `none`."""
    front: tuple[tuple[Share, ...], ...]
    """One row per site, one column per module; where several modules share a site each is counted.

    Architectures whose host has no such site are not counted there.
    """
    everything: tuple[tuple[Share, ...], ...]
    num_front: int
    num_everything: int


def placement_map(front: Sequence[Architecture], everything: Sequence[Architecture]) -> PlacementMap:
    """Count which module sits where.

    Rows are the sites that any of the architectures uses; without architectures, or with the bare host alone, the map
    has no rows.
    """
    sites = used_sites([*front, *everything])
    modules = sorted({spec.module for a in [*front, *everything] for _, specs in a.items for spec in specs})
    columns = (*modules, NOTHING)
    return PlacementMap(
        sites, columns, _count(front, sites, columns), _count(everything, sites, columns), len(front), len(everything)
    )


def used_sites(architectures: Sequence[Architecture]) -> tuple[str, ...]:
    """Return the sites that any of the architectures occupies, in network order (of several hosts, as they agree)."""
    used = {site for architecture in architectures for site, _ in architecture.items}
    hosts = dict.fromkeys(architecture.host for architecture in architectures)
    order = merge_orders([[site.name for site in find_sites(host)] for host in hosts])
    return tuple(site for site in order if site in used)


def _count(
    architectures: Sequence[Architecture], sites: Sequence[str], modules: Sequence[str]
) -> tuple[tuple[Share, ...], ...]:
    counts = {site: dict.fromkeys(modules, 0) for site in sites}
    totals = dict.fromkeys(sites, 0)
    for architecture in architectures:
        placed = architecture.placement
        for site in sites_there(architecture, sites):
            totals[site] += 1
            for module in {spec.module for spec in placed.get(site, ())} or {NOTHING}:
                counts[site][module] += 1
    return tuple(tuple(Share(counts[site][m], totals[site]) for m in modules) for site in sites)


def sites_there(architecture: Architecture, sites: Sequence[str]) -> list[str]:
    """Return those of the sites that the architecture's host has."""
    names = {site.name for site in find_sites(architecture.host)}
    return [site for site in sites if site in names]


def _knobs(spec: ModuleSpec) -> list[tuple[str, object]]:
    """Return the knobs with how it starts and whether it is shared, which matter as much."""
    return [*spec.settings, ("init", spec.init), ("share", spec.share)]


def _sorted(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(values, key=lambda value: (len(value), value)))
