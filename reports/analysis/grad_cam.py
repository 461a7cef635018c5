"""Which positions speak for the class that a network answers.

Selvaraju et al., 2017, Grad-CAM, arXiv:1610.02391, by captum's `LayerGradCam`, at the output of the last stage. Dai et
al., 2021 (AFF), section 5.2 and figure 18: heat maps of the predicted class, with its softmax score; Baozhou et al.,
2021 (AW), supplementary section F.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from reports.analysis.pictures import Pictures
from reports.analysis.subject import Subject
from search_spaces.errors import InputError

Floats = NDArray[np.float32]
NEEDS_CAPTUM = "Grad-CAM needs the package captum: pip install 'attention-placement-search[analysis]'"
_BATCH = 16


@dataclass(frozen=True, eq=False)
class GradCam:
    """What one network answers for some images, and where it sees it."""

    network: str
    stage: str
    maps: Floats
    """(n, h, w), not negative; a network without evidence for its answer has zeros."""
    predicted: tuple[int, ...]
    scores: tuple[float, ...]
    """Softmax of the predicted class."""


def grad_cam(subject: Subject, pictures: Pictures, examples: Sequence[int]) -> GradCam:
    """Return the heat maps of the predicted classes at the end of the last stage.

    Raises:
        InputError: captum is not installed.
    """
    try:
        from captum.attr import LayerGradCam  # seconds to import, and nothing else here needs it
    except ModuleNotFoundError:
        raise InputError(NEEDS_CAPTUM) from None
    end = subject.stages[-1]
    network, probe = with_probe(subject.network, end.node)
    explain = LayerGradCam(network, probe)
    maps, predicted, scores = [], [], []
    for start in range(0, len(examples), _BATCH):
        x_BCHW = pictures.normalised(examples[start : start + _BATCH], subject.device)
        with torch.no_grad():
            softmax = network(x_BCHW).softmax(1)
        best = softmax.max(1)
        # The gradient must reach the probe, also in a network whose parameters need none.
        heat_B1HW = explain.attribute(x_BCHW.requires_grad_(), target=best.indices, relu_attributions=True)
        maps.append(heat_B1HW.detach()[:, 0].float().cpu().numpy())
        predicted += best.indices.tolist()
        scores += best.values.tolist()
    return GradCam(subject.title, end.name, np.concatenate(maps), tuple(predicted), tuple(scores))


class _Probe(nn.Module):
    """A place to look at: its answer is its input, as a copy, since what follows may change it in place."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def with_probe(network: fx.GraphModule, node: str) -> tuple[fx.GraphModule, nn.Module]:
    """Return the network with the same parameters, and a module in it whose answer is that node's."""
    probed = fx.GraphModule(network, copy.deepcopy(network.graph))
    probe = _Probe()
    probed.add_submodule("probe", probe)
    at = next(each for each in probed.graph.nodes if each.name == node)
    with probed.graph.inserting_after(at):
        call = probed.graph.call_module("probe", (at,))
    at.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)
    probed.recompile()
    return probed.eval(), probe


def predictions(subject: Subject, pictures: Pictures, positions: Sequence[int]) -> list[int]:
    """Return the predicted classes of some images."""
    answers: list[int] = []
    for start in range(0, len(positions), pictures.batch_size):
        chosen = positions[start : start + pictures.batch_size]
        answers += subject.look(pictures.normalised(chosen, subject.device), {}).argmax(1).tolist()
    return answers
