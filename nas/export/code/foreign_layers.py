"""Layers of timm whose constructors take classes: plain ones that compute the same, with the same parameters."""

from collections.abc import Callable

from torch import Tensor, nn

from nas.export.code.sources import Sources
from nas.export.code.values import Arg, Call, Literal, Value


class BatchNormAct(nn.BatchNorm2d):
    """A batch norm with a dropout (or nothing) and an activation behind it, as timm's `BatchNormAct2d`."""

    def __init__(
        self, num_features: int, drop: nn.Module, act: nn.Module, *, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.drop = drop
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        activated: Tensor = self.act(self.drop(super().forward(x)))
        return activated


def foreign_layer(module: nn.Module, sources: Sources, make: Callable[[nn.Module], Value]) -> Call | None:
    """Return the call that makes such a layer, and copy its class; None for any other.

    Args:
        module: the layer.
        sources: takes the copy.
        make: gives the call that makes a layer in it.
    """
    if f"{type(module).__module__}.{type(module).__name__}" != "timm.layers.norm_act.BatchNormAct2d":
        return None
    assert isinstance(module, nn.BatchNorm2d)
    if not (module.affine and module.track_running_stats) or module.momentum is None:
        return None
    args = (
        Arg(Literal(module.num_features), slot="num_features"),
        *(Arg(make(module.get_submodule(name))) for name in ("drop", "act")),
        Arg(Literal(module.eps), "eps", 1e-5, "eps"),
        Arg(Literal(module.momentum), "momentum", 0.1, "momentum"),
    )
    return Call(sources.copy(BatchNormAct), args)
