"""The steps over whole maps: each is its plain expression, in value, gradient and layout."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.attention.ops import fused

# What it computes, the plain expression, and the shapes of its inputs after x.
STEPS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[str, ...]]] = {
    "average": (fused.average, lambda x: x.mean((2, 3)), ()),
    "average_and_maximum": (
        lambda x: torch.stack(fused.average_and_maximum(x)),
        lambda x: torch.stack((x.mean((2, 3)), x.amax((2, 3)))),
        (),
    ),
    "maximum_and_average_of_channels": (
        fused.maximum_and_average_of_channels,
        lambda x: torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1),
        (),
    ),
    "scale_positions": (fused.scale_positions, lambda x, w: x * w, ("B1HW",)),
    "add_to_channels": (fused.add_to_channels, lambda x, t: x + t[:, :, None, None], ("BC",)),
    "join": (
        lambda x, s, t: x * fused.join(torch.add, s, t, x),
        lambda x, s, t: x * (s[:, :, None, None] + t),
        ("BC", "B1HW"),
    ),
    "add_share": (fused.add_share, lambda x, w: x + w * x, ("BCHW",)),
    "select": (
        lambda x, y, w: fused.select(w, x, y),
        lambda x, y, w: w * x + (1 - w) * y,
        ("BCHW", "BCHW"),
    ),
    "select by channel": (
        lambda x, y, w: fused.select(w, x, y),
        lambda x, y, w: w * x + (1 - w) * y,
        ("BCHW", "BC11"),
    ),
}

every_step = pytest.mark.parametrize("step", STEPS)
every_layout = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
SHAPES = [(2, 3, 5, 7), (2, 32, 4, 4), (1, 1, 3, 3), (3, 4, 1, 1), (1, 1, 1, 1)]


def draw(shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Return numbers that bfloat16 holds exactly, without two equal ones."""
    count = torch.Size(shape).numel()
    assert count <= 2**11
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    sign, step = torch.where(order % 2 == 0, 1.0, -1.0), order // 2
    drawn = (sign * (1 + (step % 128) / 128) * 2.0 ** (step // 128 - 3)).reshape(shape).to(dtype)
    return (drawn.to(memory_format=layout) if drawn.dim() == 4 else drawn).requires_grad_()


def draw_all(step: str, shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype) -> list[Tensor]:
    sizes = {"1": 1, **dict(zip("BCHW", shape, strict=True))}
    shapes = [shape, *(tuple(sizes[axis] for axis in axes) for axes in STEPS[step][2])]
    return [draw(each, layout, dtype, seed) for seed, each in enumerate(shapes)]


@every_step
@every_layout
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_its_plain_expression(step, layout, shape) -> None:
    function, plain, _ = STEPS[step]
    inputs = draw_all(step, shape, layout, torch.float64)
    value, expected = function(*inputs), plain(*inputs)
    torch.testing.assert_close(value, expected)
    weights = torch.randn(value.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    gradients = torch.autograd.grad((value * weights).sum(), inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights).sum(), inputs))


@every_step
@every_layout
def test_the_gradients_of_a_step_and_their_gradients_are_right(step, layout) -> None:
    inputs = draw_all(step, (2, 3, 2, 3), layout, torch.float64)
    assert torch.autograd.gradcheck(STEPS[step][0], inputs)
    assert torch.autograd.gradgradcheck(STEPS[step][0], inputs)


@every_step
@every_layout
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 32, 4, 4), (3, 4, 7, 7)])
def test_in_bfloat16_a_step_is_as_exact_as_its_plain_expression(step, layout, shape) -> None:
    function, plain, _ = STEPS[step]
    inputs = draw_all(step, shape, layout, torch.bfloat16)
    exact = [each.detach().double().requires_grad_() for each in inputs]

    def answer(expression: Callable[..., Any], given: list[Tensor]) -> list[Tensor]:
        value = expression(*given)
        return [value, *torch.autograd.grad(value.double().square().sum(), given)]

    wanted = answer(plain, exact)
    for ours, plains, right in zip(answer(function, inputs), answer(plain, inputs), wanted, strict=True):
        error, plain_error = ((each.double() - right).norm() for each in (ours, plains))
        # One rounding of the result is always allowed.
        assert error <= max(1.05 * plain_error, 2**-9 * right.norm())


@every_layout
@every_dtype
@pytest.mark.parametrize("channels", [3, 32])
@every_step
def test_maps_and_their_gradients_keep_the_layout(step, layout, dtype, channels) -> None:
    inputs = draw_all(step, (2, channels, 4, 5), layout, dtype)
    value = STEPS[step][0](*inputs)
    if value.shape == inputs[0].shape:
        assert value.is_contiguous(memory_format=layout)
    (gradient,) = torch.autograd.grad(value.square().sum(), inputs[:1])
    assert gradient.is_contiguous(memory_format=layout)


@every_layout
def test_of_equal_maxima_the_first_gets_the_gradient(layout) -> None:
    x = torch.zeros(1, 2, 1, 3)
    x[0, 1, 0, 1:] = 5.0
    x = x.to(memory_format=layout).requires_grad_()
    (gradient,) = torch.autograd.grad(fused.average_and_maximum(x)[1].sum(), x)
    assert gradient.tolist() == [[[[1, 0, 0]], [[0, 1, 0]]]]
    (gradient,) = torch.autograd.grad(fused.maximum_and_average_of_channels(x)[:, 0].sum(), x)
    assert gradient.tolist() == [[[[1, 0, 0]], [[0, 1, 1]]]]


class Step(torch.nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *inputs: Tensor) -> Any:
        return STEPS[self.name][0](*inputs)


def compiled(step: str, _: tuple[Tensor, ...]) -> Any:
    torch._dynamo.reset()  # or it counts the other tests' steps as recompilations of this one
    return torch.compile(STEPS[step][0], fullgraph=True, backend="aot_eager")


RECORDERS: dict[str, Callable[[str, tuple[Tensor, ...]], Any]] = {
    "compiled": compiled,
    "exported": lambda step, inputs: torch.export.export(Step(step), inputs).module(),
    "traced": lambda step, inputs: torch.jit.trace(STEPS[step][0], inputs),
    "traced by torch.fx": lambda step, _: torch.fx.symbolic_trace(STEPS[step][0]),
}


@every_step
@every_layout
@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.filterwarnings("ignore:.torch.jit.trace")
def test_a_step_is_recorded_as_its_plain_expression(step, layout, recorder) -> None:
    inputs = tuple(draw_all(step, (2, 3, 4, 5), layout, torch.float32))
    recorded = RECORDERS[recorder](step, inputs)
    value, expected = recorded(*inputs), STEPS[step][0](*inputs)
    torch.testing.assert_close(value, expected)
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(value.square().sum(), inputs), wanted)
    # Neither a function with a backward pass of its own, which no file can hold, nor the kernels it calls.
    graph = str(getattr(recorded, "graph", ""))
    assert "PythonOp" not in graph
    assert "pool2d" not in graph
