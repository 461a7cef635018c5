"""Which module fits which site, and the module built for it."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import nn

from search_spaces.attention import (
    INITS,
    KINDS,
    RESOLUTION,
    bridge_from,
    check_knobs,
    create,
    effective,
    entry,
)
from search_spaces.errors import InputError
from search_spaces.graphs.tracing import Shape
from search_spaces.hosts import DETECTORS, HostConfig, on_meta
from search_spaces.networks import trace_host
from search_spaces.sites.site_type import Site, Source

NONE = "none"
"""What a file calls the module of an empty site."""

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
        written = {"module": self.module, **self.knobs}
        if self.init != "paper":
            written["init"] = self.init
        if self.share is not None:
            written["share"] = self.share
        return written

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        extras = {"init": self.init if self.init != "paper" else None, "share": self.share}
        shown = self.knobs | {key: value for key, value in extras.items() if value is not None}
        return f"{self.module}({', '.join(f'{key}={value}' for key, value in shown.items())})"


def make_spec(given: dict[str, Any]) -> ModuleSpec:
    """Return the spec of `{module: se, reduction: 16}` with every knob filled in.

    Raises:
        InputError: no or an unknown module, an unknown knob, a value that is not allowed; `keys` says which.
    """
    if not isinstance(given, dict) or not isinstance(given.get("module"), str):
        raise InputError(f"expected {{module: <name>, <knob>: <value>}}, got {given!r}")
    name, init, share = given["module"], given.get("init", "paper"), given.get("share")
    try:
        entry(name, [NONE])
    except InputError as error:
        raise InputError(str(error), ("module",)) from None
    if init not in INITS:
        raise InputError(f"must be {' or '.join(INITS)}, got {init!r}", ("init",))
    if share is not None and not (share and isinstance(share, str)):
        raise InputError(f"must be the name of a group, got {share!r}", ("share",))
    knobs = {key: value for key, value in given.items() if key not in ("module", "init", "share")}
    for knob, value in knobs.items():
        try:
            check_knobs(name, {knob: value})
        except InputError as error:
            raise InputError(str(error), (knob,)) from None
    return ModuleSpec(name, tuple(check_knobs(name, knobs).items()), init, share)


def check_fit(host: HostConfig, site: Site, specs: Sequence[ModuleSpec]) -> None:
    """Raise InputError with the reason if the modules cannot stand at the site, in this order.

    The error's `keys` are the module's position and the knob that keeps it from fitting, as far as there is one.
    """
    if reason := _why_not_together(site, specs):
        raise InputError(reason)
    for position, spec in enumerate(specs[:-1]):
        if entry(spec.module).kind == "weights":
            raise InputError(
                f"{spec.module} replaces the convolution at {site.name}: what refines its input stands before it in "
                "the list, and nothing behind it",
                (position,),
            )
    for position, spec in enumerate(specs):
        if reason := _why_not(host, site, spec):
            raise InputError(reason, (position, *_knob_to_blame(host, site, spec)))


def _why_not_together(site: Site, specs: Sequence[ModuleSpec]) -> str | None:
    """Return why modules that each fit a site cannot stand there in this order."""
    kinds = [entry(spec.module).kind for spec in specs]
    if len(specs) > 1 and (site.place_kind == "conv" or kinds.count("merge") > 1):
        return f"only one module can replace what is at {site.name}, got {len(specs)}"
    if "merge" in kinds[1:]:
        return f"{specs[kinds.index('merge')].module} replaces the sum at {site.name}, so it must come first there"
    if len(specs) > 1 and "removal" in kinds:
        return f"{specs[kinds.index('removal')].module} puts nothing at {site.name}; leave it out beside other modules"
    return None


def _why_not(host: HostConfig, site: Site, spec: ModuleSpec) -> str | None:
    found = entry(spec.module)
    wrong = f"{spec.module} (a {found.kind}) does not fit {site.name}"
    if site.place_kind not in _kinds_of(found.places):
        blocks = "; a pyramid has no blocks whose convolutions it could bridge" if found.kind == "bridge" else ""
        return f"{wrong}{blocks if site.refines_input else ''}; it goes to: {', '.join(found.places)}"
    if found.kind == "merge" and site.branch_operand is None:
        return f"{wrong}: a concatenation stands there, not a sum that could be replaced; gates can refine its result"
    if found.kind == "removal" and spec.share:
        return f"{wrong} with a share: it puts nothing there that could be shared"
    if found.kind == "bridge" and not bridged(site, spec):
        where = "in the block" if bridge_from(spec.module, spec.knobs) == "block" else "before the block"
        return f"{wrong}: there is no earlier convolution {where} to bridge"
    try:
        module_on_meta(host, site, spec)
    except InputError as error:
        return f"{spec.module} does not fit {site.name}: {error}"
    if host.head in DETECTORS and (reason := _why_not_on_wide_images(host, site, spec)):
        return f"{spec.module} does not fit {site.name}: {host.head} reads images of many sizes, and {reason}"
    return None


def _why_not_on_wide_images(host: HostConfig, site: Site, spec: ModuleSpec) -> str | None:
    """Return why a module cannot read the maps of the widest images that a detector makes, 5/3 as wide as high."""
    module, kind = module_on_meta(host, site, spec), entry(spec.module).kind
    if kind not in KINDS or not {"channels", "conv"} & set(KINDS[kind].positional):
        return None
    scale = site.conv.stride if kind == "weights" and site.conv else (1, 1)
    read = site.conv.in_channels if kind == "weights" and site.conv else site.channels
    x = _widened(read, (site.resolution[0] * scale[0], site.resolution[1] * scale[1]))
    was_training = module.training
    try:
        with torch.no_grad():
            module.eval()(*meta_inputs(kind, x, [_widened(s.channels, s.resolution) for s in bridged(site, spec)]))
    except (InputError, RuntimeError) as error:
        return str(error)
    finally:
        module.train(was_training)
    return None


def _widened(channels: int, resolution: tuple[int, int]) -> Shape:
    height, width = resolution
    return 1, channels, height, -(-width * 5 // 3)


def meta_inputs(kind: str, x: Shape, sources: Sequence[Shape] = ()) -> list[Any]:
    """Return what a module of a kind reads where the maps have these shapes, without data."""
    image, *others = [torch.empty(*shape, device="meta") for shape in (x, *sources)]
    more: dict[str, list[Any]] = {"bridge": [others], "merge": [image], "recurrent": [None]}
    return [image, *more.get(kind, [])]


def _knob_to_blame(host: HostConfig, site: Site, spec: ModuleSpec) -> tuple[str, ...]:
    """Return the knob that alone keeps a module from fitting where it would fit with its defaults."""
    default = make_spec({"module": spec.module})
    if _why_not(host, site, default):
        return ()
    alone = ((knob, make_spec({"module": spec.module, knob: value})) for knob, value in spec.settings)
    return next(((knob,) for knob, only in alone if _why_not(host, site, only)), ())


def _kinds_of(places: Iterable[str]) -> set[str]:
    """Return places without their numbers: of `conv*`, `conv`."""
    return {place.rstrip("*") for place in places}


def module_on_meta(host: HostConfig, site: Site, spec: ModuleSpec) -> nn.Module:
    """Return the module without data, as it would be built for the site; it is shared, do not change it."""
    conv = conv_at(host, site) if entry(spec.module).kind == "weights" else None
    if conv is None:
        widths = tuple(source.channels for source in bridged(site, spec))
        return spec_on_meta(spec, site.channels, widths, site.resolution)
    with on_meta(), torch.device("meta"):
        return _create(spec, conv=copy.deepcopy(conv), resolution=site.resolution)


@lru_cache(maxsize=10_000)
def spec_on_meta(
    spec: ModuleSpec, channels: int, source_channels: tuple[int, ...], resolution: tuple[int, int]
) -> nn.Module:
    """Return a module that replaces no convolution, without data; it is shared, do not change it."""
    with on_meta(), torch.device("meta"):
        return _create(spec, channels=channels, source_channels=source_channels, resolution=resolution)


def conv_at(host: HostConfig, site: Site) -> nn.Conv2d | None:
    """Return the convolution without data that stands at a site; None where there is none."""
    if site.conv is None:
        return None
    graph = trace_host(host)
    conv = graph.module(graph.node(site.target))
    assert isinstance(conv, nn.Conv2d)
    return conv


def build_module(site: Site, spec: ModuleSpec, conv: nn.Conv2d | None = None) -> nn.Module:
    """Build the module of `spec` for `site` on torch's current device and generator.

    `conv` is the convolution that a module of kind `weights` stands for. Raises InputError where it does not fit.
    """
    widths = tuple(source.channels for source in bridged(site, spec))
    return _create(spec, channels=site.channels, source_channels=widths, conv=conv, resolution=site.resolution)


def _create(spec: ModuleSpec, resolution: tuple[int, int], **available: Any) -> nn.Module:
    wanted = {name: available[name] for name in KINDS[entry(spec.module).kind].positional}
    return create(spec.module, init=spec.init, resolution=resolution, **wanted, **spec.knobs)


def bridged(site: Site, spec: ModuleSpec) -> tuple[Source, ...]:
    """Return what a bridge at the site reads beside the site's tensor, in network order; nothing for other kinds."""
    if entry(spec.module).kind != "bridge":
        return ()
    if (origin := bridge_from(spec.module, spec.knobs)) == "block":
        return site.sources
    if site.previous_conv is None or site.previous_end is None:
        return ()
    if origin == "previous_end":
        return (site.previous_end,)
    # Attention weights are one number per channel.
    resolution = (1, 1) if origin == "previous_attention" else site.previous_conv.resolution
    return (replace(site.previous_conv, resolution=resolution),)


def sharing_key(site: Site, spec: ModuleSpec) -> tuple[Any, ...]:
    """Return what has to be equal at two sites for one module of this spec to serve both."""
    widths = tuple(source.channels for source in bridged(site, spec))
    size = site.resolution if RESOLUTION in entry(spec.module).positional else None
    return site.channels, widths, size


@lru_cache(maxsize=100_000)
def what_is_built(site: Site, spec: ModuleSpec) -> tuple[Setting, ...]:
    """Return what the spec builds at the site; equal for two specs exactly if they build the same module."""
    built = effective(
        spec.module,
        spec.knobs,
        channels=site.channels,
        source_channels=tuple(source.channels for source in bridged(site, spec)),
        resolution=site.resolution,
        conv=site.conv,
    )
    return (("module", spec.module), *built.items(), ("init", spec.init))
