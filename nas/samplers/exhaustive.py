"""Every architecture of a small space."""

from nas.proposals.parameters import Draw
from nas.samplers.sampler import Sampler
from search_spaces import SearchSpace
from search_spaces.errors import InputError

MOST_TO_EXHAUST = 10_000


class ExhaustiveSampler(Sampler):
    """Propose every architecture of a small space once, in an order shuffled by the search's seed.

    Raises:
        InputError: The space has more than 10,000 architectures.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        if space.size > MOST_TO_EXHAUST:
            raise InputError(
                f"sampler 'exhaustive' is for spaces of at most {MOST_TO_EXHAUST:,} architectures, and this "
                f"one has {space.size:,}; take 'nsga2' or 'random', or fewer choices"
            )

    def draw(self, seed: int) -> Draw | None:  # noqa: ARG002 (nothing is left to chance)
        return None
