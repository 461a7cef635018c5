import pytest
import torch

from search_spaces import InputError
from trials.devices import describe_device, pick_device, pick_precision, seeded
from trials.memory import PeakMemory

CPU = torch.device("cpu")


def test_auto_is_cuda_where_there_is_any() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"device 'cuda:99' is not available; allowed here: auto, cpu"):
        pick_device("cuda:99")


def test_the_precision_asked_for_is_taken() -> None:
    assert pick_precision("fp32", CPU) == "fp32"
    assert pick_precision("bf16", CPU) == "bf16"


def test_a_cpu_is_described_with_its_threads() -> None:
    assert f"{torch.get_num_threads()} thread" in describe_device(CPU)


def test_random_numbers_repeat_inside_and_are_untouched_outside() -> None:
    before = torch.get_rng_state()
    with seeded(3, CPU):
        first = torch.rand(4)
    with seeded(3, CPU):
        again = torch.rand(4)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_peak_memory_counts_what_was_held_for_a_moment_and_forgets_it_at_the_next_start() -> None:
    memory = PeakMemory(CPU)
    start = memory.read()
    if start is None:
        pytest.skip(memory.method)
    torch.ones(64 * 2**20, dtype=torch.uint8)  # freed at once
    held = memory.read()
    after = PeakMemory(CPU).read()
    assert held is not None
    assert after is not None
    assert held - start > 60 * 2**20
    assert held - after > 60 * 2**20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_peak_memory_on_cuda_is_what_torch_allocated() -> None:
    memory = PeakMemory(pick_device("cuda"))
    start = memory.read()
    torch.ones(64 * 2**20, dtype=torch.uint8, device="cuda")
    held = memory.read()
    assert start is not None
    assert held is not None
    assert held - start >= 64 * 2**20
