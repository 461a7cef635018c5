"""What trials will take in this study, told from the records of those that ended.

A trial's time is that of its epochs, by a law over the time per training image and epoch (validation included), and
what it takes besides: images, network, test and latency. Trials that ended early tell as much as those that did not.
"""

import statistics
from collections.abc import Sequence

import torch

from search_spaces import Architecture, measure_cost
from trials.compiling import EXPECTED_MACS_PER_S
from trials.cost_model import Features, Law, Prediction, Scale, features_of
from trials.record import TrialRecord
from trials.train_config import TrainConfig

ASSUMED_CPU_MACS_PER_S = 20e9
"""Of one core; ResNet-20 on 32x32 images trained at about 15e9 on a busy one."""

Trained = tuple[Architecture, TrialRecord]


class Forecast:
    """Predicts from records on one device in one precision: those of the last record that has an epoch.

    Args:
        trained: in the order of the study.
    """

    def __init__(self, trained: Sequence[Trained]) -> None:
        alike = _like_the_last([each for each in trained if each[1].history and each[1].status != "failed"])
        measured = [each for each in alike if each[1].memory_bytes]
        self._num_train = alike[-1][1].num_train if alike else 0
        self._overhead_s = statistics.median(_overhead_s(record) for _, record in alike) if alike else 0.0
        self._time = _law(alike, [_epoch_s(record) / record.num_train for _, record in alike], _macs)
        self._memory = _law(measured, [float(record.memory_bytes or 0) for _, record in measured], lambda _: 1.0)
        self._measured = [(features_of(each), record.memory_bytes or 0) for each, record in measured]
        self._times: dict[Architecture, Prediction | None] = {}

    def seconds(self, architecture: Architecture, epochs: float, *, started: bool = False) -> Prediction | None:
        """Return the time of so many epochs, or None if nothing is known yet.

        Args:
            architecture: what is trained.
            epochs: still to come; what a trial is expected to reach need not be a whole number.
            started: whether the trial is past its beginning, which takes time too.
        """
        if architecture not in self._times:
            self._times[architecture] = self._time.predict(features_of(architecture))
        one = self._times[architecture]
        if one is None:
            return None
        images, more = epochs * self._num_train, 0.0 if started else self._overhead_s
        low, high = (None if end is None else more + images * end for end in (one.low, one.high))
        return Prediction(more + images * one.value, low, high)

    def memory_bytes(self, architecture: Architecture) -> Prediction | None:
        """Return the peak memory of a trial, or None if none was measured yet."""
        return self._memory.predict(features_of(architecture))

    def proven_memory_bytes(self, architecture: Architecture) -> int | None:
        """Return what something took that has no less of anything that is counted; None without such a trial."""
        own = features_of(architecture)
        return min((memory for features, memory in self._measured if _covers(features, own)), default=None)


def least_memory_bytes(architecture: Architecture, train: TrainConfig, bytes_per_element: int) -> int:
    """Return what training an architecture certainly takes, wherever it runs.

    Parameters, gradients, momentum and average, and what convolutions and matrix products read of what is trained at
    a time.

    Args:
        architecture: what is trained.
        train: how.
        bytes_per_element: of the activations: 2 in bf16, else 4.
    """
    features = features_of(architecture)
    copies = 2 + (train.momentum > 0) + (train.ema is not None)
    at_a_time = -(-train.batch_size // train.accumulation)
    return 4 * copies * features.params + bytes_per_element * at_a_time * features.kept


def _like_the_last(trained: Sequence[Trained]) -> list[Trained]:
    wanted = {_circumstances(record) for _, record in trained[-1:]}
    return [each for each in trained if _circumstances(each[1]) in wanted]


def _circumstances(record: TrialRecord) -> tuple[str, str, str]:
    return record.device, record.precision, record.memory_method


def _covers(features: Features, other: Features) -> bool:
    return features.params >= other.params and features.written >= other.written and features.kept >= other.kept


def _law(trained: Sequence[Trained], values: Sequence[float], scale: Scale) -> Law:
    return Law([features_of(architecture) for architecture, _ in trained], values, scale)


def _macs(features: Features) -> float:
    return features.macs


def _epoch_s(record: TrialRecord) -> float:
    return statistics.fmean(epoch.wall_s for epoch in record.history)


def _overhead_s(record: TrialRecord) -> float:
    own = (epoch.wall_s for epoch in record.history if epoch.epoch >= record.first_epoch)
    return max(0.0, record.wall_s - sum(own))


def assumed_epoch_s(architecture: Architecture, device: torch.device, num_train: int, batch_size: int) -> float:
    """Return roughly what an epoch takes before anything was measured: enough to tell seconds from hours.

    Three times the MACs of a forward pass for an image, or what launching the operations of a step takes.
    """
    macs_per_s, step_s = (EXPECTED_MACS_PER_S, 0.005) if device.type == "cuda" else (ASSUMED_CPU_MACS_PER_S, 0.01)
    return max(3 * measure_cost(architecture).macs * num_train / macs_per_s, num_train / batch_size * step_s)
