"""What a gate's movement is worth: the predictions that change when one gate at a time is held at its mean.

Each channel's gate is replaced by its mean over images and positions, everything else stays as it was trained.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reports.analysis.gates import Reader, SiteGate, readers_of
from reports.analysis.pictures import Pictures, Tick
from reports.analysis.subject import Answer, Subject

MOST_IMAGES = 500
"""One pass over the images for each site."""


@dataclass(frozen=True)
class Frozen:
    """What happens when one gate is held at its mean."""

    site: str
    num_images: int
    num_changed: int
    """Predictions that change."""
    num_right: int
    """Right predictions with the gate held."""
    num_right_before: int


def freeze_each(subject: Subject, gates: tuple[SiteGate, ...], pictures: Pictures, tick: Tick) -> tuple[Frozen, ...]:
    """Return for each gate what holding it changes, on at most `MOST_IMAGES` images."""
    readers = list(readers_of(subject)[0].items())
    means = [torch.tensor(gate.channel_means, device=subject.device) for gate in gates]
    changed, right = [0] * len(gates), [0] * len(gates)
    num_images = num_right = 0
    for x_BCHW, labels in pictures.batches(subject.device, tick, f"gates of {subject.title} held", MOST_IMAGES):
        before = subject.look(x_BCHW, {}).argmax(1)
        num_images, num_right = num_images + len(labels), num_right + int((before == labels).sum())
        for i, (placed, reader) in enumerate(readers):
            after = _look_with(subject, x_BCHW, placed.call, reader, means[i]).argmax(1)
            changed[i] += int((after != before).sum())
            right[i] += int((after == labels).sum())
    return tuple(Frozen(gate.site, num_images, changed[i], right[i], num_right) for i, gate in enumerate(gates))


def _look_with(subject: Subject, x_BCHW: Tensor, call: str, reader: Reader, mean_C: Tensor) -> Tensor:
    """Run the network with one gate held."""
    if reader.part is None:
        return subject.look(x_BCHW, {}, {call: _scaled(mean_C)})
    with ExitStack() as stack:

        def hold(_: nn.Module, __: Any, answer: Tensor) -> Tensor:
            return mean_C.to(answer.dtype).view(1, -1, *[1] * (answer.ndim - 2)).expand_as(answer)

        # A module that sites share is held at all of them.
        stack.callback(reader.part.register_forward_hook(hold).remove)
        return subject.look(x_BCHW, {})


def _scaled(mean_C: Tensor) -> Answer:
    def answer(inputs: tuple[Any, ...], given: Any) -> Any:
        held_BCHW = inputs[0] * mean_C.to(inputs[0].dtype)[:, None, None]
        return (held_BCHW, *given[1:]) if isinstance(given, tuple) else held_BCHW

    return answer
