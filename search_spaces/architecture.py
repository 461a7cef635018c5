"""An architecture: a host and what stands at its sites. Frozen data with a canonical form and a short id."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from search_spaces.build import build
from search_spaces.config import Config
from search_spaces.errors import InputError, nearest
from search_spaces.fitting import ModuleSpec, check_fit, make_spec, what_is_built
from search_spaces.hosts import HostConfig
from search_spaces.sites import Site, find_sites
from search_spaces.yaml_files import Document, dump_yaml, read_yaml, validate

FORMAT = 1
"""Version of the canonical form; part of the id."""


class ArchitectureConfig(Config):
    """An architecture as a file writes it."""

    description: str = ""
    """Free text for the reader; not part of the architecture."""
    host: HostConfig
    """The network that attention is placed into."""
    placement: dict[str, dict[str, Any] | list[dict[str, Any]]] = {}
    """From a selector (a glob over site names, see `nas sites`) to a module with its knobs, or a list of them.

    A later selector replaces an earlier one; `{module: none}` leaves a site empty.
    """


@dataclass(frozen=True)
class Architecture:
    """A host and {site: modules in order}; equal if everything written is equal, same `id` if the same is built."""

    host: HostConfig
    items: tuple[tuple[str, tuple[ModuleSpec, ...]], ...] = ()
    """The occupied sites in network order."""
    description: str = field(default="", compare=False)

    @staticmethod
    def load(path: str | Path) -> "Architecture":
        """Read an architecture from a YAML file. Raises InputError naming file, line and key."""
        return Architecture.from_document(read_yaml(Path(path)))

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Architecture":
        """Return the architecture of `{"host": {...}, "placement": {...}}`. Raises InputError."""
        return Architecture.from_document(Document(dict(data), "architecture"))

    @staticmethod
    def from_document(document: Document) -> "Architecture":
        """Return the architecture that a parsed file describes. Raises InputError naming file, line and key."""
        config = validate(ArchitectureConfig, document)
        try:
            sites = find_sites(config.host)
        except InputError as error:
            raise document.error(("host",), str(error)) from None
        placed: dict[str, tuple[ModuleSpec, ...]] = {}
        for selector, given in config.placement.items():
            try:
                specs = _parse_modules(given)
                for site in select_sites(sites, selector):
                    check_fit(config.host, site, specs)
                    placed[site.name] = specs
            except InputError as error:
                raise document.error(("placement", selector), str(error)) from None
        try:
            return Architecture.of(config.host, placed, config.description)
        except InputError as error:
            raise document.error(("placement",), str(error)) from None

    @staticmethod
    def of(
        host: HostConfig, placed: Mapping[str, Iterable[ModuleSpec]], description: str = ""
    ) -> "Architecture":
        """Return the architecture with these specs at these sites. Raises InputError if shared modules differ."""
        order = [site.name for site in find_sites(host)]
        items = ((name, tuple(placed[name])) for name in order if name in placed)
        architecture = Architecture(host, tuple((name, specs) for name, specs in items if specs), description)
        _check_sharing(architecture)
        return architecture

    @property
    def placement(self) -> dict[str, tuple[ModuleSpec, ...]]:
        """From the name of each occupied site to its modules, in network order."""
        return dict(self.items)

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON of what would be built; two architectures are one if theirs is equal."""
        groups: dict[str, int] = {}
        sites = {site.name: site for site in find_sites(self.host)}
        members = [spec.share for _, specs in self.items for spec in specs if spec.share]
        built = []
        for name, specs in self.items:
            modules = []
            for spec in specs:
                # A group of one shares nothing, and what a group is called changes nothing.
                shared = spec.share if spec.share and members.count(spec.share) > 1 else None
                group = groups.setdefault(shared, len(groups)) if shared else None
                modules.append(dict(what_is_built(sites[name], spec)) | {"share": group})
            built.append([name, modules])
        whole = {"format": FORMAT, "host": self.host.model_dump(), "sites": built}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"))

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of the canonical form, 64 hex digits."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def id(self) -> str:
        """The first 10 hex digits of `hash`."""
        return self.hash[:10]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data with every site and knob spelled out; `from_dict` reads it back."""
        placement: dict[str, Any] = {}
        for name, specs in self.items:
            written = [spec.to_dict() for spec in specs]
            placement[name] = written[0] if len(written) == 1 else written
        return {"host": self.host.model_dump(), "placement": placement}

    def to_yaml(self) -> str:
        """Return it as the text of a YAML file with every site spelled out."""
        return f"# architecture {self.id}\n{dump_yaml(self.to_dict())}"

    def summary(self) -> str:
        """Return what stands where in one line: `layer1.0/branch: se(reduction=16, ...); ...`, or `bare host`."""
        parts = [f"{name}: {' + '.join(str(spec) for spec in specs)}" for name, specs in self.items]
        return "; ".join(parts) or "bare host"

    def build(self, seed: int = 0) -> nn.Module:
        """Build the network on the CPU with weights drawn from `seed` alone (see `search_spaces.build`)."""
        return build(self.host, self.items, seed)


def _parse_modules(given: dict[str, Any] | list[dict[str, Any]]) -> tuple[ModuleSpec, ...]:
    """Return the specs of one entry of a placement; `{module: none}` gives none."""
    entries = given if isinstance(given, list) else [given]
    if [entry.get("module") for entry in entries] == ["none"]:
        if knobs := sorted(set(entries[0]) - {"module"}):
            raise InputError(f"the module none has no knobs, got {', '.join(knobs)}")
        return ()
    return tuple(make_spec(entry) for entry in entries)


def select_sites(sites: Iterable[Site], selector: str) -> list[Site]:
    """Return the sites whose names match a glob, in network order.

    Raises:
        InputError: nothing matches; the message names the nearest site.
    """
    sites = list(sites)
    selected = [site for site in sites if fnmatchcase(site.name, selector)]
    if not selected:
        guess = nearest(selector, [site.name for site in sites])
        places = sorted({site.place for site in sites})
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise InputError(f"the selector {selector!r} matches no site; places here: {', '.join(places)}{hint}")
    return selected


def _check_sharing(architecture: Architecture) -> None:
    first: dict[str, tuple[Site, ModuleSpec]] = {}
    sites = {site.name: site for site in find_sites(architecture.host)}
    for name, specs in architecture.items:
        for spec in specs:
            if not spec.share:
                continue
            site, (other, known) = sites[name], first.setdefault(spec.share, (sites[name], spec))
            widths = [(s.channels, tuple(source.channels for source in s.sources)) for s in (site, other)]
            if site.place_kind == "conv" or spec != known or widths[0] != widths[1]:
                raise InputError(
                    f"{name} and {other.name} cannot share a module (group {spec.share!r}): "
                    f"{spec} on {site.channels} channels against {known} on {other.channels}"
                )
