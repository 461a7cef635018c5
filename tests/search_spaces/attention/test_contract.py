"""What every attention module keeps, whatever it computes."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.attention import entry, names
from search_spaces.errors import InputError

# A removal puts no module anywhere (see test_removal.py).
NAMES = [name for name in names() if "/" not in name and entry(name).kind != "removal"]
every_module = pytest.mark.parametrize("name", NAMES)
SIZES = [(1, 1), (5, 7), (8, 8)]
LAST = torch.channels_last


def each(inputs: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return the inputs with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return type(inputs)(each(given, change) for given in inputs)


def tensors(inputs: Any) -> list[Tensor]:
    found: list[Tensor] = []
    each(inputs, found.append)
    return found


def call(module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    """Return the map that a module answers with, without the state of a recurrent one."""
    output = module(*inputs)
    return output[0] if isinstance(output, tuple) else output


def bare(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    """Return what the place gives without the module."""
    if entry(name).kind == "weights":
        return functional.conv2d(inputs[0], module.weight, module.bias, padding=1)
    return inputs[0] + inputs[1] if entry(name).kind == "merge" else inputs[0]


def test_the_modules_of_the_papers_and_those_they_compare_with_are_registered() -> None:
    assert set(names()) >= {
        "ba", "aw", "ms_cam", "aff", "iaff", "ms_gau", "ms_se", "ms_sa", "concat", "bam", "cat",
        "se", "eca", "cbam", "ge", "sk", "fca", "gc", "coord", "simam", "dia", "aa",
    }  # fmt: skip


@every_module
@pytest.mark.parametrize("size", SIZES)
def test_the_output_has_the_shape_and_type_of_the_input(name, size, make, feed) -> None:
    inputs = feed(name, size)
    for module in (make(name, size), make(name, size).eval()):
        output = call(module, inputs)
        assert output.shape == inputs[0].shape
        assert output.dtype == inputs[0].dtype
        assert output.isfinite().all()


@every_module
def test_one_image_is_enough_in_eval_mode_and_gives_what_it_gives_in_a_batch(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)).eval(), feed(name)
    first = each(inputs, lambda t: t[:1])
    torch.testing.assert_close(call(module, first), call(module, inputs)[:1], rtol=1e-4, atol=1e-4)


@every_module
def test_the_gradient_reaches_every_parameter_and_every_input(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)), feed(name)
    for tensor in tensors(inputs):
        tensor.requires_grad_()
    output = call(module, inputs)
    (output * torch.randn_like(output)).sum().backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        # A bias right before a batch norm has gradient 0; weights must feel the loss.
        assert parameter.dim() == 1 or parameter.grad.abs().max() > 1e-7, parameter_name
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in tensors(inputs))


@every_module
@pytest.mark.parametrize("training", [True, False])
def test_its_gradients_are_those_of_finite_differences(name, training, make, feed, stir) -> None:
    module = stir(make(name)).double().train(training)
    inputs = each(feed(name, batch=3), lambda t: t.double().requires_grad_())
    leaves = [*tensors(inputs), *module.parameters()]

    def output(*_: Tensor) -> Tensor:
        return call(module, inputs)

    # Running statistics move with every call in training, and the output does not depend on them.
    assert torch.autograd.gradcheck(output, leaves, fast_mode=True)


@every_module
def test_the_same_bits_come_out_twice(name, make, feed, stir) -> None:
    def run() -> list[Tensor]:
        module, inputs = stir(make(name)), each(feed(name), lambda t: t.requires_grad_())
        output = call(module, inputs)
        output.square().sum().backward()
        return [output, *(p.grad for p in module.parameters()), *(t.grad for t in tensors(inputs))]

    torch.use_deterministic_algorithms(True)
    try:
        assert all(torch.equal(first, second) for first, second in zip(run(), run(), strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@every_module
def test_the_inputs_are_left_as_they_are(name, make, feed) -> None:
    inputs = feed(name)
    before = copy.deepcopy(inputs)
    call(make(name), inputs)
    for tensor, old in zip(tensors(inputs), tensors(before), strict=True):
        assert torch.equal(tensor, old)


@every_module
def test_the_output_may_be_changed_in_place(name, make, feed) -> None:
    """As a host's in-place activation does."""
    output = call(make(name), each(feed(name), lambda t: t.requires_grad_()))
    functional.relu_(output)
    output.sum().backward()


@every_module
@pytest.mark.parametrize("training", [True, False])
def test_init_identity_is_the_identity_of_its_place(name, training, make, feed) -> None:
    module, inputs = make(name, init="identity").train(training), feed(name)
    output, expected = call(module, inputs), bare(name, module, inputs)
    if entry(name).kind == "weights":
        torch.testing.assert_close(output, expected)
    else:
        assert torch.equal(output, expected)
    assert entry(name).identity


@every_module
def test_init_identity_can_leave_the_identity_and_reach_the_module(name, make, feed, stir) -> None:
    module, paper, inputs = stir(make(name, init="identity")), make(name), feed(name)
    (alpha,) = [p for key, p in module.named_parameters() if key.rpartition(".")[2] == "alpha"]
    alpha.data.fill_(1)
    given = {key.removeprefix("module."): value for key, value in module.state_dict().items()}
    # A module that needs the whole weight to start as the convolution may use its first rows in the end.
    wanted = {key: given[key][: len(value)] if value.dim() else given[key] for key, value in paper.state_dict().items()}
    paper.load_state_dict(wanted)
    torch.testing.assert_close(call(module.eval(), inputs), call(paper.eval(), inputs), rtol=1e-4, atol=1e-4)
    alpha.data.zero_()
    call(module.train(), inputs).square().sum().backward()
    assert alpha.grad.abs() > 0


