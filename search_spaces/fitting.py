"""Which module fits which site, and the module built for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from search_spaces.attention import check_knobs, create, effective, entry
from search_spaces.errors import InputError
from search_spaces.hosts import HostConfig
from search_spaces.sites import Site
from search_spaces.tracing import trace_host

INITS = ("paper", "identity")
Setting = tuple[str, Any]


@dataclass(frozen=True)
class ModuleSpec:
    """A module with every knob, as it stands at a site."""

    module: str
    settings: tuple[Setting, ...] = ()
    """Every knob and its value, in the order of the module's signature."""
    init: str = "paper"
    """`paper`, or `identity`: at first the module changes nothing."""
    share: str | None = None
    """Sites with the same module and group share one set of weights."""

    @property
    def knobs(self) -> dict[str, Any]:
        return dict(self.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as it is written in a file."""
        extras = ({"init": self.init} if self.init != "paper" else {}) | (
            {"share": self.share} if self.share else {}
        )
        return {"module": self.module, **self.knobs, **extras}

    def __str__(self) -> str:
        return f"{self.module}({', '.join(f'{knob}={value}' for knob, value in self.settings)})"


def make_spec(given: dict[str, Any]) -> ModuleSpec:
    """Return the spec of `{module: se, reduction: 16}` with every knob filled in.

    Raises:
        InputError: no or an unknown module, an unknown knob, a value that is not allowed.
    """
    if not isinstance(given, dict) or not isinstance(given.get("module"), str):
        raise InputError(f"expected {{module: <name>, <knob>: <value>}}, got {given!r}")
    knobs = {key: value for key, value in given.items() if key not in ("module", "init", "share")}
    init, share = given.get("init", "paper"), given.get("share")
    if init not in INITS:
        raise InputError(f"`init` must be {' or '.join(INITS)}, got {init!r}")
    if share is not None and not isinstance(share, str):
        raise InputError(f"`share` must be the name of a group, got {share!r}")
    checked = check_knobs(given["module"], knobs)
    return ModuleSpec(given["module"], tuple(checked.items()), init, share)


def check_fit(host: HostConfig, site: Site, specs: Sequence[ModuleSpec]) -> None:
    """Raise InputError with the reason if the modules cannot stand at the site, in this order."""
    if len(specs) > 1 and site.place_kind in ("conv", "merge"):
        raise InputError(f"only one module can replace what is at {site.name}, got {len(specs)}")
    for spec in specs:
        _check_fit(host, site, spec)


def _check_fit(host: HostConfig, site: Site, spec: ModuleSpec) -> None:
    kind = entry(spec.module)
    if site.place_kind not in _stems(kind.places):
        raise InputError(
            f"{spec.module} (a {kind.kind}) does not fit {site.name}; it goes to: {', '.join(kind.places)}"
        )
    if kind.kind == "bridge" and not site.sources:
        raise InputError(
            f"{spec.module} does not fit {site.name}: there is no earlier convolution in the block to bridge"
        )
    try:
        module_on_meta(host, site, spec)
    except InputError as error:
        raise InputError(f"{spec.module} does not fit {site.name}: {error}") from None


def _stems(places: Iterable[str]) -> set[str]:
    """Return place kinds: `conv<i>`, `conv*` and `conv1` are all `conv`."""
    return {place.split("<")[0].rstrip("*0123456789") for place in places}


@lru_cache(maxsize=100_000)
def module_on_meta(host: HostConfig, site: Site, spec: ModuleSpec) -> nn.Module:
    """Return the module without data, as it would be built for the site."""
    with torch.device("meta"):
        return build_module(site, spec, _conv_at(host, site))


def _conv_at(host: HostConfig, site: Site) -> nn.Conv2d | None:
    if site.place_kind != "conv":
        return None
    graph = trace_host(host)
    conv = graph.module(graph.node(site.target))
    assert isinstance(conv, nn.Conv2d)
    return conv


def build_module(site: Site, spec: ModuleSpec, conv: nn.Conv2d | None = None) -> nn.Module:
    """Build the module of `spec` for `site` on torch's current device and generator.

    `conv` is the convolution that a module of kind `weights` stands for. Raises InputError where it does not fit.
    """
    kind = entry(spec.module).kind
    positional: dict[str, Any] = {"conv": conv} if kind == "weights" else {"channels": site.channels}
    if kind == "bridge":
        positional["source_channels"] = tuple(source.channels for source in site.sources)
    return create(spec.module, init=spec.init, **positional, **spec.knobs)


@lru_cache(maxsize=100_000)
def what_is_built(site: Site, spec: ModuleSpec) -> tuple[Setting, ...]:
    """Return what the spec builds at the site; equal for two specs exactly if they build the same module."""
    built = effective(
        spec.module,
        spec.knobs,
        channels=site.channels,
        source_channels=tuple(source.channels for source in site.sources),
        resolution=site.resolution,
    )
    return (("module", spec.module), *built.items(), ("init", spec.init))
