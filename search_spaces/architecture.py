"""An architecture: a host and what stands at its sites. Frozen data with a canonical form and a short id."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, ValidationError, field_validator
from torch import nn

from search_spaces.attention import entry
from search_spaces.build import build
from search_spaces.config import Config
from search_spaces.errors import InputError, nearest, unknown
from search_spaces.fitting import NONE, ModuleSpec, check_fit, make_spec, sharing_key, what_is_built
from search_spaces.hosts import HostConfig
from search_spaces.naming import tensor_names
from search_spaces.sites import find_sites
from search_spaces.sites.site_type import Site
from search_spaces.yaml_files import Document, dump_yaml, read_yaml, validate

FORMAT = 1
"""Version of the canonical form; part of the id."""


class ArchitectureConfig(Config):
    """An architecture as a file writes it."""

    description: str = ""
    """Free text for the reader; not part of the architecture."""
    host: HostConfig
    """The network that attention is placed into."""
    placement: dict[str, dict[str, Any] | list[dict[str, Any]]] = Field(default_factory=dict)
    """From a selector (a glob over site names, see `nas sites`) to a module with its knobs, or a list of them.

    A later selector replaces an earlier one; `{module: none}` leaves a site empty.
    """

    @field_validator("placement", mode="before")
    @classmethod
    def _nothing_is_placed(cls, value: Any) -> Any:
        return {} if value is None else value


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
    def restore(data: Mapping[str, Any], known_hash: str | None = None) -> "Architecture":
        """Return what `to_dict` wrote, a hundred times as fast as `from_dict`, which checks again that everything fits.

        Args:
            data: what `to_dict` returned.
            known_hash: its `hash`, if that was kept beside it; otherwise it is computed when it is asked for.

        Raises:
            InputError: as `from_dict` does, for a host, site, module or knob that does not exist (any more).
        """
        try:
            host = _restore_host(orjson.dumps(data["host"]))
            items = tuple((site, _restore_specs(orjson.dumps(given))) for site, given in data["placement"].items())
            if {site for site, _ in items} <= {site.name for site in find_sites(host)}:
                architecture = Architecture(host, items)
                if known_hash is not None:
                    vars(architecture)["hash"] = known_hash  # where `cached_property` keeps it
                return architecture
        except (InputError, ValidationError):
            pass
        return Architecture.from_dict(data)  # which says what is wrong

    @staticmethod
    def from_document(document: Document) -> "Architecture":
        """Return the architecture that a parsed file describes. Raises InputError naming file, line and key."""
        config = validate(ArchitectureConfig, document)
        try:
            sites = find_sites(config.host)
        except InputError as error:
            raise document.error(("host",), str(error)) from None
        placed, selectors = _place(config, sites, document)
        try:
            return Architecture.of(config.host, placed, config.description)
        except InputError as error:
            where = [selectors[key] for key in error.keys if key in selectors]
            raise document.error(("placement", *where), str(error)) from None

    @staticmethod
    def of(host: HostConfig, placed: Mapping[str, Iterable[ModuleSpec]], description: str = "") -> "Architecture":
        """Return the architecture with these specs at these sites.

        Raises:
            InputError: a site that the host does not have, or sites that share a module but cannot.
        """
        order = [site.name for site in find_sites(host)]
        for name in placed:
            if name not in order:
                raise unknown(f"site of {host.name}", name, order)
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
        names = tensor_names(sites, self.items)
        members = Counter(spec.share for _, specs in self.items for spec in specs)
        built: dict[str, list[dict[str, Any]]] = {}
        for name, specs in self.items:
            # One tensor may have two names; its modules stand in one list, empty where an attention is removed.
            modules = built.setdefault(names[name], [])
            for spec in specs:
                if entry(spec.module).kind == "removal":
                    continue
                # A group of one shares nothing, and what a group is called changes nothing.
                shared = spec.share if spec.share and members[spec.share] > 1 else None
                group = groups.setdefault(shared, len(groups)) if shared else None
                modules.append({**dict(what_is_built(sites[name], spec)), "share": group})
        whole = {
            "format": FORMAT,
            "host": self.host.to_dict(),
            "sites": [(name, built[name]) for name in sites if name in built],
        }
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
        return {"host": self.host.to_dict(), "placement": placement}

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


def _place(
    config: ArchitectureConfig, sites: Sequence[Site], document: Document
) -> tuple[dict[str, tuple[ModuleSpec, ...]], dict[str, str]]:
    """Return what the selectors put at each site in the end, and which selector it was."""
    placed: dict[str, tuple[ModuleSpec, ...]] = {}
    selectors: dict[str, str] = {}
    for selector, given in config.placement.items():
        try:
            specs, selected = _parse_modules(given), select_sites(sites, selector)
        except InputError as error:
            raise document.error(("placement", selector, *error.keys), str(error)) from None
        placed |= {site.name: specs for site in selected}
        selectors |= {site.name: selector for site in selected}
    for site in sites:
        try:
            check_fit(config.host, site, placed.get(site.name, ()))
        except InputError as error:
            selector = selectors[site.name]
            keys = error.keys if isinstance(config.placement[selector], list) else error.keys[1:]
            raise document.error(("placement", selector, *keys), str(error)) from None
    return placed, selectors


@lru_cache(maxsize=256)
def _restore_host(text: bytes) -> HostConfig:
    return HostConfig.model_validate(orjson.loads(text))


@lru_cache(maxsize=4096)
def _restore_specs(text: bytes) -> tuple[ModuleSpec, ...]:
    return _parse_modules(orjson.loads(text))


def _parse_modules(given: dict[str, Any] | list[dict[str, Any]]) -> tuple[ModuleSpec, ...]:
    """Return the specs of one entry of a placement; `{module: none}` gives none."""
    entries = given if isinstance(given, list) else [given]
    if not entries:
        raise InputError("the list names no module; for an empty site write {module: none}")
    if any(each.get("module") == NONE for each in entries):
        if entries != [{"module": NONE}]:
            raise InputError(f"{{module: none}} stands alone and has no knobs, got {given!r}")
        return ()
    specs = []
    for number, each in enumerate(entries):
        try:
            specs.append(make_spec(each))
        except InputError as error:
            raise InputError(str(error), (number, *error.keys) if isinstance(given, list) else error.keys) from None
    return tuple(specs)


def select_sites(sites: Iterable[Site], selector: str) -> list[Site]:
    """Return the sites whose names match a glob, in network order.

    Raises:
        InputError: nothing matches; the message names the places there are and the nearest selector.
    """
    sites = list(sites)
    selected = [site for site in sites if fnmatchcase(site.name, selector)]
    if not selected:
        path, _, place = selector.rpartition("/")
        places = sorted({site.place for site in sites})
        near = [f"{path}/{other}" for other in places if other == nearest(place, places)]
        guess = nearest(selector, [site.name for site in sites]) if place in places or not near else near[0]
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise InputError(f"the selector {selector!r} matches no site; places here: {', '.join(places)}{hint}")
    return selected


def _check_sharing(architecture: Architecture) -> None:
    first: dict[str, tuple[Site, ModuleSpec]] = {}
    sites = {site.name: site for site in find_sites(architecture.host)}
    shared = ((name, spec) for name, specs in architecture.items for spec in specs if spec.share)
    for name, spec in shared:
        assert spec.share
        other, known = first.setdefault(spec.share, (sites[name], spec))
        if reason := _why_not_shared(sites[name], spec, other, known):
            raise InputError(f"{name} and {other.name} cannot share a module (group {spec.share!r}): {reason}", (name,))


def _why_not_shared(site: Site, spec: ModuleSpec, other: Site, known: ModuleSpec) -> str | None:
    if entry(spec.module).kind == "weights":
        return f"{spec.module} keeps the weights of its own convolution"
    if spec != known:
        return f"{spec} against {known}"
    names = ("{} channels", "bridges from {} channels", "maps of size {}")
    pairs = zip(names, sharing_key(site, spec), sharing_key(other, spec), strict=True)
    return next((f"{name.format(mine)} against {theirs}" for name, mine, theirs in pairs if mine != theirs), None)
