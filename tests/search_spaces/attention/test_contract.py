"""What every attention module keeps, whatever it computes."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.attention import create, entry, names
from search_spaces.errors import InputError

every_module = pytest.mark.parametrize("name", names())
SIZES = [(1, 1), (5, 7), (8, 8)]


def tensors(inputs: tuple[Any, ...]) -> list[Tensor]:
    return [t for given in inputs for t in (given if isinstance(given, list) else [given])]


def bare(name: str, inputs: tuple[Any, ...]) -> Tensor:
    """Return what the place gives without the module."""
    result: Tensor = inputs[0] + inputs[1] if entry(name).kind == "merge" else inputs[0]
    return result


def test_the_modules_of_the_papers_are_registered() -> None:
    assert set(names()) >= {"se", "eca", "cbam", "bam", "ba", "ms_cam", "aff", "iaff"}


@every_module
@pytest.mark.parametrize("size", SIZES)
def test_the_output_has_the_shape_and_type_of_the_input(name, size, make, feed) -> None:
    inputs = feed(name, size)
    for module in (make(name), make(name).eval()):
        output = module(*inputs)
        assert output.shape == inputs[0].shape
        assert output.dtype == inputs[0].dtype
        assert output.isfinite().all()


@every_module
def test_one_image_is_enough_in_eval_mode_and_gives_what_it_gives_in_a_batch(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)).eval(), feed(name)
    first = tuple([t[:1] for t in given] if isinstance(given, list) else given[:1] for given in inputs)
    torch.testing.assert_close(module(*first), module(*inputs)[:1])


@every_module
def test_the_gradient_reaches_every_parameter_and_every_input(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)), feed(name)
    for tensor in tensors(inputs):
        tensor.requires_grad_()
    output = module(*inputs)
    (output * torch.randn_like(output)).sum().backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        # A bias right before a batch norm has gradient 0; weights must feel the loss.
        assert parameter.dim() == 1 or parameter.grad.abs().max() > 1e-7, parameter_name
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in tensors(inputs))


@every_module
def test_the_inputs_are_left_as_they_are(name, make, feed) -> None:
    inputs = feed(name)
    before = copy.deepcopy(inputs)
    make(name)(*inputs)
    for tensor, old in zip(tensors(inputs), tensors(before), strict=True):
        assert torch.equal(tensor, old)


@every_module
@pytest.mark.parametrize("training", [True, False])
def test_init_identity_is_the_identity_of_its_place_exactly(name, training, make, feed) -> None:
    module, inputs = make(name, init="identity").train(training), feed(name)
    assert torch.equal(module(*inputs), bare(name, inputs))


@every_module
def test_init_identity_can_leave_the_identity_and_reach_the_module(name, make, feed, stir) -> None:
    module, inputs = stir(make(name, init="identity")).eval(), feed(name)
    module.alpha.data.fill_(1)
    torch.testing.assert_close(module(*inputs), module.module(*inputs))
    module.train()(*inputs).square().sum().backward()
    assert module.alpha.grad.abs() > 0


@every_module
@pytest.mark.parametrize("init", ["paper", "identity"])
def test_it_is_built_and_run_without_data_on_the_meta_device(name, init, make, feed) -> None:
    with torch.device("meta"):
        module = make(name, init=init)
    assert all(t.is_meta for t in (*module.parameters(), *module.buffers()))
    counts = [sum(p.numel() for p in m.parameters()) for m in (module, make(name, init=init))]
    assert counts[0] == counts[1]
    inputs = tuple([t.to("meta") for t in g] if isinstance(g, list) else g.to("meta") for g in feed(name))
    assert module(*inputs).shape == inputs[0].shape


@every_module
def test_channels_last_is_kept_and_changes_nothing(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)).eval(), feed(name)
    expected = module(*inputs)
    last = torch.channels_last
    inputs = tuple([t.to(memory_format=last) for t in g] if isinstance(g, list) else g.to(memory_format=last)
                   for g in inputs)  # fmt: skip
    output = module.to(memory_format=last)(*inputs)
    assert output.is_contiguous(memory_format=last)
    torch.testing.assert_close(output, expected)


@every_module
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_trains_under_bf16_autocast(name, dtype, make, feed) -> None:
    module = make(name)
    inputs = tuple([t.to(dtype) for t in g] if isinstance(g, list) else g.to(dtype) for g in feed(name))
    with torch.autocast("cpu", torch.bfloat16):
        output = module(*inputs)
        loss = output.float().square().mean()
    loss.backward()
    assert output.dtype in (dtype, torch.float32)
    torch.testing.assert_close(output.float(), make(name)(*feed(name)), rtol=0.05, atol=0.2)


@every_module
def test_its_multiply_accumulates_are_seen_by_the_flop_counter(name, make, feed) -> None:
    with FlopCounterMode(display=False) as counter:
        make(name).eval()(*feed(name, batch=1))
    assert counter.get_total_flops() > 0


@every_module
def test_it_can_be_copied_and_pickled(name, make, feed, stir) -> None:
    module, inputs = stir(make(name)).eval(), feed(name)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(*inputs), module(*inputs))


@every_module
@pytest.mark.parametrize("init", ["paper", "identity"])
def test_torch_export_gives_the_same_network(name, init, make, feed, stir) -> None:
    module, inputs = stir(make(name, init=init)).eval(), feed(name)
    exported = torch.export.export(module, inputs).module()
    torch.testing.assert_close(exported(*inputs), module(*inputs))


@pytest.mark.parametrize("name", [n for n in names() if "reduction" in entry(n).knobs])
def test_a_reduction_above_the_channels_is_refused_naming_both(name) -> None:
    sources = {"source_channels": (64, 64)} if entry(name).kind == "bridge" else {}
    with pytest.raises(InputError, match="reduction 17 is above the 16 channels"):
        create(name, channels=16, reduction=17, **sources)
    assert isinstance(create(name, channels=16, reduction=16, **sources), nn.Module)
