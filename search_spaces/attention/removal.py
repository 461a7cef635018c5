"""Nothing in the place of the host's own attention."""

from torch import Tensor, nn

from search_spaces.attention.registry import register


@register("remove", kind="removal", paper="none")
class Remove(nn.Module):
    """No attention: what the host itself has there (squeeze-and-excitation and the like) is taken out.

    The edited network holds no module for it; the class says what its place computes.
    """

    def __init__(self, channels: int) -> None:  # noqa: ARG002 - what its kind gives
        super().__init__()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x, as a copy: what a module answers may be changed in place."""
        return x_BCHW.clone()
