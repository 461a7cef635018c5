"""Weights are read back as they were written; what is no weights of the network is refused in one message."""

from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces.errors import InputError
from trials.weights import load_weights, save_weights


def test_weights_and_what_they_say_of_themselves_are_read_back(tmp_path: Path) -> None:
    written, read = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(written, tmp_path / "w.safetensors", {"seed": "4"})
    assert load_weights(read, tmp_path / "w.safetensors") == {"seed": "4"}
    assert torch.equal(read.weight, written.weight)


def test_a_state_dict_is_read_without_unpickling(tmp_path: Path) -> None:
    written, read = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save(written.state_dict(), tmp_path / "w.pt")
    assert load_weights(read, tmp_path / "w.pt") == {}
    assert torch.equal(read.bias, written.bias)
    torch.save(written, tmp_path / "whole.pt")
    with pytest.raises(InputError, match=r"not a file of weights"):
        load_weights(read, tmp_path / "whole.pt")
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        load_weights(read, tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (nn.Linear(3, 2, bias=False), "1 are missing, such as bias"),
        (nn.Linear(4, 2), "1 have another shape, such as weight"),
        (nn.Sequential(nn.Linear(3, 2)), "2 have no place, such as 0.bias"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, other: nn.Module, message: str) -> None:
    save_weights(other, tmp_path / "w.safetensors", {"architecture_id": "abc"})
    with pytest.raises(InputError, match=r"another network \(they are of abc\)") as caught:
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
    assert message in str(caught.value)


def test_a_file_that_is_missing_or_damaged_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file of weights"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="or damaged"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
