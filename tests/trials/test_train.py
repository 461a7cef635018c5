import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from search_spaces import InputError
from trials import TrainConfig, learning_rate
from trials.augmentation import plan_epoch
from trials.data import Augmentation
from trials.device_data import DeviceData
from trials.failure import DivergedError
from trials.train import Trainer

PLAIN = Augmentation(flip=False, crop_padding=0)


def make_data(num_images: int = 20) -> DeviceData:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (num_images, 1, 3, 3), dtype=np.uint8))
    return DeviceData(images, torch.arange(num_images) % 2, torch.tensor([1 / 127.5]), torch.tensor([-1.0]))


def make_model() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def make_trainer(model: nn.Module, config: TrainConfig) -> Trainer:
    return Trainer(model, make_data(), np.arange(20), config, PLAIN, seed=0, precision="fp32")


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    config = TrainConfig(epochs=6, batch_size=1, lr=0.5, warmup=2)
    rates = [learning_rate(step, 10, config) for step in range(60)]
    assert rates[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    assert rates[20] == 0.5
    assert rates[40] == pytest.approx(0.25)  # half of the 40 steps of the cosine are done
    assert rates[59] == pytest.approx(0.5 * (1 + math.cos(math.pi * 39 / 40)) / 2)
    assert learning_rate(60, 10, config) == 0


def test_the_learning_rate_may_be_stable_until_its_cool_down() -> None:
    config = TrainConfig(epochs=10, batch_size=1, lr=0.5, warmup=1, schedule="wsd", cooldown=0.2)
    rates = [learning_rate(step, 5, config) for step in range(50)]
    assert config.stable_epochs == 8
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[5:41] == [0.5] * 36
    assert rates[40:] == pytest.approx([0.5 * (1 - step / 10) for step in range(10)])


@pytest.mark.parametrize(("epochs", "stable"), [(1, 0), (2, 1), (3, 2), (5, 3), (10, 7)])
def test_a_cool_down_has_whole_epochs_and_at_least_one(epochs: int, stable: int) -> None:
    assert TrainConfig(epochs=epochs, batch_size=1, lr=0.5, schedule="wsd").stable_epochs == stable


def test_the_learning_rate_may_fall_in_a_line() -> None:
    config = TrainConfig(epochs=6, batch_size=1, lr=0.5, warmup=2, schedule="linear")
    rates = [learning_rate(step, 10, config) for step in range(61)]
    assert rates[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    assert rates[20:] == pytest.approx([0.5 * (60 - step) / 40 for step in range(20, 61)])


def test_the_warm_up_may_end_within_an_epoch_and_never_overshoots() -> None:
    config = TrainConfig(epochs=1, batch_size=1, lr=1.0, warmup=0.55)
    rates = [learning_rate(step, 10, config) for step in range(10)]
    assert rates[:5] == pytest.approx([(step + 1) / 5.5 for step in range(5)])
    assert rates[5] == 1.0
    assert 0 < min(rates) <= max(rates) <= 1.0


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert learning_rate(0, 10, TrainConfig(epochs=1, batch_size=1, lr=0.3, warmup=0)) == 0.3


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_step_is_that_of_nesterov_sgd_with_weight_decay_and_label_smoothing(channels_last: bool) -> None:
    config = TrainConfig(epochs=1, batch_size=20, lr=0.1, warmup=0, weight_decay=0.01, label_smoothing=0.2)
    model, reference = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()) for _ in range(2))
    reference.load_state_dict(model.state_dict())
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    data = make_data()
    make_trainer(model, config).run_epoch(1)

    order = plan_epoch(np.arange(20), PLAIN, 0, 1, torch.device("cpu")).order
    log_p = reference(data.normalise(data.images[order])).log_softmax(1)
    own = log_p.gather(1, data.labels[order][:, None])[:, 0]
    loss = -(0.8 * own + 0.2 * log_p.mean(1)).mean()
    for parameter, gradient in zip(
        reference.parameters(), torch.autograd.grad(loss, list(reference.parameters())), strict=True
    ):
        decayed = gradient + 0.01 * parameter.detach()
        # The momentum buffer starts as the gradient, so Nesterov's first step is (1 + momentum) of it.
        parameter.data -= 0.1 * (1 + 0.9) * decayed
    for trained, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(trained, expected)


