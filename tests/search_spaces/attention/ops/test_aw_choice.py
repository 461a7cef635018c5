"""Trying forms once for each shape, on a CPU with forms that are fast, slow, wrong or broken."""

import time
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.attention.ops import aw_choice, aw_forms
from search_spaces.attention.ops.aw_choice import Problem, fastest
from search_spaces.attention.ops.aw_forms import FORMS, Geometry

CPU = torch.device("cpu")
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aw_choice, "_fastest", {})


def problem(trains: bool = True, dtype: torch.dtype = torch.float32) -> Problem:
    return Problem(CPU, dtype, (2, 3, 4, 4), True, (5, 3, 1, 1), (2, 5, 1, 1, 1), trains)


def right(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return functional.conv2d(x, weight) * scale[:, :, 0]


def slow(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    time.sleep(0.05)
    return right(x, weight, scale)


def wrong(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return right(x, weight, scale) * 1.1


def wrong_in_its_gradient(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return right(x, weight.detach() + 0 * weight, scale)


def broken(_x: Tensor, _weight: Tensor, _scale: Tensor) -> Tensor:
    raise RuntimeError("no kernel for this device")


def test_the_fastest_is_chosen() -> None:
    assert fastest(problem(), {"slow": slow, "right": right}, "slow") == "right"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (wrong, "other gives another result than slow"),
        (wrong_in_its_gradient, "other gives another result than slow"),
        (broken, "other does not run .no kernel for this device"),
    ],
)
def test_a_form_that_differs_or_fails_is_left_out_with_a_warning(form: Form, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        assert fastest(problem(), {"slow": slow, "other": form}, "slow") == "slow"


def test_without_gradients_only_the_output_counts() -> None:
    assert fastest(problem(trains=False), {"slow": slow, "other": wrong_in_its_gradient}, "slow") == "other"


def test_a_shape_is_tried_once_and_the_global_generator_is_left_alone() -> None:
    calls = []

    def counted(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        calls.append(1)
        return right(x, weight, scale)

    state = torch.get_rng_state()
    for _ in range(3):
        fastest(problem(), {"counted": counted}, "counted", Geometry())
    assert len(calls) == 2 + aw_choice.ROUNDS
    fastest(problem(), {"counted": counted}, "counted", Geometry(stride=(2, 2)))
    assert len(calls) == 2 * (2 + aw_choice.ROUNDS)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_forms_agree_within_the_tolerance(dtype: torch.dtype) -> None:
    shapes = Problem(CPU, dtype, (3, 6, 7, 5), True, (4, 6, 3, 3), (3, 4, 1, 3, 3), True)
    geometry = Geometry(padding=(1, 1))
    forms = {name: lambda *t, f=FORMS[name]: f(*t, geometry) for name in aw_forms.TRIED}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fastest(shapes, forms, "taps") in aw_forms.TRIED


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device_every_form_is_tried() -> None:
    x = torch.randn(8, 16, 8, 8, device="cuda").to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(16, 16, 3, 3, device="cuda", requires_grad=True)
    scale = torch.rand(8, 16, 1, 3, 3, device="cuda") + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = aw_forms.convolve(x, weight, scale, Geometry(padding=(1, 1)))
    expected = FORMS["taps"](x, weight, scale, Geometry(padding=(1, 1)))
    torch.testing.assert_close(output, expected, rtol=1e-2, atol=1e-2)
