"""Limits on the cost of an architecture."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from search_spaces.config import Config
from search_spaces.cost import Cost
from search_spaces.errors import InputError

LIMITED = ("params", "macs", "sites")
"""What can be limited."""


def _is_limit(value: Any) -> Any:
    if isinstance(value, str):
        is_limit = re.fullmatch(r"[0-9]*\.?[0-9]+x host", value) is not None
    else:
        is_limit = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_limit:
        raise InputError(f"a limit is a number, or a multiple such as `1.03x host`, got {value!r}")
    if not isinstance(value, str) and value < 0:
        raise InputError(f"a limit cannot be negative, got {value}")
    return value


Limit = Annotated[int | float | str, BeforeValidator(_is_limit)]


class LimitsConfig(Config):
    """Upper limits, each of which may be missing."""

    params: Limit | None = None
    """Trainable parameters: a number, or a multiple of the bare host such as `1.03x host`."""
    macs: Limit | None = None
    """Multiply-accumulates of convolutions and matrix products at batch 1: a number or `1.1x host`."""
    sites: int | None = Field(None, ge=0)
    """Sites with a module."""


@dataclass(frozen=True)
class Bounds:
    """Limits as numbers; None where there is no limit."""

    params: int | None = None
    macs: int | None = None
    sites: int | None = None

    @staticmethod
    def of(config: LimitsConfig, host: Callable[[], Cost]) -> "Bounds":
        """Return the limits with multiples of the host worked out; `host` is asked for its cost if there are any."""
        params = _number(config.params, lambda: host().params)
        return Bounds(params, _number(config.macs, lambda: host().macs), config.sites)

    @property
    def any(self) -> bool:
        return any(getattr(self, name) is not None for name in LIMITED)

    def __str__(self) -> str:
        limits = ((name, getattr(self, name)) for name in LIMITED)
        return ", ".join(f"{name} <= {limit:,}" for name, limit in limits if limit is not None) or "no limits"


@dataclass(frozen=True)
class Band:
    """A range of costs, its ends included."""

    least: Cost
    most: Cost

    @staticmethod
    def around(cost: Cost, share: float) -> "Band":
        """Return what costs at most that share more or less, in parameters and in MACs."""
        reach = Cost(math.floor(share * cost.params), math.floor(share * cost.macs))
        return Band(cost - reach, cost + reach)

    def __contains__(self, cost: Cost) -> bool:
        return self.least.params <= cost.params <= self.most.params and self.least.macs <= cost.macs <= self.most.macs


def _number(limit: int | float | str | None, host: Callable[[], int]) -> int | None:
    if isinstance(limit, str):
        # Exactly: as floats, 1.15 times 100,000 is less than 115,000.
        return int(Fraction(limit.split("x")[0]) * host())
    return None if limit is None else int(limit)
