"""What annotation files may hold, and what is said of those that are wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces import InputError
from trials.detection.coco_files import read_coco
from trials.detection.training_images import learnable
from trials.detection.voc_files import read_voc


def write_coco(folder: Path, **changes: Any) -> Path:
    """Write a file of two images; categories have gaps, and the second has a crowd and no other object."""
    data = {
        "images": [
            {"id": 9, "file_name": "b.jpg", "height": 30, "width": 40},
            {"id": 4, "file_name": "a.jpg", "height": 20, "width": 10},
            {"id": 11, "file_name": "c.jpg", "height": 5, "width": 5},
        ],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 90, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 3, "bbox": [0, 0, 1, 9], "iscrowd": 0},
            {"id": 3, "image_id": 4, "category_id": 3, "bbox": [5, 5, 2.5, 1], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "brush"}, {"id": 3, "name": "car"}],
        **changes,
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(data))
    return path


def test_categories_with_gaps_become_classes_without(tmp_path: Path) -> None:
    images = read_coco(tmp_path, write_coco(tmp_path))
    assert (images.classes, images.category_ids) == (("car", "brush"), (3, 90))
    assert images.ids.tolist() == [4, 9, 11]  # CocoDetection sorts them too
    assert images.paths[0] == str(tmp_path / "a.jpg")
    assert images.sizes.tolist() == [[20, 10], [30, 40], [5, 5]]
    first = images.objects(0)
    assert first.boxes.tolist() == [[1, 2, 4, 6], [5, 5, 7.5, 6]]
    assert first.labels.tolist() == [2, 1]
    assert first.set_aside.tolist() == [False, True]
    assert len(images.objects(2)) == 0


def test_images_without_an_object_of_some_size_are_not_trained_on(tmp_path: Path) -> None:
    # The second has one of one pixel's width, the third none; a crowd would do, as in torchvision's script.
    assert learnable(read_coco(tmp_path, write_coco(tmp_path))) == [0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": None}, "is no file of instances: it has no list of `annotations`"),
        ({"images": []}, "names no image"),
        ({"categories": [{"id": 3, "name": "car"}]}, r"image 4 is not described as COCO does: KeyError\(90\)"),
        ({"images": [{"id": 4, "file_name": "a.jpg"}]}, r"image 4 is not described as COCO does: KeyError\('height'\)"),
    ],
)
def test_a_file_that_is_not_as_coco_writes_it_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_coco(tmp_path, **changes)
    with pytest.raises(InputError, match=f"instances.json: {said}"):
        read_coco(tmp_path, path)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.json: cannot be read: No such file.*annotations/.*nas scenes FOLDER"):
        read_coco(tmp_path, tmp_path / "none.json")
    path = write_coco(tmp_path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match=r"instances.json: is not JSON, or damaged"):
        read_coco(tmp_path, path)
    with pytest.raises(InputError, match="gone: no such folder of images"):
        read_coco(tmp_path / "gone", write_coco(tmp_path))


def test_the_digest_changes_with_an_annotation_and_not_with_the_place(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "images").mkdir(parents=True)
    here = read_coco(tmp_path / "here/images", write_coco(tmp_path / "here"))
    there = read_coco(tmp_path / "there/images", write_coco(tmp_path / "there"))
    assert here.digest() == there.digest()
    moved = [{"id": 1, "image_id": 4, "category_id": 90, "bbox": [1, 2, 3, 5], "iscrowd": 0}]
    assert (
        read_coco(tmp_path / "here/images", write_coco(tmp_path / "here", annotations=moved)).digest() != here.digest()
    )


@pytest.fixture
def devkit(voc_scenes: Path, tmp_path: Path) -> Path:
    """A copy of the scenes in VOC's format that may be changed."""
    shutil.copytree(voc_scenes / "VOCdevkit/VOC2007", tmp_path / "VOCdevkit/VOC2007")
    return tmp_path


def test_voc_classes_are_those_that_occur_in_alphabetical_order(devkit: Path) -> None:
    images = read_voc(devkit, ["2007/trainval"])
    assert images.classes == ("disc", "rectangle", "triangle")
    assert len(images) == 6


def test_difficult_objects_are_set_aside(devkit: Path) -> None:
    path = devkit / "VOCdevkit/VOC2007/Annotations/000001.xml"
    before = read_voc(devkit, ["2007/trainval"])
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1", 1))
    after = read_voc(devkit, ["2007/trainval"])
    assert not before.set_aside.any()
    assert np.flatnonzero(after.set_aside).tolist() == [0]


def test_what_is_wrong_in_a_devkit_is_named(devkit: Path) -> None:
    with pytest.raises(InputError, match=r"the set '2007' is not of the form <year>/<set>"):
        read_voc(devkit, ["2007"])
    with pytest.raises(InputError, match=r"VOC2012: no such folder; expected VOCdevkit/VOC<year>/\{Annotations"):
        read_voc(devkit, ["2012/train"])
    with pytest.raises(InputError, match=r"Main/tests.txt: cannot be read: .*sets there: test, train, trainval, val"):
        read_voc(devkit, ["2007/tests"])
    with pytest.raises(InputError, match=r"\d{6}.xml: an object is a '\w+', which is not trained on; classes: cat"):
        read_voc(devkit, ["2007/test"], ["cat"])
    path = devkit / "VOCdevkit/VOC2007/Annotations/000001.xml"
    text = path.read_text()
    path.write_text(text.replace("<xmin>", "<xmin>x"))
    with pytest.raises(InputError, match=r"000001.xml: <bndbox/xmin> must be a number, got 'x"):
        read_voc(devkit, ["2007/trainval"])
    path.write_text(text[:-30])
    with pytest.raises(InputError, match=r"000001.xml: is not XML, or damaged"):
        read_voc(devkit, ["2007/trainval"])
    path.unlink()
    with pytest.raises(InputError, match=r"000001.xml: cannot be read: No such file"):
        read_voc(devkit, ["2007/trainval"])
