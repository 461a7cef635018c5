"""What the proposer needs of a sampler: draws, each from a seed of its own, in the light of what was asked before."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial

from nas.proposals.parameters import ByKnob, Draw
from search_spaces import SearchSpace

RUNG_VALUES = "rung values"
"""The user attribute of a shown trial that holds the objectives at each rung that it reached, by its epochs."""
BASELINE = "baseline"
"""The role of trials that no sampler drew."""


class Sampler(ABC):
    """Draws option indices; the proposer refuses what breaks a limit or was measured before.

    learns: whether draws depend on results; then a deterministic search asks for whole generations, and for the
        next after all results of the last.
    learns_from_baselines: whether `follow` wants the baselines that lie in the space among the trials.
    generation: proposals in one.
    """

    learns: bool = False
    learns_from_baselines: bool = False
    generation: int = 1

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._recorded = ByKnob(space)

    def follow(  # noqa: B027 (most need not)
        self, trials: Sequence[FrozenTrial], changed: Iterable[int] | None = None
    ) -> None:
        """Take note of all that was asked so far and its results.

        Args:
            trials: The ledger's proposals, refused ones too, in the order asked; among them, for a sampler that learns
                from them, baselines with their `indices`.
            changed: Which of them, by position, are new or differ from what was shown last; not given, any may.
        """

    @abstractmethod
    def draw(self, seed: int) -> Draw | None:
        """Draw the next proposal, or None: take the next of the space, each once."""

    def adopt(self, indices: Sequence[int]) -> Draw:
        """Return `indices`, chosen by someone else, as if drawn."""
        params, distributions = self._recorded.encode(indices)
        return Draw(tuple(indices), params, distributions)
