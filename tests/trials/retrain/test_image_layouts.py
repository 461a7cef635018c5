"""The layouts that ImageNet may lie in: folders, published archives, WebDataset shards."""

import io
import os
import signal
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from make_imagenet import draw_jpeg, make_imagenet, wnid
from PIL import Image

from search_spaces import InputError
from trials.retrain.batching import Part
from trials.retrain.decoding import decode, jpeg_decoder
from trials.retrain.disk_images import find_images
from trials.retrain.image_cache import cached
from trials.retrain.image_files import ImageSet
from trials.retrain.place import Place
from trials.retrain.reading import read_ahead

HERE = Place(torch.device("cpu"))
SMALL = ((20, 30),)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def write_shards(folder: Path, images: Path) -> None:
    """Write the images of a folder as shards of 5, in an order of their own."""
    for split in ("train", "val"):
        paths = sorted((images / split).glob("*/*.JPEG"), key=lambda path: path.name[::-1])
        (folder / split).mkdir(parents=True)
        for number, start in enumerate(range(0, len(paths), 5)):
            with tarfile.open(folder / split / f"{split}-{number:06d}.tar", "w") as archive:
                for path in paths[start : start + 5]:
                    add(archive, f"{path.stem}.jpg", path.read_bytes())
                    add(archive, f"{path.stem}.cls", str(int(path.parent.name[1:])).encode())


def pairs(found: ImageSet) -> tuple[set[tuple[bytes, int]], ...]:
    return tuple(
        {(files.read(number), int(label)) for number, label in enumerate(files.labels)}
        for files in (found.train, found.val)
    )


def test_shards_hold_the_images_and_classes_of_the_folders_they_were_made_from(tmp_path: Path) -> None:
    make_imagenet(tmp_path / "folders", classes=3, train=4, val=2, sizes=SMALL)
    write_shards(tmp_path / "shards", tmp_path / "folders")
    (tmp_path / "shards" / "classes.txt").write_text("".join(f"{wnid(label)}\n" for label in range(3)))
    folders, shards = (find_images(tmp_path / name, HERE) for name in ("folders", "shards"))
    assert pairs(folders) == pairs(shards)
    assert folders.classes == shards.classes == tuple(map(wnid, range(3)))
    again = find_images(tmp_path / "shards", HERE)  # by the index that was left beside them
    assert len(list((tmp_path / "shards").glob(".index-*"))) == 2
    assert (again.sha256, pairs(again)) == (shards.sha256, pairs(shards))


def test_a_torn_shard_is_named(tmp_path: Path) -> None:
    make_imagenet(tmp_path / "folders", classes=2, train=2, val=1, sizes=SMALL)
    write_shards(tmp_path / "shards", tmp_path / "folders")
    path = tmp_path / "shards" / "train" / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"train-000000.tar: not a shard"):
        find_images(tmp_path / "shards", HERE)


def test_published_archives_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import imagenet

    rng = np.random.default_rng(0)
    with tarfile.open(tmp_path / "ILSVRC2012_img_train.tar", "w") as archive:
        for label in range(2):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as members:
                for number in range(3):
                    add(members, f"{wnid(label)}_{number}.JPEG", draw_jpeg(label, rng, SMALL))
            add(archive, f"{wnid(label)}.tar", inner.getvalue())
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(2):
            add(archive, f"ILSVRC2012_val_{number}.JPEG", draw_jpeg(number, rng, SMALL))
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"")
    # The checksums and the table in the development kit are those of the real archives.
    monkeypatch.setattr(imagenet, "_verify_archive", lambda *_: None)
    monkeypatch.setattr(imagenet, "parse_devkit_archive", lambda *_: None)
    monkeypatch.setattr(imagenet, "load_meta_file", lambda *_: ({}, [wnid(1), wnid(0)]))
    found = find_images(tmp_path, HERE)
    assert (len(found.train.labels), found.val.labels.tolist()) == (6, [0, 1])
    assert found.val.name(0).endswith("n00000000/ILSVRC2012_val_1.JPEG")
    monkeypatch.setattr(imagenet, "parse_train_archive", lambda *_, **__: pytest.fail("unpacked again"))
    assert find_images(tmp_path, HERE).sha256 == found.sha256


