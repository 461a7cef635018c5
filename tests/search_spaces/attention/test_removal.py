"""`remove`: nothing in the place of the host's own attention."""

import pytest
import torch

from search_spaces.attention import create, entry
from search_spaces.errors import InputError


def test_it_answers_what_it_is_given_and_has_no_parameters() -> None:
    module, x = create("remove", channels=4), torch.randn(2, 4, 3, 3)
    assert torch.equal(module(x), x)
    assert module.state_dict() == {}


def test_it_has_no_knobs_and_one_place() -> None:
    assert entry("remove").knobs == {}
    assert entry("remove").places == ("own*",)


def test_it_cannot_start_as_the_identity_since_nothing_is_placed() -> None:
    with pytest.raises(InputError, match="Remove cannot start as the identity"):
        create("remove", channels=4, init="identity")
