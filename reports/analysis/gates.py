"""How the gate of each attention module moves: its mean, and its spread over images, positions and channels.

A module that answers f(x) for one map x has the gate f(x) / x, element by element: for a module that multiplies, of
whatever make (timm's layers and users' own too), that is its very weight. A merge of two maps and a module on weights
have no such ratio; those that name a `gate_part` are read there. Of what multiplies nothing the ratio means little:
where f(x) has another sign than x, or x is 0 and f(x) is not, in more than `_MOST_STRANGE` of the elements, a module
is called no gate.

Figure 4 of Zhao et al., 2021 (BA-Net, arXiv:2112.04150, section 5.1) shows the means by class.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reports.analysis.pictures import Pictures, Tick
from reports.analysis.subject import Subject, Watch, last_answer
from search_spaces.attention import entry
from search_spaces.attention.identity import IdentityStart
from search_spaces.build import Placed

WASTED_BELOW = 0.01
"""A gate is wasted that moves by less than so much of its size. See `docs/analysis.md` for what it rests on."""

_TINY = 1e-3
"""Where |x| is less than so much of the map's root mean square, no ratio is taken."""
_MOST_STRANGE = 1e-3


@dataclass(frozen=True)
class SiteGate:
    """The gate of one module at one site over many images."""

    site: str
    """With a number from the second module at a site on: `layer1.0/branch #2`."""
    module: str
    """With its knobs."""
    stage: str
    block: str
    read_from: str
    """How it was read, in words."""
    is_gate: bool
    """Whether it multiplies; if not, the numbers are of the ratio all the same."""
    mean: float
    """Over images, positions and channels."""
    over_images: float
    """Standard deviation over images of a channel's mean, root mean square over channels."""
    over_positions: float
    """Standard deviation over the positions of a map, root mean square over images and channels."""
    over_channels: float
    """Standard deviation over channels of their means over images."""
    between_classes: float | None
    """Share of the variance over images that lies between classes; None if it does not move over images."""
    channel_means: tuple[float, ...]
    class_means: tuple[tuple[float, ...], ...]
    """For each class and channel; nan for a class without an image."""

    @property
    def size(self) -> float:
        """The root mean square of the channels' means, what movement is measured by."""
        return math.sqrt(sum(mean * mean for mean in self.channel_means) / len(self.channel_means))

    @property
    def movement(self) -> float:
        """How much the gate moves over images and positions, as a share of its size; 0 for a gate that is 0."""
        moved = math.hypot(self.over_images, self.over_positions)
        return moved / self.size if self.size else 0.0

    @property
    def is_wasted(self) -> bool:
        """Whether it is the same for every image and position: a fixed scale that the host could learn itself."""
        return self.is_gate and self.movement < WASTED_BELOW

    @property
    def is_spatial(self) -> bool:
        """Whether it tells positions apart."""
        return self.is_gate and self.size > 0 and self.over_positions / self.size >= WASTED_BELOW


@dataclass(frozen=True)
class Unread:
    """A module without a gate that could be read."""

    site: str
    module: str
    reason: str


def read_gates(subject: Subject, pictures: Pictures, tick: Tick) -> tuple[tuple[SiteGate, ...], tuple[Unread, ...]]:
    """Return the gate of every attention module in network order, and the modules that have none, with the reason.

    Memory does not grow with the number of images.
    """
    readers, unread = readers_of(subject)
    sums = {placed.call: _Sums(len(pictures.classes)) for placed in readers}
    for x_BCHW, labels in pictures.batches(subject.device, tick, f"gates of {subject.title}"):

        def add(placed: Placed, reader: Reader, labels: Tensor = labels) -> None:
            sums[placed.call].add(reader, labels)
            reader.forget()  # else the maps of all sites would be in memory together

        with watching(readers, add) as watches:
            subject.look(x_BCHW, watches)
    return tuple(_site_gate(subject, placed, readers[placed], sums[placed.call]) for placed in readers), unread


class Reader:
    """Reads the gate of one module of one call: `gate` (B, C, h, w) and where it is `valid`, after each batch."""

    gate: Tensor
    valid: Tensor | None
    """Where a ratio could be taken, (B, C, h, w); None: everywhere."""
    num_strange: int
    """Elements that no multiplication explains."""

    def __init__(self, part: nn.Module | None, words: str) -> None:
        self.part, self.words = part, words

    def see(self, inputs: tuple[Any, ...], answer: Any, from_part: Tensor | None) -> None:
        """Take note of a call: its inputs, its answer, and what the part that is read has answered."""
        self.valid, self.num_strange = None, 0
        if from_part is not None:
            gate = from_part.float()
            self.gate = gate.reshape(*gate.shape, *[1] * (4 - gate.ndim))
            return
        x_BCHW, y_BCHW = inputs[0].float(), (answer[0] if isinstance(answer, tuple) else answer).float()
        scale = x_BCHW.square().mean((1, 2, 3), keepdim=True).sqrt()
        self.valid = x_BCHW.abs() > _TINY * scale
        strange = (x_BCHW * y_BCHW < 0) | ((x_BCHW == 0) & (y_BCHW.abs() > _TINY * scale))
        self.num_strange = int((strange & (self.valid | (x_BCHW == 0))).sum())
        self.gate = torch.where(self.valid, y_BCHW / torch.where(self.valid, x_BCHW, 1), 0)

    def forget(self) -> None:
        """Let go of the last batch."""
        self.gate, self.valid = torch.empty(0), None


