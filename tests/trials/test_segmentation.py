import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trials import DataConfig, TrainConfig, load_data, split
from trials.augmentation import augment, augment_labels, plan_epoch
from trials.data import Augmentation
from trials.device_data import DeviceData, on_device
from trials.evaluate import evaluate
from trials.segmentation import mean_iou
from trials.train import Trainer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Given(nn.Module):
    """Answers class c of three with certainty where a pixel's value is c."""

    def forward(self, x: Tensor) -> Tensor:
        return 4.0 * F.one_hot(x[:, 0].round().long(), 3).permute(0, 3, 1, 2)


def pixels(rows: list[list[list[int]]], dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.tensor(rows, dtype=dtype)


GIVEN = [[[0, 0], [1, 1]], [[0, 2], [0, 0]], [[1, 1], [1, 0]]]
TRUE = [[[0, 0], [1, 0]], [[0, 2], [2, 0]], [[1, 1], [1, 1]]]
SCALES = [[[0, 0], [0, 0]], [[1, 1], [0, 0]], [[1, 1], [1, 1]]]


def make_data(true: list[Any] = TRUE, scales: list[Any] | None = SCALES) -> DeviceData:
    constants = torch.tensor([1.0]), torch.tensor([0.0])
    return DeviceData(pixels(GIVEN)[:, None], pixels(true), *constants, None if scales is None else pixels(scales))


def brute_force(given: list[int], true: list[int], classes: list[int]) -> float | None:
    """Return mIoU by its definition, from lists of pixels."""
    pairs, found = list(zip(given, true, strict=True)), []
    for each in classes:
        union = sum(each in pair for pair in pairs)
        if union:
            found.append(sum(pair == (each, each) for pair in pairs) / union)
    return sum(found) / len(found) if found else None


def flat(nested: list[Any]) -> list[int]:
    return [value for image in nested for row in image for value in row]


@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_a_segmentation_is_scored_over_all_pixels_whatever_the_batch(batch_size: int) -> None:
    score = evaluate(Given(), make_data(), batch_size=batch_size, precision="fp32")
    given, true, scales = flat(GIVEN), flat(TRUE), flat(SCALES)
    assert score.miou == pytest.approx(brute_force(given, true, [0, 1, 2]))
    assert score.accuracy == sum(map(int.__eq__, given, true)) / 12
    right, wrong = (-math.log(math.exp(logit) / (math.exp(4) + 2)) for logit in (4, 0))
    num_wrong = 12 - sum(map(int.__eq__, given, true))
    assert score.loss == pytest.approx(((12 - num_wrong) * right + num_wrong * wrong) / 12)
    expected = {
        name: brute_force(
            [g for g, s in zip(given, scales, strict=True) if s == size],
            [t for t, s in zip(true, scales, strict=True) if s == size],
            [1, 2],
        )
        for size, name in enumerate(("small", "medium", "large"))
    }
    assert score.miou_by_size == pytest.approx(expected)
    assert expected["large"] is None


def test_a_class_that_is_neither_there_nor_given_is_left_out() -> None:
    # Two classes of three occur: 3 of 4 and 1 of 2 pixels of their unions.
    assert mean_iou([[3, 1, 0], [0, 1, 0], [0, 0, 0]], range(3)) == pytest.approx((3 / 4 + 1 / 2) / 2)
    # Given but not there: its intersection over union is 0.
    assert mean_iou([[3, 0, 1], [0, 1, 0], [0, 0, 0]], range(3)) == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert mean_iou([[3, 0], [0, 0]], [1]) is None


def test_only_the_images_asked_for_are_scored() -> None:
    score = evaluate(Given(), make_data(), index=torch.tensor([2]), batch_size=5, precision="fp32")
    assert score.miou == brute_force(flat(GIVEN[2:]), flat(TRUE[2:]), [0, 1, 2])


def test_logits_that_are_not_finite_are_right_nowhere() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 3, 2, 2), math.nan)

    score = evaluate(Broken(), make_data(scales=None), batch_size=5, precision="fp32")
    assert (score.accuracy, score.miou) == (0, 0)
    assert math.isnan(score.loss)


def test_a_mask_moves_with_its_image() -> None:
    how = Augmentation(flip=True, crop_padding=3)
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.integers(1, 5, (20, 9, 9), dtype=np.uint8))
    plan = plan_epoch(np.arange(20), how, seed=0, epoch=1, device=CPU)
    images, labels = augment(masks[:, None], plan, how), augment_labels(masks, plan, how)
    assert labels.dtype == torch.int64
    assert torch.equal(images[:, 0].long(), labels)  # an image that is its mask stays so
    assert not torch.equal(labels, masks[plan.order].long())
    assert 0 in labels  # what comes in from outside is background


def test_the_loss_is_the_mean_cross_entropy_of_the_pixels() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(1, 3, 1)
    data = make_data()
    config = TrainConfig(epochs=1, batch_size=3, lr=1e-20, weight_decay=0, warmup=0, label_smoothing=0.1)
    plain = Augmentation(flip=False, crop_padding=0)
    trained = Trainer(model, data, np.arange(3), config, plain, seed=0, precision="fp32").run_epoch(1)
    log_p = model(data.normalise(data.images)).log_softmax(1).permute(0, 2, 3, 1).reshape(12, 3)
    own = log_p[torch.arange(12), data.labels.flatten().long()]
    assert trained == pytest.approx(-(0.9 * own + 0.1 * log_p.mean(1)).mean().item())


def test_scenes_are_split_as_other_images_are_and_learnt() -> None:
    """Training raises mIoU above that of the background everywhere, with a network of a few convolutions."""
    config = DataConfig(source="scenes", validation=20, images=100, size=16, classes=2)
    dataset = load_data(config)
    kept, held_out = split(dataset, 20, None, seed=0)
    assert sorted([*kept, *held_out]) == list(range(100))
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=4, dilation=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 3, 3, padding=1),
    )  # fmt: skip
    train = TrainConfig(epochs=12, batch_size=8, lr=0.1)
    data = on_device(dataset, CPU, "train")
    trainer = Trainer(model, data, kept, train, Augmentation(flip=True, crop_padding=2), seed=0, precision="fp32")
    for epoch in range(1, 13):
        trainer.run_epoch(epoch)
    score = evaluate(model, data, index=torch.from_numpy(held_out), batch_size=20, precision="fp32")
    everywhere = brute_force([0] * 20 * 16**2, dataset.labels[held_out].flatten().tolist(), [0, 1, 2])
    assert score.miou is not None
    assert everywhere is not None
    assert score.miou > everywhere + 0.1