def test_placed_parameters_learn_at_their_own_rate_and_biases_need_not_decay() -> None:
    settings = {"weight_decay": 0.01, "norm_weight_decay": False, "attention_lr": 4.0, "warmup": 0.0}
    config = TrainConfig.model_validate({"epochs": 1, "batch_size": 20, "lr": 0.1} | settings)
    model, reference, data = make_model(), make_model(), make_data()
    trainer = Trainer(model, data, np.arange(20), config, PLAIN, seed=0, precision="fp32", placed={"1.weight"})
    trainer.run_epoch(1)
    F.cross_entropy(reference(data.normalise(data.images)), data.labels).backward()
    weight, bias = (parameter.detach() for parameter in reference.parameters())
    weight_gradient, bias_gradient = (parameter.grad for parameter in reference.parameters())
    assert weight_gradient is not None
    assert bias_gradient is not None
    trained_weight, trained_bias = model.parameters()
    torch.testing.assert_close(trained_weight, weight - 4 * 0.1 * 1.9 * (weight_gradient + 0.01 * weight))
    torch.testing.assert_close(trained_bias, bias - 0.1 * 1.9 * bias_gradient)


def test_an_average_of_the_weights_is_scored_and_kept() -> None:
    model, plain = make_model(), make_model()
    settings = {"epochs": 2, "batch_size": 10, "lr": 0.1}
    averaging, other = (make_trainer(m, TrainConfig(**settings, ema=e)) for m, e in ((model, 0.9), (plain, None)))
    assert averaging.run_epoch(1) == other.run_epoch(1)  # the training is the same
    assert other.scored is plain
    assert torch.equal(model[1].weight, plain[1].weight)
    assert not torch.equal(averaging.scored[1].weight, plain[1].weight)
    averaging.finish()
    assert torch.equal(model[1].weight, averaging.scored[1].weight)


def test_a_training_with_holes_and_mixtures_learns_and_repeats() -> None:
    config = TrainConfig(epochs=20, batch_size=10, lr=0.1, warmup=0, mixup=0.2, flip="alternating", schedule="linear")
    how = Augmentation(flip=True, crop_padding=1, crop="reflect", cutout=1)

    def train() -> list[float]:
        trainer = Trainer(make_model(), make_data(), np.arange(20), config, how, seed=0, precision="fp32")
        return [trainer.run_epoch(epoch) for epoch in range(1, 21)]

    losses = train()
    assert losses == train()
    assert sum(losses[-3:]) < sum(losses[:3])


def test_a_compiled_training_is_the_same_training() -> None:
    config = TrainConfig(epochs=1, batch_size=10, lr=0.1)
    model, compiled = make_model(), make_model()
    expected = make_trainer(model, config).run_epoch(1)
    trainer = Trainer(compiled, make_data(), np.arange(20), config, PLAIN, seed=0, precision="fp32", compiled=True)
    with torch.compiler.set_stance("force_eager"):  # compiling takes longer than all other tests of this file
        assert trainer.run_epoch(1) == expected
    assert list(compiled.state_dict()) == list(model.state_dict())


def test_an_incomplete_last_batch_is_left_out() -> None:
    trainer = make_trainer(make_model(), TrainConfig(epochs=1, batch_size=8, lr=0.1))
    assert trainer.num_steps == 2  # of 20 images


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size: 21 is more than the 20 training images"):
        make_trainer(make_model(), TrainConfig(epochs=1, batch_size=21, lr=0.1))


def test_the_loss_falls() -> None:
    trainer = make_trainer(make_model(), TrainConfig(epochs=20, batch_size=10, lr=0.1, warmup=0))
    losses = [trainer.run_epoch(epoch) for epoch in range(1, 21)]
    assert losses[-1] < losses[0] - 0.3


