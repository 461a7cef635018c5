"""The Triton kernels of the AW-convolution against the definition: interpreted on a CPU, compiled, and run on a GPU.

Triton is told to interpret before it is first imported, so that this runs in a process of its own: this file as a
script.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.attention.ops.aw_device import available
from search_spaces.attention.ops.aw_triton import tap_scaled_conv

ROOT = Path(__file__).parents[4]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not available(), reason="needs a CUDA device of compute capability 8.0, and Triton")


class Case(NamedTuple):
    """Shapes and steps."""

    images: int
    channels: tuple[int, int]
    size: tuple[int, int]
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    dtype: str = "float32"

    def inputs(self, device: str = "cpu") -> list[Tensor]:
        """Return seeded x, weight and scale that want gradients."""
        generator = torch.Generator().manual_seed(0)
        (c1, c2), dtype = self.channels, getattr(torch, self.dtype)
        x = torch.randn(self.images, c1, *self.size, generator=generator).to(dtype)
        weight = torch.randn(c2, c1, *self.kernel, generator=generator).to(dtype)
        scale = 1 + torch.rand(self.images, c2, *self.kernel, generator=generator)
        return [t.to(device).requires_grad_() for t in (x, weight, scale)]

    @property
    def steps(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Return stride, padding and dilation."""
        return self.stride, self.padding, self.dilation

    @property
    def tolerance(self) -> float:
        """Return what rounding may do, relative to the largest value.

        In float32 every addition of a sum may round. In 16 bits so may the factor, its product with the gradient,
        and the result (a sum's rounded terms largely cancel out).
        """
        if self.dtype == "float32":
            longest = max(self.channels) * self.kernel[0] * self.kernel[1] + self.images * self.size[0] * self.size[1]
            return longest * torch.finfo(torch.float32).eps / 2
        return 3 * torch.finfo(getattr(torch, self.dtype)).eps / 2


# The interpreter's tiles are of 32 positions (of output channels in the gradient of the weight) by 16 channels.
CASES = {
    "several images in a tile": Case(5, (5, 7), (3, 4)),
    "several tiles and channels that fill none": Case(2, (17, 20), (5, 5), (2, 2)),
    "one image in a tile": Case(2, (4, 18), (8, 8)),
    "a stride on odd sizes": Case(2, (6, 5), (9, 7), stride=(2, 2)),
    "a stride with one gradient per image": Case(2, (3, 5), (13, 15), stride=(2, 2), padding=(0, 1)),
    "dilation": Case(2, (4, 5), (7, 6), padding=(2, 2), dilation=(2, 2)),
    "all different along the two axes": Case(2, (4, 5), (9, 11), (3, 2), (2, 3), (1, 2), (2, 3)),
    "no kernel": Case(3, (5, 4), (3, 3), (1, 1), padding=(0, 0)),
    "a kernel larger than the map": Case(1, (3, 4), (2, 1)),
    "half precision": Case(3, (6, 5), (4, 4), (2, 2), dtype="float16"),
    "half precision, one gradient per image": Case(2, (6, 5), (8, 8), (2, 2), dtype="float16"),
}


def definition(x: Tensor, weight: Tensor, scale: Tensor, *steps: tuple[int, int]) -> Tensor:
    """O[l] = conv(I[l], K S[l]), image by image."""
    return torch.cat(
        [functional.conv2d(image[None], weight * s[:, None], None, *steps) for image, s in zip(x, scale, strict=True)]
    )


def errors(case: Case, device: str = "cpu") -> dict[str, float]:
    """Return how far O and the gradients are from the definition in float64, relative to the largest value."""
    given = case.inputs(device)
    exact = [t.detach().double().requires_grad_() for t in given]
    ours, expected = tap_scaled_conv(*given, *case.steps), definition(*exact, *case.steps)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert ours.dtype == given[0].dtype
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(device, given[0].dtype)
    ours.backward(grad)
    expected.backward(grad.double())
    pairs = [(ours.detach(), expected.detach()), *((a.grad, b.grad) for a, b in zip(given, exact, strict=True))]
    names = ("output", "x", "weight", "scale")
    return {
        name: float((a.double() - b).abs().max() / b.abs().max()) for name, (a, b) in zip(names, pairs, strict=True)
    }


def flops(function: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        function().sum().backward()
    return counter.get_total_flops()


def interpret() -> dict[str, Any]:
    """Return what the tests below look at; to be called where Triton interprets kernels."""
    case = Case(2, (3, 4), (4, 5))
    x, weight, scale = case.inputs()
    operator = torch.ops.search_spaces.tap_scaled_conv.default
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, (x, weight, scale, [1, 1, 1, 1, 1, 1]), test_utils=checks)
    compiled = torch.compile(tap_scaled_conv, fullgraph=True, backend="aot_eager")
    once, again = (torch.autograd.grad(f(x, weight, scale, *case.steps).sum(), (x, weight, scale))
                   for f in (compiled, tap_scaled_conv))  # fmt: skip
    empty = tap_scaled_conv(x[:0], weight, scale[:0], *case.steps)
    with torch.autocast("cpu", torch.float16):
        half = tap_scaled_conv(x, weight, scale, *case.steps)
    frozen = torch.autograd.grad(tap_scaled_conv(x, weight.detach(), scale.detach(), *case.steps).sum(), x)
    return {
        "errors": {name: errors(case) for name, case in CASES.items()},
        "compiled equals eager": all(torch.equal(a, b) for a, b in zip(once, again, strict=True)),
        "empty": list(empty.shape),
        "autocast": str(half.dtype),
        "x alone": torch.equal(frozen[0], again[0]),
        "flops": flops(lambda: tap_scaled_conv(x, weight, scale, *case.steps)),
        "flops of a convolution": flops(lambda: functional.conv2d(x, weight, None, *case.steps)),
    }


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    if "only 0-dimensional arrays can be converted" in run.stderr:
        pytest.skip("this Triton's interpreter does not work with this NumPy")
    assert run.returncode == 0, run.stderr
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_interpreted_kernels_give_the_definition_and_its_gradients(name: str, interpreted: dict[str, Any]) -> None:
    assert max(interpreted["errors"][name].values()) <= CASES[name].tolerance, interpreted["errors"][name]


