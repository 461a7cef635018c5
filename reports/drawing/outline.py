"""The hosts' outlines and each architecture's placement, as small numbers from which the page draws both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reports import style
from reports.front.placement import Naming
from search_spaces import Architecture, HostConfig, find_sites
from search_spaces.fitting import ModuleSpec
from search_spaces.space.host_choices import host_label
from search_spaces.space.ordering import merge_orders


@dataclass(frozen=True)
class Outlines:
    """Tables of hosts, modules and architectures; an architecture is known by its place in the table."""

    names: Naming
    modules: tuple[str, ...]
    """In the order of their colours."""
    architectures: tuple[Architecture, ...]
    """Each once."""

    @cached_property
    def number(self) -> dict[str, int]:
        """From an architecture's hash to its place."""
        return {architecture.hash: i for i, architecture in enumerate(self.architectures)}

    @cached_property
    def hosts(self) -> tuple[HostConfig, ...]:
        """Each once."""
        return tuple(dict.fromkeys(architecture.host for architecture in self.architectures))

    @cached_property
    def fillings(self) -> tuple[tuple[ModuleSpec, ...], ...]:
        """What stands at a site somewhere in the study, each once."""
        return tuple(dict.fromkeys(specs for each in self.architectures for _, specs in each.items))

    def data(self) -> dict[str, Any]:
        """Return the tables for the page's script.

        `placed` holds of each architecture its host and then, for each occupied site, the numbers of site and filling.
        """
        return {
            "several_hosts": self.names.several_hosts,
            "hosts": [_host(host) for host in self.hosts],
            "modules": [{"name": m, "colour": style.module_colour(self.modules, m)} for m in self.modules],
            "fillings": [self._filling(specs) for specs in self.fillings],
            "ids": [architecture.id for architecture in self.architectures],
            "placed": self._placed(),
        }

    def _filling(self, specs: Sequence[ModuleSpec]) -> dict[str, Any]:
        return {
            "text": self.names.specs(specs),
            "parts": [[self.modules.index(spec.module), self._short(spec)] for spec in specs],
        }

    def _short(self, spec: ModuleSpec) -> str:
        """Return `se 4`: the module and the values of the knobs that differ within the study."""
        varying = self.names.varying.get(spec.module, ())
        values = [str(value) for knob, value in spec.settings if knob in varying]
        return " ".join([spec.module, *values])

    def _placed(self) -> list[list[int]]:
        hosts = {host: i for i, host in enumerate(self.hosts)}
        sites = [{site.name: i for i, site in enumerate(find_sites(host))} for host in self.hosts]
        fillings = {specs: i for i, specs in enumerate(self.fillings)}
        rows = []
        for architecture in self.architectures:
            host = hosts[architecture.host]
            row = [host]
            for site, specs in architecture.items:
                row += (sites[host][site], fillings[specs])
            rows.append(row)
        return rows


def outlines_of(architectures: Iterable[Architecture], names: Naming, modules: Sequence[str]) -> Outlines:
    """Return the outlines of some architectures.

    Args:
        modules: those that have a colour already, in its order; others follow in alphabetical order.
    """
    each = tuple({architecture.hash: architecture for architecture in architectures}.values())
    placed = {spec.module for architecture in each for _, specs in architecture.items for spec in specs}
    return Outlines(names, (*modules, *sorted(placed - set(modules))), each)


def _host(host: HostConfig) -> dict[str, Any]:
    """Return a host's stages, blocks and sites in network order."""
    sites = find_sites(host)
    stages = list(dict.fromkeys(site.stage for site in sites))
    last = {site.block: site for site in sites}
    blocks = list(last)
    places = merge_orders([[site.place for site in sites if site.block == block] for block in blocks])
    return {
        "name": host_label(host),
        "input": host.input,
        "stages": stages,
        "blocks": [[block, stages.index(site.stage), site.channels, *site.resolution] for block, site in last.items()],
        "places": list(places),
        "sites": [[site.name, places.index(site.place), blocks.index(site.block)] for site in sites],
    }
