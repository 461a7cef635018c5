"""Which parameters learn at which rate, and which are decayed.

No decay of norms and biases: Goyal et al., arXiv:1706.02677, section 5.1 (norms); He et al., arXiv:1812.01187, section
3.1 (biases too).
"""

from collections.abc import Collection
from typing import Any

from torch import nn

from search_spaces import Architecture
from search_spaces.networks import build_network_on_meta

FACTOR = "lr_factor"
"""Key of a group: what the learning rate of a step is multiplied by."""


def parameter_groups(
    model: nn.Module,
    placed: Collection[str],
    *,
    weight_decay: float,
    norm_weight_decay: bool,
    attention_lr: float,
) -> list[dict[str, Any]]:
    """Return the groups of an optimiser; parameters keep their order within a group.

    Args:
        model: what is trained; its frozen parameters are left out.
        placed: names of the parameters whose rate is multiplied by `attention_lr`.
        weight_decay: of all parameters, or
        norm_weight_decay: if this is false, of those with two dimensions or more: neither of norms and biases nor of
            the scalar that `init: identity` blends a module in with.
        attention_lr: positive. SGD multiplies the decay with the rate, so that of `placed` changes with it.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = attention_lr if name in placed else 1.0
        decay = weight_decay if norm_weight_decay or parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, FACTOR: factor, "weight_decay": decay} for (factor, decay), parameters in groups.items()
    ]


def placed_parameters(architecture: Architecture, model: nn.Module) -> frozenset[str]:
    """Return the names of a built network's parameters that its bare host does not have.

    The `weight` of a convolution that a module stands for is the host's: it is there without the module.
    """
    host = {name for name, _ in build_network_on_meta(architecture.host).named_parameters()}
    return frozenset(name for name, _ in model.named_parameters() if name not in host)
