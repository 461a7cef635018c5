"""Tracing a host so that it holds in training and in evaluation, and saying why one cannot be traced."""

import random

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from search_spaces.errors import InputError
from search_spaces.graphs.host_tracer import add_dropouts, trace_in_both_modes
from search_spaces.graphs.tracing import trace


class Host(nn.Module):
    """A convolution, and what a test makes of its answer in `refine`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def refine(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.refine(self.conv(x))


class WithDropout(Host):
    def refine(self, x: Tensor) -> Tensor:
        x = functional.dropout2d(x, p=0.4, training=self.training)
        return functional.dropout(x, 0.5, self.training)


class WithNoiseInTraining(Host):
    def refine(self, x: Tensor) -> Tensor:
        if self.training:
            x = x * 2
        return x


class AsksButDoesTheSame(Host):
    auxiliary = False

    def refine(self, x: Tensor) -> Tensor:
        return x * 2 if self.training and self.auxiliary else x


class DecidesByItsInput(Host):
    def refine(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = x + 1
        return x


class Rescale(nn.Module):
    """Decides by its input, and by the mode; it has a child, but no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor, factor: float) -> Tensor:
        if self.training or bool(x.sum() > 0):
            x = self.norm(x) * factor
        return x


class WithLayerThatDecides(Host):
    def __init__(self) -> None:
        super().__init__()
        self.rescale = Rescale()

    def refine(self, x: Tensor) -> Tensor:
        return self.rescale(x, factor=2.0)


class DrawsByItself(Host):
    def refine(self, x: Tensor) -> Tensor:
        return x * (random.random() + 1)


class Counts(Host):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def refine(self, x: Tensor) -> Tensor:
        self.passes += 1
        return x


class CountsInPlace(Counts):
    def refine(self, x: Tensor) -> Tensor:
        self.passes.add_(1)
        return x + self.passes


class MakesATensor(Host):
    def refine(self, x: Tensor) -> Tensor:
        return x * torch.tensor([2.0])


def as_graph(host: nn.Module) -> fx.GraphModule:
    return fx.GraphModule(host, trace_in_both_modes(host))


def answers(network: nn.Module, training: bool) -> Tensor:
    torch.manual_seed(3)
    answer: Tensor = network.train(training)(torch.arange(2 * 3 * 5 * 5.0).reshape(2, 3, 5, 5))
    return answer


@pytest.mark.parametrize("kind", [Host, WithDropout, AsksButDoesTheSame, WithLayerThatDecides, CountsInPlace])
@pytest.mark.parametrize("training", [True, False])
def test_a_graph_computes_what_the_host_computes_in_both_modes(kind: type[Host], training: bool) -> None:
    host = kind()
    graph = as_graph(host)
    state = {key: value.clone() for key, value in host.state_dict().items()}
    wanted = answers(host, training)
    host.load_state_dict(state)
    assert torch.equal(answers(graph, training), wanted)


def test_functional_dropout_becomes_modules_without_parameters() -> None:
    host = WithDropout()
    graph = trace_in_both_modes(host)
    assert not torch.equal(answers(fx.GraphModule(host, graph), True), answers(fx.GraphModule(host, graph), False))
    assert next(module for module in host.modules() if isinstance(module, nn.Dropout2d | nn.Dropout)).p == 0.4
    assert host.state_dict().keys() == WithDropout().state_dict().keys()

    another = WithDropout()
    add_dropouts(another, graph)
    assert torch.equal(answers(fx.GraphModule(another, graph), True), answers(another, True))


def test_a_module_without_convolutions_stays_whole_where_it_cannot_be_traced() -> None:
    calls = [node.target for node in trace_in_both_modes(WithLayerThatDecides()).nodes if node.op == "call_module"]
    assert calls == ["conv", "rescale"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (WithNoiseInTraining, r"in training than in evaluation, at \S*test_host_tracer.py:\d+ `if self.training:`"),
        (
            DecidesByItsInput,
            r"traced at \S*test_host_tracer.py:\d+ `if x.sum\(\) > 0:` \(TraceError: .*try another host",
        ),
        (DrawsByItself, "draws random numbers by itself"),
        (Counts, "replaces its buffer passes; where the code is yours, change it in place"),
        (
            MakesATensor,
            r"`return x \* torch.tensor\(\[2.0\]\)` \(TraceError: it computes with a tensor that is neither",
        ),
    ],
)
def test_a_host_that_a_graph_would_not_stand_for_is_refused_with_the_line(kind: type[Host], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace_in_both_modes(kind())


def test_tracing_leaves_the_generators_and_the_modes_as_they_were() -> None:
    before = torch.get_rng_state(), random.getstate()
    host = WithDropout()
    state = torch.get_rng_state()
    trace_in_both_modes(host)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == before[1]
    assert not any(module.training for module in host.modules())
    assert "training" not in vars(nn.Module)


def test_images_that_a_host_cannot_read_are_refused_with_the_place() -> None:
    with torch.device("meta"):
        host = Host()
        with pytest.raises(InputError, match=r"cannot read 2x2 images \(at conv\): a kernel of \(3, 3\) is larger"):
            trace(host, torch.empty(1, 3, 2, 2))
        with pytest.raises(InputError, match=r"cannot read 9x9 images \(at conv\): expected 3 channels, got 1"):
            trace(host, torch.empty(1, 1, 9, 9))


def test_shapes_are_those_that_the_host_computes() -> None:
    with torch.device("meta"):
        layers = (
            nn.Conv2d(3, 6, (3, 5), (2, 1), (1, 0), (1, 2)),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.GLU(1),
            nn.MaxPool2d(2),
        )
        graph = trace(nn.Sequential(*layers), torch.empty(1, 3, 20, 30))
    x = torch.empty(1, 3, 20, 30, device="meta")
    for layer, node in zip(layers, list(graph.graph.nodes)[1:], strict=False):
        x = layer(x)
        assert graph.shapes[node] == x.shape[1:]


class AddsToItsSize(Host):
    def refine(self, x: Tensor) -> Tensor:
        num_rows, num_columns = x.shape[-2:]
        return functional.pad(x, (0, num_rows + num_columns)) + x[..., :1]


def test_shapes_follow_sizes_that_the_code_computes_with() -> None:
    with torch.device("meta"):
        graph = trace(AddsToItsSize(), torch.empty(1, 3, 7, 9))
    # Convolved without padding: 5 rows and 7 columns; 5 + 7 columns are added.
    assert list(graph.shapes.values())[-1] == (4, 5, 7 + 5 + 7)


class Checkpointed(Host):
    def forward(self, x: Tensor) -> Tensor:
        torch._assert(x.shape[1] == 3, "colour")
        answer: Tensor = checkpoint(self.conv, x, use_reentrant=False)
        return answer


@pytest.mark.parametrize("training", [True, False])
def test_assertions_and_checkpoints_do_not_stop_a_trace(training: bool) -> None:
    host = Checkpointed()
    assert torch.equal(answers(as_graph(host), training), answers(host, training))
    with pytest.raises(AssertionError, match="colour"):
        as_graph(host)(torch.rand(2, 4, 5, 5))
