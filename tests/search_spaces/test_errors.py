"""What a user is told about a mistake."""

from search_spaces.errors import InputError, nearest, unknown


def test_the_nearest_name_is_the_one_with_fewest_changes() -> None:
    assert nearest("cbm", ["se", "bam", "cbam"]) == "cbam"


def test_there_is_no_nearest_name_if_none_is_near() -> None:
    assert nearest("transformer", ["se", "eca"]) is None
    assert nearest("se", []) is None


def test_an_unknown_name_is_answered_with_those_known_and_the_nearest() -> None:
    error = unknown("module", "sse", ["eca", "se"])
    assert isinstance(error, InputError)
    assert str(error) == "unknown module 'sse'; known: eca, se; did you mean 'se'?"


def test_an_unknown_name_that_is_near_none_gets_no_guess() -> None:
    assert str(unknown("host", "zzz", ["resnet20"])) == "unknown host 'zzz'; known: resnet20"
