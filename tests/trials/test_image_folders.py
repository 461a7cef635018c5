from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces import InputError
from trials.cifar import load_cifar
from trials.image_folders import load_folder


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_folder(folder: Path, shape: tuple[int, ...] = (6, 6, 3)) -> dict[str, np.ndarray]:
    """Write two classes with three training images and one test image each; return the pixels by path."""
    rng = np.random.default_rng(0)
    names = [f"train/{name}/{number}.png" for name in ("cat", "dog") for number in range(3)]
    pixels = {
        name: rng.integers(0, 256, shape, dtype=np.uint8) for name in [*names, "test/cat/0.png", "test/dog/0.png"]
    }
    for name, image in pixels.items():
        save(folder / name, image)
    return pixels


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob(".dec*"))


def test_images_are_read_class_by_class_in_the_order_of_their_names(tmp_path: Path) -> None:
    pixels = make_folder(tmp_path)
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test_labels.tolist() == [0, 1]
    expected = [image for name, image in pixels.items() if name.startswith("train")]
    assert np.array_equal(dataset.images, np.stack(expected).transpose(0, 3, 1, 2))
    assert np.array_equal(dataset.test_images[1].transpose(1, 2, 0), pixels["test/dog/0.png"])


def test_grey_images_stay_grey_if_all_are(tmp_path: Path) -> None:
    pixels = make_folder(tmp_path, shape=(6, 6))
    dataset = load_folder(tmp_path)
    assert dataset.channels == 1
    assert np.array_equal(dataset.images[0, 0], pixels["train/cat/0.png"])


def test_a_grey_image_among_coloured_ones_is_repeated_in_every_channel(tmp_path: Path) -> None:
    make_folder(tmp_path)
    grey = np.arange(36, dtype=np.uint8).reshape(6, 6)
    save(tmp_path / "train/cat/1.png", grey)
    assert np.array_equal(load_folder(tmp_path).images[1], np.stack([grey] * 3))


def test_images_are_scaled_by_the_shorter_side_and_cut_in_the_centre(tmp_path: Path) -> None:
    make_folder(tmp_path)
    # 4 x 12 pixels, the third of four rows of columns white: scaled by 2 to 8 x 24, columns 8 to 15 are kept.
    wide = np.zeros((4, 12), dtype=np.uint8)
    wide[:, 4:8] = 200
    save(tmp_path / "train/cat/0.png", np.stack([wide] * 3, axis=2))
    image = load_folder(tmp_path, size=8).images[0]
    assert image.shape == (3, 8, 8)
    assert (image[:, :, 1:7] == 200).all()


def test_a_size_that_images_have_already_changes_nothing(tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert np.array_equal(load_folder(tmp_path, size=6).images, load_folder(tmp_path).images)


@pytest.mark.parametrize("shape", [(5, 6, 3), (7, 7, 3)])
def test_images_of_other_shapes_are_named_and_need_a_size(tmp_path: Path, shape: tuple[int, ...]) -> None:
    make_folder(tmp_path)
    save(tmp_path / "train/dog/1.png", np.zeros(shape, dtype=np.uint8))
    with pytest.raises(InputError, match=rf"dog/1\.png: is {shape[0]}x{shape[1]} pixels.*give `size`"):
        load_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image", "half"])
def test_a_damaged_image_is_named(tmp_path: Path, content: bytes | str) -> None:
    make_folder(tmp_path)
    path = tmp_path / "train/dog/2.png"
    path.write_bytes(path.read_bytes()[:-60] if isinstance(content, str) else content)
    with pytest.raises(InputError, match=r"train/dog/2\.png: not a readable image, or damaged"):
        load_folder(tmp_path)
    assert kept(tmp_path) == []


def test_images_of_sixteen_bits_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, shape=(6, 6))
    save(tmp_path / "train/cat/0.png", np.full((6, 6), 1000, dtype=np.uint16))
    with pytest.raises(InputError, match=r"cat/0\.png: has more than 8 bits"):
        load_folder(tmp_path)


def test_missing_folders_are_named_with_the_layout_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train: no such folder; expected train/<class>"):
        load_folder(tmp_path)
    make_folder(tmp_path)
    (tmp_path / "train/emu").mkdir()
    with pytest.raises(InputError, match="train/emu: holds no image"):
        load_folder(tmp_path)


def test_a_test_class_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path)
    save(tmp_path / "test/emu/0.png", np.zeros((6, 6, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="test/emu: there is no class of this name"):
        load_folder(tmp_path)


def test_other_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    make_folder(tmp_path)
    for name in ("train/cat/notes.txt", "train/cat/.hidden.png", "train/.DS_Store"):
        (tmp_path / name).write_text("x")
    assert len(load_folder(tmp_path).labels) == 6


def test_decoded_images_are_kept_and_read_back_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path)
    first = load_folder(tmp_path)
    assert len(kept(tmp_path)) == 1
    monkeypatch.setattr("trials.image_folders._decode", None)  # would fail if it were called
    again = load_folder(tmp_path)
    assert again.sha256 == first.sha256
    assert again.images.flags.writeable  # as torch.from_numpy wants it


def test_a_changed_image_is_decoded_again_and_the_old_arrays_go(tmp_path: Path) -> None:
    make_folder(tmp_path)
    load_folder(tmp_path)
    white = np.full((6, 6, 3), 255, dtype=np.uint8)
    save(tmp_path / "train/cat/0.png", white)
    assert (load_folder(tmp_path).images[0] == 255).all()
    assert len(kept(tmp_path)) == 1


def test_arrays_of_two_sizes_are_kept_beside_each_other(tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert [load_folder(tmp_path, size).size for size in (None, 4)] == [6, 4]
    assert len(kept(tmp_path)) == 2


def test_torn_arrays_are_decoded_again(tmp_path: Path) -> None:
    make_folder(tmp_path)
    first = load_folder(tmp_path)
    (kept(tmp_path)[0] / "images.npy").write_bytes(b"torn")
    assert load_folder(tmp_path).sha256 == first.sha256


def test_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise PermissionError("read-only")

    make_folder(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)  # a superuser may write into any folder
    assert len(load_folder(tmp_path).labels) == 6
    assert kept(tmp_path) == []


def test_folders_of_other_images_are_not_cifar(tmp_path: Path) -> None:
    make_folder(tmp_path / "cifar10")
    with pytest.raises(InputError, match=r"not CIFAR-10: found 2 classes of 6x6 images .*`source: folder`"):
        load_cifar(10, tmp_path)
