"""What a training says while it runs, on standard error: a line that moves on a terminal, and one line an epoch."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trials.retrain.record import RetrainEpoch


class ProgressLine:
    """Shows steps and epochs; silent where `shown` is false.

    Args:
        total_steps: of the whole training.
        num_epochs: of the whole training.
        shown: whether anything is said.
    """

    def __init__(self, total_steps: int, num_epochs: int, shown: bool) -> None:
        self._num_epochs, self._shown = num_epochs, shown
        self._console = Console(stderr=True, highlight=False)
        if not self._console.is_terminal:
            self._console = Console(stderr=True, highlight=False, width=10_000)
        columns = (
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
        )  # fmt: skip
        moving = shown and self._console.is_terminal and sys.stderr.isatty()
        self._progress = Progress(*columns, console=self._console, disable=not moving)
        self._line = self._progress.add_task("", total=total_steps, told="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, done: int, epoch: int, loss: float, images_per_s: float, waiting_share: float) -> None:
        """Show where the training is; `done` steps of all are behind it."""
        told = f"loss {loss:.4g}, {images_per_s:,.0f} images/s, {waiting_share:.0%} waiting for data"
        name = f"epoch {epoch}/{self._num_epochs}"
        self._progress.update(self._line, completed=done, description=name, told=told)

    def epoch(self, result: RetrainEpoch) -> None:
        """Say what an epoch has come to."""
        metrics = "".join(f", {name} {value:.4f}" for name, value in (result.metrics or {}).items())
        self.say(
            f"epoch {result.epoch}/{self._num_epochs}: training loss {result.train_loss:.4f}{metrics}, "
            f"lr {result.lr:.4g}, {result.images_per_s:,.0f} images/s, {result.waiting_share:.0%} waiting for data, "
            f"{result.wall_s:.0f} s"
        )

    def say(self, text: str) -> None:
        """Say a line."""
        if self._shown:
            self._console.print(text, markup=False)