def test_a_loss_that_is_not_finite_names_its_epoch() -> None:
    model = make_model()
    trainer = make_trainer(model, TrainConfig(epochs=3, batch_size=10, lr=0.1))
    trainer.run_epoch(1)
    next(model.parameters()).data.fill_(math.nan)
    with pytest.raises(DivergedError, match="the training loss was nan in epoch 2 of 3"):
        trainer.run_epoch(2)


def test_the_training_loss_is_the_mean_over_the_steps() -> None:
    model = make_model()
    # So small a rate moves no bit of a float32 parameter.
    trainer = make_trainer(model, TrainConfig(epochs=1, batch_size=10, lr=1e-20, weight_decay=0))
    data = make_data()
    expected = F.cross_entropy(model(data.normalise(data.images)), data.labels)
    assert trainer.run_epoch(1) == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup": 4.0}, "`warmup` must be shorter than `epochs`"),
        ({"momentum": 0.0}, "give `nesterov: false`"),
        ({"lr": 0.0}, "greater than 0"),
        ({"label_smoothing": 1.0}, "less than 1"),
        ({"optimizer": "adam"}, "'sgd'"),
        ({"attention_lr": 0.0}, "greater than 0"),
        ({"mixup": -0.1}, "greater than or equal to 0"),
        ({"mixup": 0.2, "batch_size": 1}, "needs a `batch_size` of 2 or more"),
        ({"ema": 1.0}, "less than 1"),
        ({"schedule": "steps"}, "'cosine', 'linear' or 'wsd'"),
        ({"scored_epochs": 0}, "greater than or equal to 1"),
        ({"cooldown": 0.2}, "`cooldown` is for `schedule: wsd`"),
        ({"flip": "never"}, "'random' or 'alternating'"),
        ({"compile": "maybe"}, "'auto'"),
        ({"cuda_graphs": True, "compile": True}, "`cuda_graphs: true` needs `compile: false`, got true"),
        ({"cuda_graphs": True, "compile": "auto"}, "`cuda_graphs: true` needs `compile: false`, got auto"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainConfig.model_validate({"epochs": 4, "batch_size": 8, "lr": 0.1} | settings)


class DoubleData(DeviceData):
    """Feeds a network float64."""

    def normalise(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return super().normalise(x_BCHW).double()


@pytest.mark.parametrize("parts", [2, 3, 7])
@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_parts_of_a_batch_give_the_gradient_and_the_loss_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, parts: int, mixup: float
) -> None:
    """Without batch norms, which see a part at a time; in float64, but for the shares of a mixture."""
    if not mixup:
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # logits are turned into float32 otherwise
    settings = {"label_smoothing": 0.1, "mixup": mixup, "warmup": 0.0}
    config = TrainConfig.model_validate({"epochs": 1, "batch_size": 10, "lr": 0.1} | settings)
    losses, gradients, weights = [], [], []
    for accumulation in (1, parts):
        model, data = make_model(), make_data()
        if not mixup:
            model, data = model.double(), DoubleData(data.images, data.labels, data.scale, data.shift)
        trainer = Trainer(
            model, data, np.arange(20), config, PLAIN, seed=0, precision="fp32", accumulation=accumulation
        )
        losses.append(trainer.run_epoch(1))
        gradients.append([parameter.grad for parameter in model.parameters()])
        weights.append(list(model.parameters()))
    exactly = {"rtol": 1e-5, "atol": 1e-6} if mixup else {"rtol": 1e-12, "atol": 1e-14}
    assert losses[1] == pytest.approx(losses[0], rel=exactly["rtol"])
    torch.testing.assert_close(gradients[1], gradients[0], **exactly)
    torch.testing.assert_close(weights[1], weights[0], **exactly)


def test_a_batch_has_no_more_parts_than_images() -> None:
    with pytest.raises(ValidationError, match=r"`accumulation` must be at most `batch_size` \(4\), got 5"):
        TrainConfig(epochs=1, batch_size=4, lr=0.1, accumulation=5)
