"""Dense-and-implicit attention: one LSTM cell shared along a stage.

Huang et al., 2020, DIANet: Dense-and-Implicit Attention Network, arXiv:1905.10671, section 3; released code:
github.com/gbup-group/DIANet, models/cifar/dia_resnet.py.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import hidden_width, scale_channels
from search_spaces.attention.ops.fused import average
from search_spaces.attention.registry import register

State = tuple[Tensor, Tensor]


@register("dia", kind="recurrent", paper="Huang et al., 2020, arXiv:1905.10671")
class DIA(nn.Module):
    """Dense-and-implicit attention: weigh channels by an LSTM cell that steps from block to block.

    At the t-th of the sites that share the cell, with y = mean of x over the positions and h = c = 0 before the
    first:
    (i, f, g, o) = F(y) + H(h), each of C; c' = sigmoid(f) c + sigmoid(i) tanh(g); h' = sigmoid(o) sigmoid(c');
    x' = h' x. (B, C, H, W) -> the same; h and c are (B, C) and go on to the next site.
    F and H are two-layer networks of their own, C -> C // r -> 4 C with a ReLU between and biases, in the place of
    an LSTM's single matrices: about 10 C^2 / r weights for its 8 C^2.

    The sigmoid of c' stands where an LSTM has tanh, so that the weights lie in (0, 1), as in the paper ("modified
    LSTM") and its code. r is 4 in the paper's CIFAR networks; DIANet-50 has 28,358,052 parameters with
    `reduction: 20`, one cell per stage. The code's dropout acts between stacked cells, of which there is one.
    """

    alpha: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        *,
        reduction: Annotated[
            int, Field(ge=1, description="the hidden width of the cell's networks is channels // reduction")
        ] = 4,
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.from_input = _network(channels, hidden)
        self.from_state = _network(channels, hidden)
        self.register_parameter("alpha", None)

    def forward(self, x_BCHW: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return x with its channels weighed, (B, C, H, W), and the state (h, c) for the next site."""
        pooled_BC = average(x_BCHW)
        if state is None:
            state = torch.zeros_like(pooled_BC), torch.zeros_like(pooled_BC)
        h_BC, c_BC = self._step(pooled_BC, state)
        weights_BC = h_BC if self.alpha is None else 1 + self.alpha * (h_BC - 1)
        return scale_channels(x_BCHW, weights_BC), (h_BC, c_BC)

    def _step(self, pooled_BC: Tensor, state: State) -> State:
        h_BC, c_BC = state
        gates_B4C: Tensor = self.from_input(pooled_BC) + self.from_state(h_BC)
        enter, forget, new, out = gates_B4C.chunk(4, 1)
        c_BC = forget.sigmoid() * c_BC + enter.sigmoid() * new.tanh()
        return out.sigmoid() * c_BC.sigmoid(), c_BC

    def start_as_identity(self) -> None:
        """x (1 + alpha (h - 1)), alpha = 0 at first; the state goes on as it is."""
        self.alpha = nn.Parameter(torch.zeros(()))

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, **_: object) -> dict[str, Any]:
        """Describe what is built: a reduction acts through the hidden width alone."""
        return {"hidden": hidden_width(channels, knobs["reduction"])}


def _network(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 4 * channels))