def readers_of(subject: Subject) -> tuple[dict[Placed, Reader], tuple[Unread, ...]]:
    """Return how the gate of each call of an attention module is read, and those that have none."""
    readers, unread = {}, []
    for placed in subject.placed:
        kind, module = entry(placed.spec.module).kind, _inner(subject.module(placed))
        part = getattr(module, "gate_part", None)
        if part is not None:
            words = f"the output of its part {part}"
            readers[placed] = Reader(module.get_submodule(part), words)
        elif kind in ("gate", "bridge", "recurrent"):
            readers[placed] = Reader(None, "output / input")
        else:
            reason = (
                "a merge reads two maps, so output over input is no gate"
                if kind == "merge"
                else "it stands for a convolution, whose output over input is no gate"
            )
            unread.append(Unread(subject.names[placed], str(placed.spec), f"{reason}, and it names no gate_part"))
    return readers, tuple(unread)


def _inner(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, IdentityStart) else module


@contextmanager
def watching(
    readers: Mapping[Placed, Reader], then: Callable[[Placed, Reader], None] | None = None
) -> Iterator[dict[str, Watch]]:
    """Return watches for `Subject.look` under which readers see their calls; `then` is called after each."""
    with ExitStack() as stack:
        parts = {reader.part for reader in readers.values() if reader.part is not None}
        kept = {part: stack.enter_context(last_answer(part)) for part in parts}

        def watch(placed: Placed, reader: Reader) -> Watch:
            def see(inputs: tuple[Any, ...], answer: Any) -> None:
                reader.see(inputs, answer, None if reader.part is None else kept[reader.part][0])
                if then is not None:
                    then(placed, reader)

            return see

        yield {placed.call: watch(placed, reader) for placed, reader in readers.items()}


def _moments(gate_BCP: Tensor, valid_BCP: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and number of the valid positions, (B, C) each, in float64; 0 without any."""
    if valid_BCP is None:
        valid_BCP = torch.ones((), dtype=torch.bool, device=gate_BCP.device).expand_as(gate_BCP)
    count_BC = valid_BCP.sum(2).double()
    mean_BC = torch.where(valid_BCP, gate_BCP, 0).sum(2, dtype=torch.float64) / count_BC.clamp(min=1)
    away_BCP = torch.where(valid_BCP, gate_BCP - mean_BC[:, :, None].float(), 0)
    return mean_BC, away_BCP.square().sum(2, dtype=torch.float64) / count_BC.clamp(min=1), count_BC


class _Sums:
    """What is added up of one gate: numbers for each channel, and for each class and channel, in float64."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._sums: dict[str, Tensor] = {}
        self._num_strange = 0
        self._num_elements = 0

    def add(self, reader: Reader, labels: Tensor) -> None:
        """Add a batch."""
        gate_BCP = reader.gate.flatten(2)
        valid_BCP = None if reader.valid is None else reader.valid.flatten(2)
        mean_BC, variance_BC, count_BC = _moments(gate_BCP, valid_BCP)
        seen_BC = (count_BC > 0).double()
        class_BK = torch.nn.functional.one_hot(labels, self._num_classes).double()
        new = {
            "count": seen_BC.sum(0),
            "mean": (mean_BC * seen_BC).sum(0),
            "square": (mean_BC.square() * seen_BC).sum(0),
            "variance": (variance_BC * seen_BC).sum(0),
            "class_count": class_BK.T @ seen_BC,
            "class_mean": class_BK.T @ (mean_BC * seen_BC),
        }
        self._sums = {name: value + self._sums.get(name, 0) for name, value in new.items()}
        self._num_strange += reader.num_strange
        self._num_elements += gate_BCP.numel()

    @property
    def is_gate(self) -> bool:
        """Whether a multiplication explains what was seen."""
        return self._num_strange <= _MOST_STRANGE * self._num_elements

    def means(self) -> dict[str, Tensor]:
        """Return, on the CPU, means over images for each channel: `mean`, `variance` over images, `within` a map; and
        `class_mean`, `between` classes. Channels without a value count as 0."""
        sums = {name: value.cpu() for name, value in self._sums.items()}
        count_C = sums["count"].clamp(min=1)
        mean_C = sums["mean"] / count_C
        class_mean_KC = sums["class_mean"] / sums["class_count"]
        away_KC = torch.where(sums["class_count"] > 0, class_mean_KC - mean_C, 0)
        return {
            "mean": mean_C,
            "variance": (sums["square"] / count_C - mean_C.square()).clamp(min=0),
            "within": sums["variance"] / count_C,
            "class_mean": class_mean_KC,
            "between": (sums["class_count"] * away_KC.square()).sum(0) / count_C,
        }


def _site_gate(subject: Subject, placed: Placed, reader: Reader, sums: _Sums) -> SiteGate:
    means, site = sums.means(), subject.sites[placed.site]
    variance = float(means["variance"].mean())
    moves = variance > 1e-12 * float(means["mean"].square().mean())
    return SiteGate(
        site=subject.names[placed],
        module=str(placed.spec),
        stage=site.stage,
        block=site.block,
        read_from=reader.words,
        is_gate=sums.is_gate,
        mean=float(means["mean"].mean()),
        over_images=math.sqrt(variance),
        over_positions=math.sqrt(float(means["within"].mean())),
        over_channels=float(means["mean"].std(correction=0)),
        between_classes=float(means["between"].mean()) / variance if moves else None,
        channel_means=tuple(means["mean"].tolist()),
        class_means=tuple(tuple(row) for row in means["class_mean"].tolist()),
    )