def test_an_archive_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz missing"):
        find_images(tmp_path, HERE)


def test_a_folder_without_images_is_answered_with_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images in a known layout. Allowed:\n  - train/<class>"):
        find_images(tmp_path, HERE)
    with pytest.raises(InputError, match="no such folder of images; give --data-dir"):
        find_images(tmp_path / "missing", HERE)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "val" / "n9").mkdir(), "n9: there is no class of this name in"),
        (lambda folder: (folder / "train" / "n9").mkdir(), "n9: holds no image"),
        (lambda folder: (folder / "val").rename(folder / "test"), "expected val/<class>"),
    ],
)
def test_folders_that_do_not_fit_are_refused(tmp_path: Path, break_it: object, message: str) -> None:
    make_imagenet(tmp_path, classes=2, train=1, val=1, sizes=SMALL)
    break_it(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        find_images(tmp_path, HERE)


def test_what_is_called_jpeg_and_is_a_png_or_cmyk_is_read_as_rgb() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    for mode, kind in (("RGB", "PNG"), ("CMYK", "JPEG"), ("L", "JPEG"), ("RGB", "JPEG")):
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, kind)
        image = decode(buffer.getvalue(), "x")
        assert (image.shape, image.dtype) == ((3, 8, 8), torch.uint8)
        if mode != "L":
            assert (image.float().mean((1, 2)) - torch.tensor([250.0, 10.0, 10.0])).abs().max() < 20


def test_both_decoders_give_the_same_image() -> None:
    data = draw_jpeg(0, np.random.default_rng(0), ((40, 60),))
    one, other = decode(data, "x").int(), decode(data, "x", with_pillow=True).int()
    assert (one - other).abs().max() <= 2  # two builds of libjpeg


def test_a_torchvision_without_decoders_is_told_of_and_pillow_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw_jpeg(0, np.random.default_rng(0), ((8, 8),))
    monkeypatch.setitem(sys.modules, "torchvision.io", ModuleType("torchvision.io"))
    jpeg_decoder.cache_clear()
    with pytest.raises(InputError, match=r"decodes no JPEGs .* use `data: {decoder: pillow}`"):
        decode(data, "x")
    assert decode(data, "x", with_pillow=True).shape == (3, 8, 8)
    jpeg_decoder.cache_clear()


def test_the_cache_holds_images_scaled_to_its_side(tmp_path: Path) -> None:
    class Two:
        labels = np.array([0, 1])

        def load(self, number: int) -> torch.Tensor:
            return torch.full((3, 100, 50) if number else (3, 30, 60), 7 + number, dtype=torch.uint8)

    kept = cached(Two(), tmp_path / "cache", 40, HERE, 0)
    assert [tuple(kept.load(number).shape) for number in (0, 1)] == [(3, 30, 60), (3, 80, 40)]
    assert [int(kept.load(number).unique()) for number in (0, 1)] == [7, 8]


def test_workers_give_what_one_process_gives_in_the_same_order_and_draw_nothing() -> None:
    parts = [Part(1, range(start, start + 2), np.arange(start, start + 2)) for start in range(0, 20, 2)]
    before = torch.get_rng_state()
    alone, helped = (list(read_ahead(doubled, parts, workers)) for workers in (0, 2))
    assert [tensor.tolist() for tensor in helped] == [tensor.tolist() for tensor in alone]
    assert alone[3].tolist() == [12, 14]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_reader_that_is_killed_is_told_with_what_may_help() -> None:
    parts = [Part(1, range(1), np.arange(1))]
    with pytest.raises(InputError, match=r"a process that reads images was killed, .* give fewer --workers"):
        list(read_ahead(killed, parts, 1))


def killed(_: Part) -> torch.Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def doubled(part: Part) -> torch.Tensor:
    return torch.from_numpy(2 * part.items)
