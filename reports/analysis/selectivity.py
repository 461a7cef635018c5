"""How much the channels at the end of each stage tell classes apart.

Morcos et al., 2018, On the importance of single directions for generalization, arXiv:1803.06959, appendix A.2: the
class selectivity index of a unit. Park et al., 2020 (BAM's journal version), section 6.1 and figure 4, compare its
histograms over the stages of a network with and without BAM.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reports.analysis.pictures import Pictures, Tick
from reports.analysis.subject import Subject, Watch


@dataclass(frozen=True)
class StageSelectivity:
    """The channels of one stage's output in one network."""

    stage: str
    network: str
    index: tuple[float, ...]
    """Of each channel, in [0, 1]; nan where a channel is 0 for every image."""

    @property
    def known(self) -> list[float]:
        """The indices of the channels that are not always 0."""
        return [value for value in self.index if value == value]

    @property
    def num_dead(self) -> int:
        """Channels that are 0 for every image."""
        return len(self.index) - len(self.known)

    @property
    def mean(self) -> float | None:
        """Mean over the channels that are not dead."""
        return sum(self.known) / len(self.known) if self.known else None


def selectivity_index(class_mean_KC: Tensor) -> Tensor:
    """Return the class selectivity index of each channel, (C,).

    (mu_max - mu_rest) / (mu_max + mu_rest), with mu_max the largest class-conditional mean activity and mu_rest the
    mean of those of all other classes: 0 for a channel that is as active for every class, 1 for one that is active
    for one class only; nan for one that is never active.

    Args:
        class_mean_KC: mean activity for each of at least 2 classes, not negative.
    """
    top_C = class_mean_KC.max(0).values
    rest_C = (class_mean_KC.sum(0) - top_C) / (len(class_mean_KC) - 1)
    return (top_C - rest_C) / (top_C + rest_C)


def selectivity_of(subject: Subject, pictures: Pictures, tick: Tick) -> tuple[StageSelectivity, ...]:
    """Return the selectivity of the channels at the end of each stage, in network order.

    The activity of a channel is the mean over the positions of what is above 0. (Morcos et al. take it behind the ReLU;
    where a stage ends without one, the next layer's does the same.) Classes without an image do not count.
    """
    num_classes = len(pictures.classes)
    sums = {end.node: torch.zeros(num_classes, end.channels, dtype=torch.float64) for end in subject.stages}
    counts = torch.zeros(num_classes, dtype=torch.float64)
    for x_BCHW, labels in pictures.batches(subject.device, tick, f"selectivity in {subject.title}"):
        class_BK = torch.nn.functional.one_hot(labels, num_classes).double()

        def watch(node: str, class_BK: Tensor = class_BK) -> Watch:
            def see(_: object, map_BCHW: Tensor) -> None:
                sums[node] += (class_BK.T @ map_BCHW.clamp(min=0).double().mean((2, 3))).cpu()

            return see

        subject.look(x_BCHW, {end.node: watch(end.node) for end in subject.stages})
        counts += class_BK.sum(0).cpu()
    there = counts > 0
    return tuple(
        StageSelectivity(
            end.name,
            subject.title,
            tuple(selectivity_index(sums[end.node][there] / counts[there, None]).tolist()),
        )
        for end in subject.stages
    )
