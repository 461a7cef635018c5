"""The learning rate of each step: warm-up, then cosine, a line, steps, a polynomial, or nothing.

Cosine: Loshchilov and Hutter, arXiv:1608.03983, without restarts. Warm-up: Goyal et al., arXiv:1706.02677, section 2.2.
Polynomial: Chen et al., arXiv:1606.00915, section 4.1.
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from search_spaces import InputError
from search_spaces.config import Config


class ScheduleConfig(Config):
    """How the learning rate changes over a training; all lengths in epochs, or in iterations if its length is so."""

    kind: Literal["cosine", "linear", "step", "poly", "constant"] = "cosine"
    """After the warm-up: `cosine`, `linear` and `poly` fall to `end`, `step` is multiplied by `gamma` at each of the
    `milestones`."""
    warmup: float = Field(0.0, ge=0)
    """Over which the learning rate rises in a line, a step at a time, from `warmup_start`."""
    warmup_start: float = Field(0.0, ge=0, le=1)
    """Share of the learning rate that the warm-up starts at."""
    warmup_iterations: int | None = Field(None, ge=0)
    """In place of `warmup`: its length in iterations, whatever unit the others are in."""
    milestones: list[float] = Field(default_factory=list)
    """`step`: where the learning rate falls, counted from the start of the training, the warm-up included."""
    gamma: float = Field(0.1, gt=0, lt=1)
    """`step`: what the learning rate is multiplied by at each milestone."""
    power: float = Field(0.9, gt=0)
    """`poly`: the power of what is left of the training."""
    end: float = Field(0.0, ge=0, lt=1)
    """Share of the learning rate that `cosine`, `linear` and `poly` end at."""

    @model_validator(mode="after")
    def _fits(self) -> "ScheduleConfig":
        if (self.kind == "step") != bool(self.milestones):
            raise InputError("`milestones` are for `kind: step`, which needs at least one")
        if self.milestones != sorted(set(self.milestones)):
            raise InputError(f"`milestones` must ascend, got {self.milestones}")
        if self.warmup and self.warmup_iterations is not None:
            raise InputError("give one of `warmup` and `warmup_iterations`")
        return self


def warmup_steps(steps_per_unit: float, schedule: ScheduleConfig) -> float:
    """Return the length of the warm-up in steps; it must be less than the training's."""
    given = schedule.warmup_iterations
    return schedule.warmup * steps_per_unit if given is None else float(given)


def lr_share(step: int, total_steps: int, steps_per_unit: float, schedule: ScheduleConfig) -> float:
    """Return the share of the highest learning rate for a step, counted from 0.

    With w the steps of the warm-up and a its start: a + (1 - a) * (step + 1) / w while step + 1 < w. Then, with
    p = (step - w) / (total_steps - w), or 0 before: e + (1 - e) * (1 + cos(pi * p)) / 2 (`cosine`),
    e + (1 - e) * (1 - p) (`linear`), e + (1 - e) * (1 - p)^power (`poly`), gamma^(milestones passed) (`step`).

    Args:
        step: from 0 to total_steps - 1.
        total_steps: of the whole training.
        steps_per_unit: of an epoch, or 1 if the lengths are in iterations.
        schedule: what changes.
    """
    warmup = warmup_steps(steps_per_unit, schedule)
    if step + 1 < warmup:
        return schedule.warmup_start + (1 - schedule.warmup_start) * (step + 1) / warmup
    if schedule.kind == "step":
        # A milestone in mid-epoch counts from the first whole step after it.
        passed = sum(step >= milestone * steps_per_unit for milestone in schedule.milestones)
        return math.pow(schedule.gamma, passed)
    progress = max(0.0, step - warmup) / (total_steps - warmup)
    falling = {
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
        "linear": 1 - progress,
        "poly": math.pow(1 - progress, schedule.power),
        "constant": 1.0,
    }
    return schedule.end + (1 - schedule.end) * falling[schedule.kind]
