import math

import pytest
import torch
from torch import nn

from trials.device_data import DeviceData
from trials.evaluate import evaluate


class Pixels(nn.Module):
    """Takes an image's three pixels for its logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def make_data(images: list[list[int]], labels: list[int]) -> DeviceData:
    pixels = torch.tensor(images, dtype=torch.uint8).reshape(len(images), 1, 1, 3)
    return DeviceData(pixels, torch.tensor(labels), torch.tensor([1.0]), torch.tensor([0.0]))


DATA = make_data([[1, 0, 0], [0, 2, 0], [0, 0, 3], [4, 0, 0], [0, 5, 0]], [0, 1, 0, 0, 2])


def log_loss(logits: list[int], label: int) -> float:
    return math.log(sum(map(math.exp, logits))) - logits[label]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_accuracy_and_loss_are_means_over_the_images_whatever_the_batch(batch_size: int) -> None:
    score = evaluate(Pixels(), DATA, batch_size=batch_size, precision="fp32")
    logits = DATA.images.reshape(5, 3).tolist()
    assert score.accuracy == 3 / 5
    assert score.loss == pytest.approx(sum(map(log_loss, logits, DATA.labels.tolist())) / 5)


def test_only_the_positions_asked_for_are_scored() -> None:
    score = evaluate(Pixels(), DATA, index=torch.tensor([2, 4]), batch_size=5, precision="fp32")
    assert score.accuracy == 0
    assert score.loss == pytest.approx((log_loss([0, 0, 3], 0) + log_loss([0, 5, 0], 2)) / 2)


def test_a_network_whose_logits_are_nan_is_right_nowhere() -> None:
    data = DeviceData(DATA.images, DATA.labels, torch.tensor([math.nan]), torch.tensor([0.0]))
    score = evaluate(Pixels(), data, batch_size=5, precision="fp32")
    assert score.accuracy == 0
    assert math.isnan(score.loss)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_scored_in_eval_mode_and_its_mode_restored(training: bool) -> None:
    modes = []

    class Spy(Pixels):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return super().forward(x)

    model = Spy().train(training)
    evaluate(model, DATA, batch_size=5, precision="fp32")
    assert modes == [False]
    assert model.training is training
