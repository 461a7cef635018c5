"""A limit on the memory of a training, checked before it starts."""

from collections.abc import Sequence

from nas.experiment import Experiment
from search_spaces import Architecture
from search_spaces.errors import InputError
from trials import TrainConfig
from trials.devices import pick_device, pick_precision
from trials.forecast import Forecast, Trained, least_memory_bytes


class MemoryLimit:
    """Says which architectures need too much.

    Once the forecast has an interval, from nine trials on, its upper end counts, unless something larger was trained
    within the limit; before that only what training certainly takes. Without the exception the interval of a few
    unlike trials can be so wide that nothing is left.

    Args:
        limit_bytes: what a training may take.
        train: how architectures are trained.
        bytes_per_element: of their activations.
    """

    def __init__(self, limit_bytes: float, train: TrainConfig, bytes_per_element: int) -> None:
        self._limit, self._train, self._bytes_per_element = limit_bytes, train, bytes_per_element
        self._forecast = Forecast([])

    def learn(self, trained: Sequence[Trained]) -> None:
        """Forecast from what was trained here, and from nothing else."""
        self._forecast = Forecast(trained)

    def violation(self, architecture: Architecture) -> str | None:
        """Return in words why an architecture needs too much, or None."""
        least = least_memory_bytes(architecture, self._train, self._bytes_per_element)
        if least > self._limit:
            return f"memory limit: training takes at least {least:,} bytes, above {self._limit:,.0f}"
        expected = self._forecast.memory_bytes(architecture)
        proven = self._forecast.proven_memory_bytes(architecture)
        if expected is None or expected.high is None or expected.high <= self._limit:
            return None
        if proven is not None and proven <= self._limit:
            return None
        return (
            f"memory limit: training is expected to take {expected.low or 0:,.0f} to {expected.high:,.0f} bytes, "
            f"above {self._limit:,.0f}"
        )


def memory_limit_of(experiment: Experiment, device: str) -> MemoryLimit | None:
    """Return the limit of an experiment on a device, or None if it has none.

    Raises:
        InputError: no bare host is within it.
    """
    limit, train = experiment.config.search.memory_limit, experiment.config.train
    if limit is None:
        return None
    bytes_per_element = 2 if pick_precision(train.precision, pick_device(device)) == "bf16" else 4
    found = MemoryLimit(limit, train, bytes_per_element)
    broken = [found.violation(Architecture.of(host, {})) for host in experiment.space.hosts]
    if all(broken):
        raise InputError(
            f"search.memory_limit leaves nothing, not even a bare host: {broken[0]}; raise it, or make "
            "train.batch_size smaller, or train.accumulation larger"
        )
    return found
