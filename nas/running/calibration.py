"""How many trials at a time: measured, by training the bare host for a moment in ever more processes at once.

The processes, the trainer and the images are those of the search. All processes start together and warm up; then each
round has more of them train, until a round brings less than `LEAST_GAIN`, memory would not suffice, or time is up.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import torch

from nas.running.local_pool import Crashed, Done, LocalPool, PoolError, Progress
from search_spaces import Architecture
from trials import TrialConfig, run_trial
from trials.record import EpochResult

LEAST_GAIN = 0.05
"""More processes must bring this much more images per second."""
MOST_SECONDS = 20.0
"""For all of it; a round that would not fit is left out."""
HEADROOM = 1.25
"""Of memory: architectures of the search take more than their bare host."""
CANDIDATES = (1, 2, 3, 4, 6, 8)
"""Processes for one GPU."""

_ROUND_S, _STEPS, _VALIDATION = 1.5, 4, 16
"""Of a round with all processes; steps of an epoch, and images to validate on, so that epochs are short."""


@dataclass(frozen=True)
class Calibration:
    """What was measured, and what follows from it."""

    workers: int
    """On each device."""
    images_per_s: Mapping[int, float]
    """All processes together, by their number."""
    why: str
    """Why no more than these were tried or taken."""

    @property
    def in_words(self) -> str:
        """What was measured, for the progress."""
        rates = ", ".join(f"{num}: {rate:,.0f}" for num, rate in self.images_per_s.items())
        return f"images/s by number of trials at a time: {rates or 'not measured'}; {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data; `from_dict` reads it back."""
        return asdict(self) | {"images_per_s": [[num, rate] for num, rate in self.images_per_s.items()]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Calibration":
        """Return the calibration that `to_dict` wrote."""
        return Calibration(data["workers"], dict(map(tuple, data["images_per_s"])), data["why"])


def choose_workers(
    candidates: Sequence[int],
    measure: Callable[[int], float],
    *,
    fits: Callable[[int], bool] = lambda _: True,
    out_of_time: Callable[[], bool] = lambda: False,
) -> Calibration:
    """Return the number of processes after which more bring little.

    Args:
        candidates: numbers of processes, rising; the first is taken if nothing speaks for more.
        measure: images per second of so many at once, all together; 0 if it cannot be measured.
        fits: whether memory suffices for so many.
        out_of_time: whether another round is too much.
    """
    rates: dict[int, float] = {}
    best = candidates[0]
    why = "no more were tried"
    for num in candidates:
        if not fits(num):
            why = f"the memory does not suffice for {num}"
            break
        if out_of_time():
            why = f"the time for measuring was up before {num}"
            break
        rate = measure(num)
        if rate <= 0:
            why = f"{num} at once failed, or took too long"
            break
        rates[num] = rate
        if num != best and rates[num] < (1 + LEAST_GAIN) * rates[best]:
            why = f"{num} bring less than {LEAST_GAIN:.0%} more than {best}"
            break
        best = num
    return Calibration(best, rates, why)


@dataclass(frozen=True)
class BriefTraining:
    """A training of some steps, as plain data that travels to a worker."""

    architecture: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Memory:
    """Of a GPU, in bytes, as one of its processes sees it."""

    peak: int
    free: int


def train_briefly(task: BriefTraining, report: Callable[[float], None]) -> Memory | None:
    """Train, reporting when each epoch ended on a clock that all processes share; on a GPU return its memory.

    Raises:
        RuntimeError: the training failed.
    """

    def on_epoch(_: EpochResult) -> None:
        report(time.monotonic())

    config = TrialConfig.model_validate(task.config)
    record = run_trial(Architecture.from_dict(task.architecture), config, 0, on_epoch=on_epoch)
    if record.status == "failed":
        raise RuntimeError(record.reason)
    if not config.device.startswith("cuda"):
        return None
    free, _ = torch.cuda.mem_get_info(torch.device(config.device))
    return Memory(record.memory_bytes or 0, free)


def common_rate(ends: Sequence[Sequence[float]], images_per_epoch: int) -> float:
    """Return the images per second of all processes while all of them trained.

    Args:
        ends: for each process, when each of its epochs ended; the first of them is the warm-up. At least 2.
        images_per_epoch: of each process.

    Returns:
        0 if they never trained at the same time.
    """
    start, end = max(each[0] for each in ends), min(each[-1] for each in ends)
    if end <= start:
        return 0.0
    # An epoch that is cut by the common time counts with the share that lies within it.
    shares = [max(0.0, min(b, end) - max(a, start)) / (b - a) for each in ends for a, b in pairwise(each) if b > a]
    return images_per_epoch * sum(shares) / (end - start)


class Processes:
    """Processes that train the same network on one device, as many of them as a round asks for.

    Use it in a `with` block.

    Args:
        host: a network without attention.
        config: of the search's trials, on the device.
        num_train: its training images.
        most: how many processes to start.
        most_s: seconds from now after which nothing is waited for.
    """

    def __init__(
        self, host: Architecture, config: TrialConfig, num_train: int, most: int, most_s: float = MOST_SECONDS
    ) -> None:
        self._host, self._config, self._most = host, config, most
        steps = max(1, min(_STEPS, num_train // config.train.batch_size))
        self._images = steps * config.train.batch_size
        self._pool = LocalPool[BriefTraining, Memory | None](most, "nas.running.calibration:train_briefly")
        self._deadline = time.monotonic() + most_s
        self._epochs = 2
        self._last_s = 0.0
        self._memory: list[Memory] = []
        self._num_ready = 0

    def __enter__(self) -> "Processes":
        self._pool.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def warm_up(self) -> bool:
        """Start all processes, let each train for a moment, and return whether they were in time.

        Some may fail, on a GPU for want of memory.
        """
        ends, self._memory = self._train(self._most, epochs=3)
        self._num_ready = len(ends)
        if ends:
            epoch_s = median(each[-1] - each[-2] for each in ends)
            self._epochs = min(200, max(4, round(_ROUND_S / max(epoch_s, 1e-4))))
        return not self._pool.busy

    def measure(self, num: int) -> float:
        """Return the images per second of so many at once; 0 if one of them failed."""
        start = time.monotonic()
        ends, _ = self._train(num, self._epochs)
        self._last_s = time.monotonic() - start
        return common_rate(ends, self._images) if len(ends) == num else 0.0

    def out_of_time(self) -> bool:
        """Return whether a round like the last one would end too late."""
        return time.monotonic() + self._last_s > self._deadline

    def fits(self, num: int) -> bool:
        """Return whether so many processes started, and on a GPU have room for larger networks than the host."""
        if num > self._num_ready:
            return False
        if not self._memory:
            return True
        peak, free = max(each.peak for each in self._memory), min(each.free for each in self._memory)
        return (HEADROOM - 1) * peak * num <= free + (self._num_ready - num) * peak

    def _train(self, num: int, epochs: int) -> tuple[list[list[float]], list[Memory]]:
        """Train in so many processes at once; return the ends of the epochs of each that did not fail, and memory."""
        task = BriefTraining(self._host.to_dict(), self._brief(epochs).model_dump())
        ends: dict[int, list[float]] = {key: [] for key in range(num)}
        memory = []
        for key in range(num):
            self._pool.submit(key, task)
        while self._pool.busy:
            left = self._deadline - time.monotonic()
            events = self._pool.wait(timeout=max(0.0, left))
            if not events and left <= 0:
                return [], []
            for event in events:
                if isinstance(event, Progress):
                    ends[event.key].append(event.payload)
                elif isinstance(event, Crashed):
                    del ends[event.key]
                elif isinstance(event, Done) and event.result is not None:
                    memory.append(event.result)
        return list(ends.values()), memory

    def _brief(self, epochs: int) -> TrialConfig:
        """Return the configuration of a training of so many short epochs; so slow that it cannot diverge."""
        config = self._config
        held_out = min(_VALIDATION, config.data.validation)
        data = config.data.model_copy(update={"training": self._images, "validation": held_out})
        slow = {"epochs": epochs, "lr": 1e-6, "warmup": 0.0, "compile": False}
        train = config.train.model_copy(update=slow)
        return config.model_copy(update={"data": data, "train": train, "latency": False, "test": False})


def calibrate(
    host: Architecture,
    config: TrialConfig,
    num_train: int,
    candidates: Sequence[int],
    default: int,
    *,
    most_s: float = MOST_SECONDS,
) -> Calibration:
    """Measure which of the candidates is best; the default if fewer than two of them can be measured."""
    try:
        with Processes(host, config, num_train, max(candidates), most_s) as processes:
            if not processes.warm_up():
                return Calibration(default, {}, f"{max(candidates)} processes were not ready after {most_s:.0f} s")
            found = choose_workers(
                candidates, processes.measure, fits=processes.fits, out_of_time=processes.out_of_time
            )
    except PoolError as error:
        return Calibration(default, {}, f"processes could not be started: {error}")
    return found if len(found.images_per_s) > 1 else replace(found, workers=default)
