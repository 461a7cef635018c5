"""What is done to images between their decoding and the loss."""

import pytest
import torch
from torch.nn import functional as F

from search_spaces.yaml_files import parse_yaml, validate
from trials.retrain.classification_recipe import AugmentConfig, CropConfig, LossConfig
from trials.retrain.crops import MEAN, STD, normalised, scoring_transform, train_size, training_transform
from trials.retrain.draws import drawn_for
from trials.retrain.mixing import Mixer, classification_loss

RESIZING = "{resizing: {start: 160, end: 192, from_epoch: 11, to_epoch: 13}}"


def crop(text: str = "{}") -> CropConfig:
    return validate(CropConfig, parse_yaml(text))


def augment(text: str = "{}") -> AugmentConfig:
    return validate(AugmentConfig, parse_yaml(text))


def test_sizes_grow_in_a_line_and_in_steps_of_32() -> None:
    # Up to epoch 11 counted from 0 they are small, from 13 on large; 176, half-way, is rounded to an even number of 32.
    assert [train_size(crop(RESIZING), epoch) for epoch in (1, 12, 13, 14, 16)] == [160, 160, 192, 192, 192]
    assert train_size(crop(), 1) == 224


@pytest.mark.parametrize("policy", ["none", "autoaugment", "autoaugment_cifar10", "randaugment", "trivialaugment"])
def test_a_training_crop_depends_on_the_numbers_of_its_slot_alone(policy: str) -> None:
    transform = training_transform(crop(), augment(f"{{policy: {policy}, erasing: 0.5}}"), 32)
    image = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def drawn(slot: int) -> torch.Tensor:
        with drawn_for(0, 1, 1, slot):
            return transform(image)

    before = torch.get_rng_state()
    assert (drawn(3).shape, drawn(3).dtype) == ((3, 32, 32), torch.uint8)
    assert torch.equal(drawn(3), drawn(3))
    assert len({drawn(slot).numpy().tobytes() for slot in range(6)}) == 6
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_scored_is_the_middle_of_the_scaled_image() -> None:
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    image[:, :, 32:64] = 200  # the central square of 32 columns, and all rows
    scored = scoring_transform(crop("{eval_resize: 64, eval_size: 32}"))(image)
    assert scored.shape == (3, 32, 32)
    assert scored.unique().tolist() == [200]


def test_the_mean_colour_becomes_0_and_a_standard_deviation_1() -> None:
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    pixels = torch.stack([255 * mean, 255 * (mean + std)], 1).reshape(1, 3, 1, 2)
    assert torch.allclose(normalised(pixels, mean, std)[0, :, 0].T, torch.tensor([[0.0] * 3, [1.0] * 3]), atol=1e-5)


def test_images_and_classes_are_mixed_by_the_same_share_until_the_last_epochs() -> None:
    mixer = Mixer(augment("{mixup: 1.0, unmixed_epochs: 2}"), 4, seed=0, epochs=5)
    labels = torch.tensor([0, 1, 2, 3])
    x_BCHW = F.one_hot(labels, 4).float()[:, :, None, None].expand(4, 4, 2, 2)  # each image shows its class
    mixed, shares = mixer(x_BCHW, labels, 3, 8)
    assert torch.allclose(mixed.mean((2, 3)), shares)
    assert shares.sum(1).tolist() == pytest.approx([1] * 4)
    assert 0 < float(shares.max()) < 1
    again, _ = mixer(x_BCHW, labels, 3, 8)
    assert torch.equal(again, mixed)
    for epoch in (4, 5):
        plain, same = mixer(x_BCHW, labels, epoch, 8)
        assert plain is x_BCHW
        assert same is labels


def test_cut_mixtures_have_the_share_of_the_area() -> None:
    mixer, labels = Mixer(augment("{cutmix: 1.0}"), 2, seed=1, epochs=1), torch.tensor([0, 1])
    x_BCHW = labels[:, None, None, None].float().expand(2, 3, 16, 16)
    mixed, shares = mixer(x_BCHW, labels, 1, 0)
    assert torch.allclose(mixed[:, 0].mean((1, 2)), shares[:, 1], atol=1e-6)


def test_losses_of_classes_and_of_shares_agree() -> None:
    logits, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    for text in ("{label_smoothing: 0.1}", "{kind: bce, label_smoothing: 0.1}", "{kind: bce}"):
        config = validate(LossConfig, parse_yaml(text))
        hard, soft = (
            classification_loss(logits, targets, config) for targets in (labels, F.one_hot(labels, 3).float())
        )
        assert float(hard) == pytest.approx(float(soft))
    wanted = F.one_hot(labels, 3).float() * 0.9 + 0.1 / 3
    probabilities = logits.sigmoid()
    by_hand = -(wanted * probabilities.log() + (1 - wanted) * (1 - probabilities).log()).mean()
    config = validate(LossConfig, parse_yaml("{kind: bce, label_smoothing: 0.1}"))
    assert float(classification_loss(logits, labels, config)) == pytest.approx(float(by_hand), rel=1e-5)
