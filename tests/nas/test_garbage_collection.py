"""Doing without the search for cyclic garbage."""

import gc
from collections.abc import Iterator

import pytest

from nas.garbage_collection import no_collection


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    was_on = gc.isenabled()
    yield
    (gc.enable if was_on else gc.disable)()


@pytest.mark.parametrize("was_on", [True, False])
def test_it_is_as_before_after_the_block_also_after_an_error(was_on: bool) -> None:
    (gc.enable if was_on else gc.disable)()
    seen = []

    def work() -> None:
        with no_collection():
            seen.append(gc.isenabled())
            raise KeyError("work")

    with pytest.raises(KeyError, match="work"):
        work()
    assert seen == [False]
    assert gc.isenabled() == was_on
