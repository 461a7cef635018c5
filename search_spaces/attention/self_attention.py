"""Self-attention over the positions of a map, with embeddings of their relative positions.

Bello et al., 2019, Attention Augmented Convolutional Networks, arXiv:1904.09925, section 3.1.
"""

import torch
from torch import Tensor, nn

from search_spaces.attention.layers import init_conv
from search_spaces.errors import InputError


class RelativePositions(nn.Module):
    """Logits of the relative positions: S[i, j] = q_i . (r_H[j_y - i_y] + r_W[j_x - i_x]) (eq. 3 and 4).

    r_H and r_W (`rows`, `columns`) are learned, of (2 H - 1, D) and (2 W - 1, D) for maps up to H x W; a smaller map
    uses their middle. The start is normal with deviation D^-1/2. (The paper's listing gives its initialiser D^-1/2
    as the mean, and so the deviation 1; taken for a slip.)
    """

    def __init__(self, largest: tuple[int, int], dims: int) -> None:
        super().__init__()
        self.largest = largest
        self.rows, self.columns = (nn.Parameter(torch.randn(2 * size - 1, dims) * dims**-0.5) for size in largest)

    def forward(self, q_GHWD: Tensor) -> Tensor:
        """Return S, (G, H W, H W); made for each axis and spread.

        Raises:
            InputError: the map is larger than those it was built for.
        """
        height, width = q_GHWD.shape[1:3]
        if height > self.largest[0] or width > self.largest[1]:
            raise InputError(
                f"the relative positions were built for maps up to {self.largest[0]}x{self.largest[1]}, got "
                f"{height}x{width}; build for that resolution, or without relative positions"
            )
        by_row = torch.einsum("ghwd,hdj->ghwj", q_GHWD, _windows(self.rows, height))
        by_column = torch.einsum("ghwd,wdj->ghwj", q_GHWD, _windows(self.columns, width))
        return (by_row.unsqueeze(4) + by_column.unsqueeze(3)).flatten(3).flatten(1, 2)


def _windows(embeddings: Tensor, size: int) -> Tensor:
    """Return r[j - i] for i and j below `size`, (i, D, j)."""
    beyond = (len(embeddings) + 1) // 2 - size
    # The window of i begins at the offset -i.
    return embeddings[beyond : len(embeddings) - beyond].unfold(0, size, 1).flip(0)


class SelfAttention(nn.Module):
    """Multi-head self-attention, (B, C_in, H, W) -> (B, heads * values, H', W').

    MHA(x) = concat over the heads of O, mixed by W_O (eq. 2); O = softmax((Q K^T + S) / sqrt(D)) V (eq. 1; 4 with
    S, the logits of the relative positions); Q, K, V = x W_q, x W_k, x W_v. D is `keys`, per head, as `values`. Q, K
    and V come from one 1x1 convolution of the given stride. There are no biases, as in the equations. All heads
    share one `RelativePositions` for maps up to `largest`; without, S = 0.

    Logits and weights of (heads, H' W', H' W') per image are held. The products are written out: which backend
    `scaled_dot_product_attention` takes would decide whether torch's counter sees them.

    The start of the convolutions is Kaiming normal over the fan-out.
    """

    def __init__(
        self,
        in_channels: int,
        heads: int,
        keys: int,
        values: int,
        stride: tuple[int, ...],
        largest: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self.heads, self.scale = heads, keys**-0.5
        self.widths = (heads * keys, heads * keys, heads * values)
        qkv = nn.Conv2d(in_channels, sum(self.widths), 1, stride=(stride[0], stride[1]), bias=False)
        out = nn.Conv2d(heads * values, heads * values, 1, bias=False)
        init_conv(qkv)
        init_conv(out)
        self.qkv: nn.Module = qkv
        self.out: nn.Module = out
        self.relative = None if largest is None else RelativePositions(largest, keys)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the heads' averages of the values, mixed."""
        qkv_BCHW: Tensor = self.qkv(x_BCHW)
        height, width = qkv_BCHW.shape[2:]
        # G counts heads within images, P positions.
        q_GPD, k_GPD, v_GPV = (
            part.reshape(-1, part.shape[1] // self.heads, height * width).transpose(1, 2)
            for part in qkv_BCHW.split_with_sizes(self.widths, 1)
        )
        q_GPD = q_GPD * self.scale
        if self.relative is None:
            logits_GPP = q_GPD @ k_GPD.transpose(1, 2)
        else:
            relative_GPP = self.relative(q_GPD.reshape(-1, height, width, q_GPD.shape[2]))
            logits_GPP = torch.baddbmm(relative_GPP, q_GPD, k_GPD.transpose(1, 2))
        heads_GPV = logits_GPP.softmax(2) @ v_GPV
        merged_BPC = heads_GPV.reshape(-1, self.heads, *heads_GPV.shape[1:]).transpose(1, 2).flatten(2)
        mixed_BCHW: Tensor = self.out(merged_BPC.reshape(-1, height, width, self.widths[2]).permute(0, 3, 1, 2))
        return mixed_BCHW
