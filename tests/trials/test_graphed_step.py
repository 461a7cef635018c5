"""What holds without a GPU: a "recording" here is the step itself, run again."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import Architecture, InputError
from trials import DataConfig, TrainConfig, TrialConfig, load_data
from trials.data import Augmentation
from trials.device_data import DeviceData, on_device
from trials.graphed_step import GraphedStep, Replay, capture, check_graphs, hold_rates, set_rate, undone
from trials.train import Trainer
from trials.trial import prepare

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
WITH_GATES = {
    "host": {"name": "resnet20", "classes": 10, "channels": 1, "input": 8},
    "placement": {"*/branch": {"module": "se", "reduction": 4}, "*/end": {"module": "bam", "reduction": 4}},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_again(step: Replay, _: torch.device) -> Replay:
    """Write each loss to the same place, as a recording does."""
    loss = torch.zeros(())
    return lambda: loss.copy_(step())


def make_data() -> DeviceData:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (32, 1, 4, 4), dtype=np.uint8))
    return DeviceData(images, torch.arange(32) % 3, torch.tensor([1 / 127.5]), torch.tensor([-1.0]))


def make_model() -> nn.Module:
    """With what has state or draws random numbers: batch norm, dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 3)
        )


def make_trainer(model: nn.Module, *, graphed: bool, **settings: Any) -> Trainer:
    # So the rates are 1/8, 3/32, 1/16, 1/32, and again: float32 has them exactly.
    config = TrainConfig.model_validate(
        {"epochs": 1, "batch_size": 8, "lr": 0.125, "schedule": "linear", "warmup": 0} | settings
    )
    how = Augmentation(flip=True, crop_padding=1)
    record = run_again if graphed else None
    return Trainer(
        model,
        make_data(),
        np.arange(32),
        config,
        how,
        seed=0,
        precision="fp32",
        record=record,
        accumulation=config.accumulation,
    )


def train(*, graphed: bool, **settings: Any) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
    """Return loss, weights and scored weights after an epoch."""
    model = make_model()
    trainer = make_trainer(model, graphed=graphed, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        loss = trainer.run_epoch(1)
    return loss, model.state_dict(), trainer.scored.state_dict()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mixup": 0.2},
        {"ema": 0.9},
        {"accumulation": 3, "mixup": 0.2},
        {"momentum": 0.0, "nesterov": False},
        {"attention_lr": 2.0, "norm_weight_decay": False, "label_smoothing": 0.1},
    ],
    ids=str,
)
def test_replayed_steps_are_the_steps_that_are_replayed_bit_for_bit(settings: dict[str, Any]) -> None:
    loss, *states = train(graphed=False, **settings)
    replayed_loss, *replayed_states = train(graphed=True, **settings)
    assert replayed_loss == loss
    for state, replayed in zip(states, replayed_states, strict=True):
        assert state.keys() == replayed.keys()
        assert all(torch.equal(replayed[name], value) for name, value in state.items())


def test_a_state_that_the_optimiser_loads_makes_it_record_anew() -> None:
    recorded = []

    def record(step: Replay, _: torch.device) -> Replay:
        recorded.append(step)
        return step

    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5, fused=True)

    def learn(x_BCHW: Tensor, _labels: Tensor, _share: Tensor | None) -> Tensor:
        optimizer.zero_grad()
        (weight * x_BCHW.sum()).backward()
        optimizer.step()
        return weight.detach()

    step = GraphedStep(learn, nn.ParameterList([weight]), optimizer, record)
    batch = torch.ones(1), torch.zeros(1), None
    # The gradient is 1; the momentum becomes 1, 1.5 and, after going back to the first step's, 1.5 again.
    assert step(*batch) == 1 - 0.5
    after_first = copy.deepcopy(optimizer.state_dict())
    assert step(*batch) == 1 - 0.5 - 0.75
    optimizer.load_state_dict(after_first)  # gives the optimiser new tensors
    assert step(*batch) == 1 - 0.5 - 0.75 - 0.75
    assert len(recorded) == 2


def step_on(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(4, 1, 4, 4)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("num_before", [0, 2])
def test_what_steps_do_is_taken_back_in_place(num_before: int) -> None:
    model = make_model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    for _ in range(num_before):
        step_on(model, optimizer)
    tensors = {**model.state_dict(keep_vars=True)}
    before = {name: value.detach().clone() for name, value in tensors.items()}
    momenta = [optimizer.state[p]["momentum_buffer"].clone() for p in model.parameters() if optimizer.state]
    with undone(model, optimizer):
        for _ in range(3):
            step_on(model, optimizer)
        assert not torch.equal(model[0].weight, before["0.weight"])
        assert model[1].num_batches_tracked == num_before + 3
    for name, value in model.state_dict(keep_vars=True).items():
        assert value is tensors[name]
        assert torch.equal(value, before[name])
        assert value.grad is None
    after = [optimizer.state[p]["momentum_buffer"] for p in model.parameters()]
    expected = momenta or [torch.zeros_like(p) for p in model.parameters()]
    assert all(torch.equal(found, wanted) for found, wanted in zip(after, expected, strict=True))


def test_random_numbers_are_those_of_a_training_without_warm_up() -> None:
    model = nn.Dropout(0.5)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)

    def learn(x_BCHW: Tensor, _labels: Tensor, _share: Tensor | None) -> Tensor:
        return model(x_BCHW).sum()  # type: ignore[no-any-return]

    x_BCHW, labels = torch.ones(4, 1, 5, 5), torch.zeros(4, dtype=torch.long)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = [model(x_BCHW).sum() for _ in range(3)]
        torch.manual_seed(0)
        step = GraphedStep(learn, model, optimizer, run_again)
        assert [step(x_BCHW, labels, None) for _ in range(3)] == expected


