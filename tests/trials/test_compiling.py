import pytest
import torch

from trials.compiling import EXPECTED_MACS_PER_S, WORTHWHILE_S, decide_compiling

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
LONG = int(WORTHWHILE_S * EXPECTED_MACS_PER_S / 3)
"""Multiply-accumulates of forward passes alone that make a training just long enough."""


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_what_is_asked_for_is_done(device: torch.device) -> None:
    assert str(decide_compiling(True, device, 1, 1)) == "compiled: `compile: true`"
    assert str(decide_compiling(False, device, LONG, 10)) == "not compiled: `compile: false`"


def test_auto_never_compiles_on_a_cpu() -> None:
    assert str(decide_compiling("auto", CPU, LONG, 1000)) == "not compiled: auto, it does not pay on a CPU"


def test_auto_compiles_on_cuda_what_trains_long_and_says_how_long() -> None:
    short, long = decide_compiling("auto", CUDA, LONG // 4, 2), decide_compiling("auto", CUDA, LONG // 4 + 1, 4)
    assert (short.is_on, long.is_on) == (False, True)
    assert "300 s of training expected" in str(short)
    assert "600 s of training expected" in str(long)
