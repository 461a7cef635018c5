import numpy as np
import torch

from trials.augmentation import EpochPlan, augment, plan_epoch
from trials.data import Augmentation

CPU = torch.device("cpu")


def possible(image: np.ndarray, padding: int, flip: bool) -> list[np.ndarray]:
    """Return every crop of the zero-padded image, and every mirrored one."""
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    shifts = range(2 * padding + 1)
    crops = [padded[:, top : top + height, left : left + width] for top in shifts for left in shifts]
    return crops + [crop[:, :, ::-1] for crop in crops] * flip


def random_images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 3, 5, 5), dtype=np.uint8))


def augmented(how: Augmentation, seed: int = 0, epoch: int = 1) -> tuple[torch.Tensor, EpochPlan]:
    plan = plan_epoch(np.arange(30), how, seed, epoch, CPU)
    return augment(random_images(), plan, how), plan


def test_every_augmented_image_is_a_crop_or_flip_of_its_padded_original() -> None:
    result, plan = augmented(Augmentation(flip=True, crop_padding=1))
    for image, position in zip(result.numpy(), plan.order, strict=True):
        candidates = possible(random_images()[position].numpy(), padding=1, flip=True)
        assert any(np.array_equal(image, candidate) for candidate in candidates)


def test_all_shifts_and_both_orientations_occur() -> None:
    how = Augmentation(flip=True, crop_padding=1)
    plan = plan_epoch(np.zeros(1000, dtype=np.int64), how, 0, 1, CPU)
    seen = {image.tobytes() for image in augment(random_images(), plan, how).numpy()}
    assert seen == {crop.tobytes() for crop in possible(random_images()[0].numpy(), padding=1, flip=True)}
    assert len(seen) == 2 * 3 * 3


def test_a_crop_starts_where_the_plan_says() -> None:
    image = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3)
    order, top, left = (torch.tensor([value]) for value in (0, 0, 2))
    plan = EpochPlan(order, top, left, torch.tensor([True]))
    # One row up and one column to the right: the window's corner (0, 2) in the image padded by 1.
    shifted = [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
    mirrored = [row[::-1] for row in shifted]
    assert augment(image, plan, Augmentation(flip=True, crop_padding=1))[0, 0].tolist() == mirrored


def test_without_augmentation_the_images_are_the_originals_in_the_order_of_the_plan() -> None:
    result, plan = augmented(Augmentation(flip=False, crop_padding=0))
    assert torch.equal(result, random_images()[plan.order])


def test_an_epoch_visits_every_training_image_once() -> None:
    index = np.array([3, 5, 8, 13, 21])
    plan = plan_epoch(index, Augmentation(flip=True, crop_padding=1), 0, 1, CPU)
    assert sorted(plan.order.tolist()) == index.tolist()


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    how = Augmentation(flip=True, crop_padding=2)
    first, again = augmented(how, seed=4, epoch=2)[0], augmented(how, seed=4, epoch=2)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, augmented(how, seed=4, epoch=3)[0])
    assert not torch.equal(first, augmented(how, seed=5, epoch=2)[0])


def test_the_order_does_not_depend_on_the_augmentation() -> None:
    ways = (Augmentation(flip=False, crop_padding=0), Augmentation(flip=True, crop_padding=4))
    plain, augmented = (plan_epoch(np.arange(30), how, 0, 1, CPU) for how in ways)
    assert torch.equal(plain.order, augmented.order)