@every_module
@pytest.mark.parametrize("init", ["paper", "identity"])
def test_it_is_built_and_run_without_data_on_the_meta_device(name, init, make, feed) -> None:
    with torch.device("meta"):
        module = make(name, init=init)
    assert all(t.is_meta for t in (*module.parameters(), *module.buffers()))
    counts = [sum(p.numel() for p in m.parameters()) for m in (module, make(name, init=init))]
    assert counts[0] == counts[1]
    inputs = each(feed(name), lambda t: t.to("meta"))
    assert call(module, inputs).shape == inputs[0].shape


@every_module
def test_channels_last_is_kept_and_changes_nothing(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)).eval(), feed(name)
    expected = call(module, inputs)
    inputs = each(inputs, lambda t: t.to(memory_format=LAST) if t.dim() == 4 else t)
    output = call(module.to(memory_format=LAST), inputs)
    assert output.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


@every_module
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_trains_under_bf16_autocast(name, dtype, make, feed) -> None:
    module = make(name)
    inputs = each(feed(name), lambda t: t.to(dtype).requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        output = call(module, inputs)
        loss = output.float().square().mean()
    loss.backward()
    # A convolution answers in the type of the autocast.
    assert output.dtype in ({dtype, torch.float32} | ({torch.bfloat16} if entry(name).kind == "weights" else set()))
    torch.testing.assert_close(output.float(), call(make(name), feed(name)), rtol=0.05, atol=0.2)


@every_module
def test_its_multiply_accumulates_are_seen_by_the_flop_counter(name, make, feed) -> None:
    module = make(name)
    with FlopCounterMode(display=False) as counter:
        call(module.eval(), feed(name, batch=1))
    assert (counter.get_total_flops() > 0) == any(True for _ in module.parameters())


@every_module
def test_it_can_be_copied_and_pickled(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)).eval(), feed(name)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(call(other, inputs), call(module, inputs))


@every_module
@pytest.mark.parametrize("init", ["paper", "identity"])
def test_torch_export_gives_the_same_network(name, init, make, feed, stir) -> None:
    module, inputs = stir(make(name, init=init)).eval(), feed(name)
    exported = torch.export.export(module, inputs).module()
    torch.testing.assert_close(exported(*inputs), module(*inputs), rtol=1e-4, atol=1e-4)


@every_module
def test_torch_compile_takes_it_whole_with_its_gradients(name, make, feed, stir) -> None:
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        # In double precision, where a gradient that ought to be 0 is next to nothing beside the others.
        module, inputs = stir(make(name)).double(), each(feed(name), lambda t: t.double().requires_grad_())
        # What inductor makes of the graphs is not ours; that there is one graph each way is.
        run = torch.compile(module, fullgraph=True, backend="aot_eager") if compiled else module
        output = call(run, inputs)
        output.square().sum().backward()
        results.append([output, *(p.grad for p in module.parameters()), *(t.grad for t in tensors(inputs))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", dict.fromkeys(entry(name).kind for name in NAMES))
@pytest.mark.filterwarnings("ignore")
def test_onnx_gives_the_same_networks(kind, make, feed, stir) -> None:
    """All modules of a kind in one export, since each export takes seconds."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    of_kind = [name for name in NAMES if entry(name).kind == kind]
    inputs = feed(of_kind[0])
    together = _Together([stir(make(name)) for name in of_kind]).eval()
    program = torch.onnx.export(together, inputs, dynamo=True, verbose=False)
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    given = {node.name: tensor.numpy() for node, tensor in zip(session.get_inputs(), tensors(inputs), strict=True)}
    for name, theirs, ours in zip(of_kind, session.run(None, given), together(*inputs), strict=True):
        torch.testing.assert_close(
            torch.from_numpy(theirs), ours, rtol=1e-3, atol=1e-3, msg=lambda m, n=name: f"{n} {m}"
        )


class _Together(nn.Module):
    """Modules that are given the same."""

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleList(modules)

    def forward(self, *inputs: Any) -> list[Tensor]:
        return [call(module, inputs) for module in self.each]


@every_module
def test_every_knob_of_a_shipped_module_is_described_and_its_default_is_allowed(name) -> None:
    assert all(knob.description for knob in entry(name).knobs.values())
    assert all(knob.check(knob.default, name) == knob.default for knob in entry(name).knobs.values())


@pytest.mark.parametrize("name", [n for n in NAMES if "reduction" in entry(n).knobs])
def test_a_reduction_above_the_channels_is_refused_naming_both(name, make) -> None:
    knobs = {"min_hidden": 1} if "min_hidden" in entry(name).knobs else {}
    if name == "ge":
        knobs = {"variant": "theta_plus"}
    with pytest.raises(InputError, match="reduction 17 is above the 16 channels"):
        make(name, reduction=17, **knobs)
    assert isinstance(make(name, reduction=16, **knobs), nn.Module)
