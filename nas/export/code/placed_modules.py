"""How the attention modules of an architecture are made in a file: by copies of their classes, or of their traces."""

from collections.abc import Callable

from torch import nn

from nas.export.code.errors import CannotWriteError
from nas.export.code.layers import torch_layer
from nas.export.code.sources import Sources
from nas.export.code.values import REQUIRED, Arg, Call, Literal, Value, is_literal
from search_spaces import Architecture, find_sites
from search_spaces.attention import entry
from search_spaces.attention.identity import IdentityStart, start_as_identity
from search_spaces.attention.registry import ModuleEntry
from search_spaces.attention.timm_layers import PREFIX as TIMM
from search_spaces.build import lay_out
from search_spaces.fitting import ModuleSpec, bridged, conv_at
from search_spaces.sites.site_type import Site

Traced = Callable[[nn.Module], Value]


def placed_calls(architecture: Architecture) -> dict[str, "PlacedModule"]:
    """Return the modules that are placed by their paths, each once."""
    sites = {site.name: site for site in find_sites(architecture.host)}
    placed = lay_out(architecture.host, architecture.items).placed
    return {each.path: PlacedModule(architecture, sites[each.site], each.spec) for each in placed}


class PlacedModule:
    """Writes the call that makes one placed module."""

    def __init__(self, architecture: Architecture, site: Site, spec: ModuleSpec) -> None:
        self._host = architecture.host
        self._site = site
        self._spec = spec

    def call(self, module: nn.Module, sources: Sources, traced: Traced) -> Value:
        """Return the call, and copy what it needs.

        timm's layers come from their traces: their constructors lead through half of timm.

        Raises:
            CannotWriteError: the module's code needs more than torch.
        """
        found = entry(self._spec.module)
        if isinstance(module, IdentityStart):
            return self._started(found, self._bare(found, module.module, sources, traced), sources)
        if self._spec.init == "paper" or self._spec.module.startswith(TIMM):
            return self._bare(found, module, sources, traced)
        return self._started(found, self._copy(found, sources), sources)

    def _bare(self, found: ModuleEntry, module: nn.Module, sources: Sources, traced: Traced) -> Value:
        if self._spec.module.startswith(TIMM):
            return traced(module)
        try:
            return self._copy(found, sources)
        except CannotWriteError as error:
            try:
                return traced(module)
            except CannotWriteError as other:
                raise CannotWriteError(f"{error}; nor from its trace: {other}") from None

    def _copy(self, found: ModuleEntry, sources: Sources) -> Call:
        assert isinstance(found.cls, type)
        return Call(sources.copy(found.cls), self._positional(found) + self._knobs(found))

    def _started(self, found: ModuleEntry, call: Value, sources: Sources) -> Call:
        return Call(sources.copy(start_as_identity), (Arg(Literal(found.kind)), Arg(call)))

    def _positional(self, found: ModuleEntry) -> tuple[Arg, ...]:
        values: dict[str, Callable[[], Value]] = {
            "channels": lambda: Literal(self._site.channels),
            "source_channels": lambda: Literal(tuple(each.channels for each in bridged(self._site, self._spec))),
            "conv": self._conv,
            "resolution": lambda: Literal(tuple(self._site.resolution)),
        }
        return tuple(Arg(values[name](), slot=name) for name in found.positional)

    def _conv(self) -> Value:
        conv = conv_at(self._host, self._site)
        assert conv is not None
        return torch_layer(conv)

    def _knobs(self, found: ModuleEntry) -> tuple[Arg, ...]:
        args = []
        for name, value in self._spec.knobs.items():
            if not is_literal(value):
                raise CannotWriteError(f"its knob {name} is no constant")
            default = found.knobs[name].default
            args.append(Arg(Literal(value), name, default if is_literal(default) else REQUIRED, name))
        return tuple(args)