@needs_triton
def test_the_operators_compile_into_one_graph_with_the_same_gradients(interpreted: dict[str, Any]) -> None:
    assert interpreted["compiled equals eager"]


@needs_triton
def test_the_gradient_of_the_input_needs_no_other(interpreted: dict[str, Any]) -> None:
    assert interpreted["x alone"]


@needs_triton
def test_an_empty_batch_gives_an_empty_output(interpreted: dict[str, Any]) -> None:
    assert interpreted["empty"] == [0, 4, 4, 5]


@needs_triton
def test_autocast_makes_input_and_weight_16_bit(interpreted: dict[str, Any]) -> None:
    assert interpreted["autocast"] == "torch.float16"


@needs_triton
def test_flops_are_counted_as_those_of_a_convolution(interpreted: dict[str, Any]) -> None:
    assert interpreted["flops"] == interpreted["flops of a convolution"] > 0


def compile_for(capability: int, dtype: str) -> list[str]:
    """Compile the kernels for a device that is not there; return the names of those that came out as machine code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    class Absent:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", capability, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, _device: int) -> int:
            return 0

    def measure(launch: Any, **_: Any) -> list[float]:
        launch()
        return [1.0, 1.0, 1.0]

    compiled = set()
    run = JITFunction.run

    def compile_only(self: Any, *args: Any, **kwargs: Any) -> Any:
        kernel = run(self, *args, **kwargs | {"warmup": True})
        if kernel.asm["cubin"]:
            compiled.add(self.__name__)
        return kernel

    driver.set_active(Absent())
    triton.testing.do_bench = measure
    JITFunction.run = compile_only
    for case in (Case(2, (40, 24), (4, 4), dtype=dtype), Case(2, (40, 24), (16, 16), stride=(2, 2), dtype=dtype)):
        tap_scaled_conv(*case.inputs(), *case.steps).sum().backward()
    return sorted(compiled)


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize(("capability", "dtype"), [(80, "float32"), (90, "bfloat16")])
def test_all_kernels_compile_for_a_device(capability: int, dtype: str, tmp_path: Path) -> None:
    # A cache of its own: the times that it would keep are made up.
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, str(capability), dtype]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == [
        "flat_scale_grad",
        "flat_weight_grad",
        "forward",
        "image_grads",
        "input_grad",
    ]


def test_without_triton_the_operators_can_be_imported_and_are_not_available() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "from search_spaces.attention.ops import aw_device, aw_triton\n"
        "assert not aw_device.available()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("shapes", "dtype", "message"),
    [
        (((2, 3, 4, 4), (5, 3, 3, 3), (2, 5, 3, 3)), torch.float64, "one dtype"),
        (((2, 3, 4, 4), (5, 2, 3, 3), (2, 5, 3, 3)), torch.float32, r"scale \(N, C2, h, w\)"),
        (((2, 3, 4, 4), (5, 3, 3, 3), (1, 5, 3, 3)), torch.float32, r"scale \(N, C2, h, w\)"),
        (((2, 3, 1, 4), (5, 3, 3, 3), (2, 5, 3, 3)), torch.float32, "no position of the output"),
        (((2**20, 64, 8, 8), (64, 64, 3, 3), (2**20, 64, 3, 3)), torch.float32, "take a smaller batch"),
    ],
)
def test_what_the_kernels_cannot_take_is_refused(
    shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype, message: str
) -> None:
    x, weight, scale = (torch.empty(shape, dtype=dtype, device="meta") for shape in shapes)
    with pytest.raises(ValueError, match=message):
        tap_scaled_conv(x, weight, scale, (1, 1), (0, 0), (1, 1))


LARGE_CASES = [
    Case(64, (512, 512), (4, 4)),
    Case(32, (256, 256), (8, 8)),
    Case(16, (64, 64), (32, 32)),
    Case(16, (64, 128), (14, 14), stride=(2, 2)),
    Case(8, (20, 36), (15, 13), stride=(2, 2), padding=(2, 2), dilation=(2, 2)),
    Case(1, (16, 16), (32, 32)),
]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("case", [*CASES.values(), *LARGE_CASES])
def test_compiled_kernels_give_the_definition_and_its_gradients(case: Case, dtype: str) -> None:
    case = case._replace(dtype=dtype)
    found = errors(case, "cuda")
    assert max(found.values()) <= case.tolerance, found


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("size", [(4, 4), (16, 16)])
def test_a_second_run_on_a_gpu_gives_the_same_bits(size: tuple[int, int]) -> None:
    case = Case(64, (64, 64), size, dtype="bfloat16")
    inputs = case.inputs("cuda")
    runs = []
    for _ in range(2):
        output = tap_scaled_conv(*inputs, *case.steps)
        runs.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.gpu
@needs_gpu
def test_it_compiles_into_one_graph_on_a_gpu() -> None:
    case = Case(8, (32, 32), (8, 8), dtype="bfloat16")
    inputs = case.inputs("cuda")
    compiled = torch.compile(tap_scaled_conv, fullgraph=True)
    assert torch.equal(compiled(*inputs, *case.steps), tap_scaled_conv(*inputs, *case.steps))


if __name__ == "__main__":
    print(json.dumps(compile_for(int(sys.argv[1]), sys.argv[2]) if sys.argv[1:] else interpret()))
