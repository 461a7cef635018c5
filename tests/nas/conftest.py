"""What the tests of `nas` share: `toy_search` and `pool_tasks` can be imported beside them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from toy_search import Toy


@pytest.fixture(scope="session")
def toy() -> "Toy":
    """A space of 5**3 * 5**2 = 3,125 architectures, and what drives a search through it."""
    from toy_search import BAMS, GATES, Toy

    gates = {"at": "*/branch", "per": "stage", "modules": GATES}
    return Toy(Toy.make_space([gates, {"at": "*/end", "modules": BAMS}]))
