"""The moving average of a network's weights, which is scored in place of the last weights.

Averaging the iterates: Polyak and Juditsky, SIAM J. Control Optim. 30(4), 1992. As an exponential average over the
steps: Tarvainen and Valpola, arXiv:1703.01780, section 2; that it makes up for a learning rate that did not fall:
Morales-Brotons et al., arXiv:2411.18704.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Averages a network's weights and buffers, a step at a time.

    After step t, counted from 1: average = d * average + (1 - d) * weights, with d = min(decay, (1 + t) / (10 + t)).
    The smaller d of the first steps is not in the papers but in TensorFlow's ExponentialMovingAverage: without it, a
    short training would be scored with a share of its initial weights. Running means and variances are averaged like
    weights; what is counted (integers) is taken as it is.

    Args:
        model: what is trained; it is not changed.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        """The network with the averaged weights."""
        self._decay, self._num_steps = decay, 0
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counted = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self._num_steps += 1
        decay = min(self._decay, (1 + self._num_steps) / (10 + self._num_steps))
        averages, values = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(averages, values, 1 - decay)
        for mine, theirs in self._counted:
            mine.copy_(theirs)

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes up again."""
        return {"weights": self.model.state_dict(), "num_steps": self._num_steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of a network of the same kind."""
        self.model.load_state_dict(state["weights"])
        self._num_steps = state["num_steps"]

    def copy_to(self, model: nn.Module) -> None:
        """Give another network of the same kind the averaged weights."""
        model.load_state_dict(self.model.state_dict())


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
