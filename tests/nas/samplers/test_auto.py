"""Which sampler a search takes that names none."""

import pytest
from toy_search import Toy

from nas.samplers import AUTO, resolve_sampler


@pytest.mark.parametrize(
    ("num_objectives", "trials", "name"),
    [(2, 125, "exhaustive"), (4, 200, "exhaustive"), (1, 124, "nsga2"), (2, 124, "nsga2"), (3, 124, "nsga3")],
)
def test_auto_is_exhaustive_where_trials_suffice_else_by_objectives(
    toy: Toy, num_objectives: int, trials: int, name: str
) -> None:
    space = toy.tiny_space()
    assert space.size == 5**3
    assert resolve_sampler(AUTO, space, num_objectives, trials) == name


def test_large_spaces_are_never_exhausted(toy: Toy) -> None:
    large = toy.make_space([{"at": "*/branch", "modules": {"none": {}, "eca": {"kernel_size": [3, 5]}}}])
    assert large.size == 3**9 > 10_000
    assert resolve_sampler(AUTO, large, 2, 20_000) == "nsga2"


def test_a_name_stands_for_itself(toy: Toy) -> None:
    assert resolve_sampler("tpe", toy.tiny_space(), 2, 1000) == "tpe"
