"""`nas scenes`, and what `nas retrain` makes of it."""

import json
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def test_scenes_are_drawn_and_trained_on(run: Run, tmp_path: Path) -> None:
    status, drawn, errors = run("scenes", tmp_path / "scenes", "--images", 8, "--classes", 2)
    assert status == 0, errors
    assert "8 images to train on, 2 to score (val2017), 2 classes" in drawn
    (tmp_path / "a.yaml").write_text("host: {name: resnet18, width: 0.25, input: 64}\n")
    (tmp_path / "quick.yaml").write_text(
        "{task: detection, head: retinanet, data: {source: coco}, source: a test, size: 64, longest: 64, epochs: 1,\n"
        "batch_size: 8, optimizer: {lr: 0.01}}\n"
    )
    data = ("--data-dir", tmp_path / "scenes", "--device", "cpu", "--workers", 0, "--json")
    status, text, errors = run(
        "retrain", tmp_path / "a.yaml", tmp_path / "quick.yaml", "--out", tmp_path / "out", *data
    )
    assert status == 0, errors
    record = json.loads(text)
    assert (record["task"], record["num_train"]) == ("detection", 8)
    status, text, errors = run("retrain", tmp_path / "out", "--evaluate", *data)
    assert status == 0, errors
    scored = json.loads(text)
    assert scored["metrics"] == scored["saved"] == record["metrics"]


def test_a_folder_that_exists_is_left_alone(run: Run, tmp_path: Path) -> None:
    status, _, errors = run("scenes", tmp_path)
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert "exists; give another folder" in errors


def test_voc_format_makes_boxes_and_classes_of_pixels(run: Run, tmp_path: Path) -> None:
    status, drawn, errors = run("scenes", tmp_path / "scenes", "--format", "voc", "--images", 10, "--size", 32)
    assert status == 0, errors
    assert "10 images to train on, 3 to score (VOC2007, test), 5 classes" in drawn
    home = tmp_path / "scenes/VOCdevkit/VOC2012"
    assert len(list(home.glob("Annotations/*.xml"))) == len(list(home.glob("SegmentationClass/*.png"))) == 5
