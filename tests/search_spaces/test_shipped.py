"""Files by name: shipped ones by bare names, a user's own by paths."""

from pathlib import Path

import pytest

from search_spaces import InputError
from search_spaces.shipped import ARCHITECTURES, SPACES, find_file, shipped_names


@pytest.mark.parametrize("shelf", [ARCHITECTURES, SPACES])
def test_what_is_shipped_is_found_by_its_bare_name(shelf: tuple[str, str]) -> None:
    names = shipped_names(shelf)
    assert names == sorted(names)
    assert all(find_file(name, "file", shelf).is_file() for name in names)


def test_a_path_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    assert find_file("other/space.yaml", "space", SPACES, beside=tmp_path) == tmp_path / "other/space.yaml"
    assert find_file("space.yml", "space", SPACES) == Path("space.yml")
    assert find_file("/a/space.yaml", "space", SPACES, beside=tmp_path) == Path("/a/space.yaml")


def test_a_name_that_is_not_shipped_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown space .*'resnet20-gate'; known: .* mean 'resnet20-gates'"):
        find_file("resnet20-gate", "space", SPACES)
