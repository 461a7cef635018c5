"""A training step that a GPU replays from a recording: one launch in place of one for each operation.

CUDA graphs (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): forward pass, loss, backward pass and
the optimiser's step are recorded once and replayed on the same memory, so that what goes in (a batch, the learning
rates) is copied to where the recording reads it. Recording needs some steps before it, in which algorithms are chosen
and memory is found; what they do is taken back.

Not run on a GPU yet: the tests hold everything but the recording itself (`capture`), on a CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces import InputError
from trials.train_config import TrainConfig

Learn = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""One step: from images, labels and the shares of a mixture (or None) to the loss."""
Replay = Callable[[], Tensor]
"""One step on the batch that lies there: to the loss, which the next step overwrites."""
Record = Callable[[Replay, torch.device], Replay]
"""From a step to its replay; the step is run once for it, without effect."""

WARM_UP_STEPS = 3
"""As in torch's examples."""


def check_graphs(train: TrainConfig, device: torch.device) -> None:
    """Raise InputError if CUDA graphs are asked for on a device that has none."""
    if train.cuda_graphs and device.type != "cuda":
        raise InputError(
            f"`cuda_graphs: true` is for CUDA devices, and this training runs on {device}; give `cuda_graphs: false`"
        )


class GraphedStep:
    """Trains like `learn`, from a recording that is made at the first step.

    The shapes of a batch must stay what they are at the first step. Random numbers that the network draws (dropout,
    stochastic depth) come from the device's default generator, which torch registers with each recording: every replay
    draws new ones. What a network decides in Python is recorded as it was decided then. The learning rates of the
    optimiser become tensors in float32. If the optimiser loads a state, the next step records anew.

    Args:
        learn: a step of `optimizer` on `model`, with new gradients each time.
        model: in training mode at each step; its weights and buffers are changed in place only.
        optimizer: fused.
        record: `capture`, which needs CUDA.

    Raises:
        InputError: at the first step, if the network is not static.
    """

    def __init__(self, learn: Learn, model: nn.Module, optimizer: torch.optim.Optimizer, record: Record) -> None:
        self._learn, self._model, self._optimizer, self._record = learn, model, optimizer, record
        self._batch: tuple[Tensor | None, ...] = ()
        self._rates: list[Tensor] = []
        self._replay: Replay | None = None

    def __call__(self, x_BCHW: Tensor, labels: Tensor, share: Tensor | None) -> Tensor:
        """Train on a batch and return its loss."""
        batch = (x_BCHW, labels, share)
        if self._replay is None or not self._is_current():
            self._replay = self._start(*batch)
        for held, given in zip(self._batch, batch, strict=True):
            if held is None or given is None:
                assert held is given, "mixed and plain batches in one training"
            else:
                assert held.shape == given.shape, "the shapes of a batch changed"
                held.copy_(given)
        return self._replay().clone()

    def _is_current(self) -> bool:
        """Whether the optimiser still has the tensors that were recorded; loading a state replaces all of them."""
        groups = self._optimizer.param_groups
        return all(group["lr"] is rate for group, rate in zip(groups, self._rates, strict=True))

    def _start(self, x_BCHW: Tensor, labels: Tensor, share: Tensor | None) -> Replay:
        self._replay = None  # frees the memory of a recording that is out of date
        device = x_BCHW.device
        held = x_BCHW.clone(), labels.clone(), None if share is None else share.clone()
        self._batch, self._rates = held, hold_rates(self._optimizer, device)

        def step() -> Tensor:
            return self._learn(*held)

        with torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else []):
            with undone(self._model, self._optimizer), _aside(device):
                for _ in range(WARM_UP_STEPS):
                    step()
            return self._record(step, device)


def capture(step: Replay, device: torch.device) -> Replay:
    """Record a step as a CUDA graph.

    Raises:
        InputError: the step does what cannot be recorded, such as reading a value from the device.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.device(device), torch.cuda.graph(graph, stream=_new_stream(device)):
            loss = step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InputError(
            f"`cuda_graphs: true`: this network's training cannot be recorded ({error}); give `cuda_graphs: false`"
        ) from error

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of an optimiser's group, where a recording reads it if there is one."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def hold_rates(optimizer: torch.optim.Optimizer, device: torch.device) -> list[Tensor]:
    """Turn the learning rates into new tensors on the device, one for each group, and return them."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float32, device=device)
    return [group["lr"] for group in optimizer.param_groups]


@contextmanager
def undone(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Take back, in place, what the steps inside do to weights, buffers and the optimiser's state.

    State that comes into being inside becomes 0. For SGD's momentum that is as good as none: its first step takes the
    gradient for the momentum, and 0 * momentum + gradient is the gradient.

    Raises:
        InputError: a step replaced a weight or buffer instead of changing it.
    """
    before = {name: (tensor, tensor.detach().clone()) for name, tensor in _tensors(model)}
    state = {tensor: tensor.clone() for tensor in _state(optimizer)}
    yield
    after = dict(_tensors(model))
    for name, (tensor, _) in before.items():
        if after.get(name) is not tensor:
            raise InputError(
                f"`cuda_graphs: true`: training replaces the network's {name!r} by a new tensor, which cannot be "
                "recorded; give `cuda_graphs: false`"
            )
    with torch.no_grad():
        for tensor, value in before.values():
            tensor.copy_(value)
        for tensor in _state(optimizer):
            if tensor in state:
                tensor.copy_(state[tensor])
            else:
                tensor.zero_()
    optimizer.zero_grad()


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _state(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the tensors that the optimiser keeps; a tensor is hashed by what it is, not by its values."""
    return [value for kept in optimizer.state.values() for value in kept.values() if isinstance(value, Tensor)]


def _aside(device: torch.device) -> AbstractContextManager[None]:
    """On CUDA, run what is inside on another stream, as a recording needs the steps before it to be."""
    return _side_stream(device) if device.type == "cuda" else nullcontext()


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    side, current = _new_stream(device), torch.cuda.current_stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield
    current.wait_stream(side)


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
