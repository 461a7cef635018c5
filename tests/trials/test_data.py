import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from torchvision.datasets import CIFAR10

from search_spaces import HostConfig, InputError
from trials import DataConfig, Dataset, check_images, known_images, load_data
from trials.cifar import _averaged
from trials.data import Augmentation, augmentation


def test_the_digits_have_a_stratified_test_split_of_a_fifth() -> None:
    digits = load_data(DataConfig(source="digits", validation=360))
    assert digits.images.shape == (1797 - 360, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.images.dtype == np.uint8
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    every = np.bincount(digits.labels) + np.bincount(digits.test_labels)
    assert (abs(np.bincount(digits.test_labels) - 360 * every / 1797) < 1).all()


def test_no_digit_is_both_trained_and_tested_on() -> None:
    from sklearn.datasets import load_digits

    digits = load_data(DataConfig(source="digits", validation=360))
    scans = np.concatenate([digits.images, digits.test_images]).reshape(1797, -1)
    originals = np.rint(load_digits().data * 255 / 16)
    assert sorted(map(tuple, scans.tolist())) == sorted(map(tuple, originals.tolist()))


def test_a_data_set_is_loaded_once_per_process() -> None:
    first = load_data(DataConfig(source="digits", validation=100))
    assert load_data(DataConfig(source="digits", validation=360, training=50)) is first


def test_what_is_known_before_reading_is_what_is_read() -> None:
    config = DataConfig(source="digits", validation=360)
    digits = load_data(config)
    read = {"classes": len(digits.classes), "channels": digits.channels, "input": digits.size, "head": digits.task}
    assert known_images(config) == read


def test_the_hash_of_a_data_set_changes_with_one_pixel_or_label() -> None:
    images, labels = np.zeros((2, 1, 3, 3), dtype=np.uint8), np.array([0, 1])
    brighter = images.copy()
    brighter[1, 0, 2, 2] = 1
    sets = [(images, labels), (brighter, labels), (images, labels[::-1])]
    assert len({Dataset(x, y, images, labels, ("a", "b")).sha256 for x, y in sets}) == 3
    assert Dataset(images, labels, images, labels, ("a", "b")).sha256 == (
        Dataset(images.copy(), labels, images, labels, ("a", "b")).sha256
    )


def test_mean_and_deviation_are_those_of_the_images_per_channel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1500, 2, 3, 3), dtype=np.uint8)
    images[:, 1] = 7
    labels = np.zeros(1500, dtype=np.int64)
    mean, std = Dataset(images, labels, images, labels, ("a",)).mean_std
    assert mean == pytest.approx((images[:, 0].mean() / 255, 7 / 255))
    assert std == pytest.approx((images[:, 0].std() / 255, 1 / 255))  # no contrast: one grey level


def test_a_host_that_does_not_read_the_images_is_refused() -> None:
    digits = load_data(DataConfig(source="digits", validation=360))
    with pytest.raises(InputError, match="`channels: 3`, `input: 32`, but the images need `channels: 1`, `input: 8`"):
        check_images(HostConfig(name="resnet20"), digits)


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({"source": "digits"}, 8, Augmentation(flip=False, crop_padding=1)),
        ({"source": "cifar10"}, 32, Augmentation(flip=True, crop_padding=4)),
        ({"source": "cifar10", "size": 16}, 16, Augmentation(flip=True, crop_padding=2)),
        ({"source": "folder"}, 64, Augmentation(flip=True, crop_padding=8)),
        ({"source": "digits", "crop": "reflect", "cutout": 8}, 8, Augmentation(False, 1, crop="reflect", cutout=8)),
        ({"source": "cifar100", "flip": False, "crop_padding": 0}, 32, Augmentation(flip=False, crop_padding=0)),
    ],
)
def test_augmentation_has_the_defaults_of_its_source(
    settings: dict[str, object], size: int, expected: Augmentation
) -> None:
    assert augmentation(DataConfig.model_validate({"validation": 10} | settings), size) == expected


def test_a_size_without_effect_is_refused() -> None:
    with pytest.raises(ValidationError, match="not for `source: digits`"):
        DataConfig(source="digits", validation=10, size=8)
    with pytest.raises(ValidationError, match="must be one of 32, 16, 8, got 24"):
        DataConfig(source="cifar10", validation=10, size=24)


def test_holes_in_scenes_are_refused() -> None:
    with pytest.raises(ValidationError, match="`cutout` is for images with one class each"):
        DataConfig(source="scenes", validation=1, cutout=4)


def write_cifar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write a CIFAR-10 of 60 images in torchvision's layout; return their pixels, the last 10 for testing."""
    batches = folder / CIFAR10.base_folder
    batches.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3 * 32 * 32), dtype=np.uint8)
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    sums = {}
    for number, name in enumerate(names):
        part = {"data": pixels[10 * number : 10 * number + 10], "labels": list(range(10))}
        (batches / name).write_bytes(pickle.dumps(part))
        sums[name] = hashlib.md5((batches / name).read_bytes()).hexdigest()
    classes = pickle.dumps({"label_names": [f"class {number}" for number in range(10)]})
    (batches / "batches.meta").write_bytes(classes)
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[names[5], sums[names[5]]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": hashlib.md5(classes).hexdigest()})
    return pixels.reshape(60, 3, 32, 32)


def test_cifar_is_read_from_torchvisions_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = write_cifar(tmp_path, monkeypatch)
    dataset = load_data(DataConfig(source="cifar10", dir=str(tmp_path), validation=10))
    assert np.array_equal(dataset.images, pixels[:50])
    assert np.array_equal(dataset.test_images, pixels[50:])
    assert dataset.labels.tolist() == [*range(10)] * 5
    assert dataset.classes[3] == "class 3"


def test_cifar_may_be_averaged_down() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
    small = _averaged(images, 8)
    assert (small.shape, small.dtype) == ((5, 3, 8, 8), np.uint8)
    # Pixel (2, 5) is the mean of rows 8 to 11 and columns 20 to 23.
    assert small[4, 1, 2, 5] == np.rint(images[4, 1, 8:12, 20:24].astype(float).mean())


def test_a_damaged_cifar_names_its_folder_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    (tmp_path / CIFAR10.base_folder / "data_batch_3").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"cifar-10-batches-py: a file is missing or damaged .* delete this folder"):
        load_data(DataConfig(source="cifar10", dir=str(tmp_path), validation=10))


def test_a_failed_download_says_where_it_looked_and_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")  # nobody listens there
    with pytest.raises(InputError) as caught:
        load_data(DataConfig(source="cifar10", dir=str(tmp_path / "new"), validation=10))
    message = str(caught.value)
    assert f"not in {tmp_path / 'new'}" in message
    assert message.count("\n  - ") == 3
    assert not (tmp_path / "new").exists()


@pytest.mark.data
def test_the_real_cifar10_has_its_known_statistics() -> None:
    folder = os.environ.get("NAS_DATA_DIR")
    if not folder or not (Path(folder) / "cifar10" / "train").is_dir():
        pytest.skip("no $NAS_DATA_DIR/cifar10/train/<class>/*.png")
    dataset = load_data(DataConfig(source="cifar10", dir=folder, validation=5000))
    assert np.bincount(dataset.labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1000] * 10
    mean, std = dataset.mean_std
    assert mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4)
    assert std == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-4)