class Replacing(nn.Module):
    """Puts a new tensor in the place of its buffer at each step, where a recording could not follow."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x_BCHW.mean()
        return self.linear(x_BCHW.flatten(1))  # type: ignore[no-any-return]


def test_a_network_that_replaces_its_buffers_is_refused() -> None:
    with pytest.raises(InputError, match=r"replaces the network's 'mean' by a new tensor.*`cuda_graphs: false`"):
        make_trainer(Replacing(), graphed=True).run_epoch(1)


def test_batches_of_another_shape_or_kind_are_our_mistake() -> None:
    model, labels = make_model(), torch.zeros(4, dtype=torch.long)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    step = GraphedStep(lambda x, _labels, _share: x.sum(), model, optimizer, run_again)
    step(torch.ones(4, 1, 4, 4), labels, None)
    with pytest.raises(AssertionError, match="the shapes of a batch changed"):
        step(torch.ones(1, 1, 4, 4), labels, None)  # would be broadcast otherwise
    with pytest.raises(AssertionError, match="mixed and plain batches"):
        step(torch.ones(4, 1, 4, 4), labels, torch.ones(4))


def test_each_group_has_a_rate_of_its_own_that_is_changed_where_it_lies() -> None:
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], lr=0.25)
    set_rate(optimizer.param_groups[0], 0.125)
    assert optimizer.param_groups[0]["lr"] == 0.125
    rates = hold_rates(optimizer, CPU)
    assert [rate.tolist() for rate in rates] == [0.125, 0.5]
    set_rate(optimizer.param_groups[0], 0.75)
    assert [rate.tolist() for rate in rates] == [0.75, 0.5]
    assert hold_rates(optimizer, CPU)[0] is not rates[0]


def test_cuda_graphs_are_refused_on_a_cpu_before_anything_is_trained() -> None:
    train_config = TrainConfig(epochs=1, batch_size=8, lr=0.1, warmup=0, cuda_graphs=True)
    data = DataConfig(source="digits", validation=100)
    config = TrialConfig(data=data, train=train_config, device="cpu")
    with pytest.raises(InputError, match=r"is for CUDA devices, and this training runs on cpu; give `cuda_graphs: f"):
        prepare(Architecture.from_dict({"host": WITH_GATES["host"]}), config, 0)


def test_cuda_graphs_are_not_refused_elsewhere() -> None:
    with_graphs, without = (TrainConfig(epochs=1, batch_size=8, lr=0.1, cuda_graphs=asked) for asked in (True, False))
    check_graphs(with_graphs, torch.device("cuda:1"))
    check_graphs(without, CPU)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("settings", [{}, {"mixup": 0.2}, {"ema": 0.9, "attention_lr": 2.0}], ids=str)
def test_a_replayed_epoch_on_a_gpu_is_that_of_single_operations(settings: dict[str, Any]) -> None:
    """Losses of an epoch, of the next one and of an evaluation between them; sums on a GPU may come in other orders."""
    device = torch.device("cuda", torch.cuda.current_device())
    data = on_device(load_data(DataConfig(source="digits", validation=100)), device, "train")
    config = TrainConfig.model_validate({"epochs": 2, "batch_size": 64, "lr": 0.05} | settings)
    found = []
    for record in (None, capture):
        model = Architecture.from_dict(WITH_GATES).build(0).to(device).to(memory_format=torch.channels_last)
        trainer = Trainer(
            model,
            data,
            np.arange(640),
            config,
            Augmentation(flip=False, crop_padding=1),
            seed=0,
            precision="fp32",
            record=record,
        )
        losses = [trainer.run_epoch(1)]
        with torch.inference_mode():
            losses.append(float(model.eval()(data.normalise(data.images[:64])).logsumexp(1).mean()))
        losses.append(trainer.run_epoch(2))
        found.append(losses)
    assert found[1] == pytest.approx(found[0], rel=0.02)


@pytest.mark.gpu
@needs_gpu
def test_every_replay_on_a_gpu_draws_new_random_numbers() -> None:
    x, device = torch.ones(1000, device="cuda"), torch.device("cuda", torch.cuda.current_device())
    positions = torch.arange(1000.0, device="cuda")
    replay = capture(lambda: (nn.functional.dropout(x) * positions).sum(), device)
    assert len({replay().item() for _ in range(3)}) == 3


@pytest.mark.gpu
@needs_gpu
def test_what_reads_a_value_from_the_gpu_is_refused() -> None:
    x, device = torch.ones(4, device="cuda"), torch.device("cuda", torch.cuda.current_device())
    with pytest.raises(InputError, match="cannot be recorded"):
        capture(lambda: x * x.sum().item(), device)
