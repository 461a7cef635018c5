import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trials.augmentation import EpochPlan, alter, augment, augment_labels, plan_epoch
from trials.data import Augmentation
from trials.train import mixed_cross_entropy

CPU = torch.device("cpu")
PLAIN = Augmentation(flip=False, crop_padding=0)
EVERYTHING = Augmentation(flip=True, crop_padding=2, crop="reflect", cutout=3)


def random_images(dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 3, 5, 6), dtype=np.uint8)).to(dtype)


def drawn(plan: EpochPlan) -> dict[str, Tensor]:
    return {name: value for name, value in vars(plan).items() if value is not None}


def test_a_reflected_crop_is_one_of_the_image_that_numpy_pads_so() -> None:
    how = Augmentation(flip=False, crop_padding=3, crop="reflect")
    plan = plan_epoch(np.arange(30), how, 0, 1, CPU)
    padded = np.pad(random_images().numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    for image, place, top, left in zip(
        augment(random_images(), plan, how), plan.order, plan.top, plan.left, strict=True
    ):
        assert np.array_equal(image, padded[place, :, top : top + 5, left : left + 6])


def test_a_mask_is_reflected_with_its_image() -> None:
    how = Augmentation(flip=True, crop_padding=3, crop="reflect")
    masks = random_images()[:, 0] % 4 + 1
    plan = plan_epoch(np.arange(30), how, 0, 1, CPU)
    images, labels = augment(masks[:, None], plan, how), augment_labels(masks, plan, how)
    assert torch.equal(images[:, 0].long(), labels)
    assert 0 not in labels  # nothing comes in that is not the image


@pytest.mark.parametrize("side", [1, 2, 3, 5])
def test_a_hole_is_a_square_around_a_pixel_as_far_as_it_lies_in_the_image(side: int) -> None:
    how = Augmentation(flip=False, crop_padding=0, cutout=side)
    plan = plan_epoch(np.arange(30), how, 0, 1, CPU)
    images = random_images(torch.float32) + 1  # nowhere 0
    assert plan.hole is not None
    for cut, image, (down, across) in zip(alter(images, plan, how), images, plan.hole.tolist(), strict=True):
        row, column = int(down * 5) - side // 2, int(across * 6) - side // 2
        expected = image.clone()
        expected[:, max(0, row) : max(0, row + side), max(0, column) : max(0, column + side)] = 0
        assert torch.equal(cut, expected)


def test_the_middle_of_a_hole_may_be_any_pixel() -> None:
    how = Augmentation(flip=False, crop_padding=0, cutout=1)
    plan = plan_epoch(np.zeros(600, dtype=np.int64), how, 0, 1, CPU)
    holes = alter(torch.ones(600, 1, 5, 6), plan, how) == 0
    assert holes.sum((1, 2, 3)).tolist() == [1] * 600
    assert holes.any(0).all()


def test_an_image_is_mixed_with_the_one_before_it_by_its_share() -> None:
    images = random_images(torch.float32)
    plan = plan_epoch(np.arange(30), PLAIN, 0, 1, CPU, mixup=0.4).batch(4, 8)
    assert plan.share is not None
    mixed = alter(images[:8], plan, PLAIN)
    for place, share in enumerate(plan.share.tolist()):
        torch.testing.assert_close(mixed[place], share * images[place] + (1 - share) * images[(place - 1) % 8])


@pytest.mark.parametrize("shape", [(), (4, 5)])
def test_the_loss_of_mixed_images_is_that_of_mixed_targets(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits, labels, share = torch.randn(6, 3, *shape), torch.randint(0, 3, (6, *shape)), torch.rand(6)
    smooth = 0.1 / 3 + 0.9 * F.one_hot(labels, 3).double()  # classes last
    targets = torch.stack(
        [share[i].double() * smooth[i] + (1 - share[i].double()) * smooth[(i - 1) % 6] for i in range(6)]
    )
    log_p = logits.double().log_softmax(1).movedim(1, -1)
    expected = -(targets * log_p).sum(-1).mean()
    assert mixed_cross_entropy(logits, labels, labels.roll(1, 0), share, 0.1).item() == pytest.approx(expected.item())


def test_shares_have_the_mean_and_variance_of_their_beta_distribution() -> None:
    shares = plan_epoch(np.arange(20_000), PLAIN, 0, 1, CPU, mixup=0.2).share
    assert shares is not None
    variance = 1 / (4 * (2 * 0.2 + 1))  # of Beta(a, a)
    assert shares.mean().item() == pytest.approx(0.5, abs=5 * (variance / 20_000) ** 0.5)
    assert shares.var().item() == pytest.approx(variance, rel=0.05)


def flips(epoch: int, seed: int = 0) -> dict[int, bool]:
    how, index = Augmentation(flip=True, crop_padding=0), np.array([3, 5, 8, 13, 21, 34, 55, 89])
    plan = plan_epoch(index, how, seed, epoch, CPU, flip="alternating")
    return dict(sorted(zip(plan.order.tolist(), plan.flip.tolist(), strict=True)))


def test_alternating_flips_show_an_image_mirrored_in_every_other_epoch() -> None:
    first = flips(1)
    assert set(first.values()) == {True, False}
    assert flips(2) == {place: not mirrored for place, mirrored in first.items()}
    assert flips(3) == first
    assert any(flips(1, seed) != first for seed in range(1, 4))


def test_alternating_flips_do_nothing_to_images_that_are_not_mirrored() -> None:
    assert not plan_epoch(np.arange(30), PLAIN, 0, 1, CPU, flip="alternating").flip.any()


def test_what_is_drawn_repeats_with_seed_and_epoch_and_differs_between_them() -> None:
    plans = [
        drawn(plan_epoch(np.arange(30), EVERYTHING, seed, epoch, CPU, mixup=1.0))
        for seed, epoch in ((3, 2), (3, 2), (3, 1), (2, 2))
    ]
    for name, values in plans[0].items():
        assert torch.equal(values, plans[1][name])
        assert not torch.equal(values, plans[2][name])
        assert not torch.equal(values, plans[3][name])


def test_what_a_setting_adds_leaves_the_other_numbers_as_they_were() -> None:
    plain = Augmentation(flip=True, crop_padding=2)
    before = drawn(plan_epoch(np.arange(30), plain, 0, 1, CPU))
    after = drawn(plan_epoch(np.arange(30), EVERYTHING, 0, 1, CPU, mixup=0.2))
    assert set(after) - set(before) == {"hole", "share"}
    for name, values in before.items():
        assert torch.equal(values, after[name])


def test_without_holes_and_mixtures_the_images_stay_the_same_tensor() -> None:
    images = random_images(torch.float32)
    assert alter(images, plan_epoch(np.arange(30), PLAIN, 0, 1, CPU), PLAIN) is images
