"""Scenes on disk, and a small network; `quick_recipes` is for all tests here."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from search_spaces import Architecture
from trials import SceneSet
from trials.detection.scene_folders import write_scenes

SCENES = SceneSet(num_images=12, size=64, num_shapes=3, seed=1)


@pytest.fixture(scope="session")
def coco_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 scenes to train on and 3 to score, in COCO's format, whose numbers need the extra `detection`."""
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    folder = tmp_path_factory.mktemp("data") / "coco"
    write_scenes(SCENES, folder, "coco")
    return folder


@pytest.fixture(scope="session")
def voc_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same scenes in VOC's format."""
    folder = tmp_path_factory.mktemp("data") / "voc"
    write_scenes(SCENES, folder, "voc")
    return folder


@pytest.fixture(scope="session")
def scenes() -> SceneSet:
    """What is in the folders."""
    return SCENES


@pytest.fixture(scope="session")
def small() -> Architecture:
    """A narrow ResNet-18 for classification, with attention in its blocks and at the end of a stage."""
    return Architecture.from_dict({
        "host": {"name": "resnet18", "width": 0.25, "input": 64, "classes": 10},
        "placement": {"layer*/branch": {"module": "se", "reduction": 4}, "layer1/end": {"module": "bam"}},
    })  # fmt: skip
