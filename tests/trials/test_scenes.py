import subprocess
import sys
from collections import Counter
from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt

from trials import DataConfig, SceneSet, draw_scene, load_data
from trials.scene_shapes import SHAPES
from trials.scenes import SIZES, Scene

# Thirds of the logarithm of the range from 6 pixels to 0.8 of the image.
MEDIUM, LARGE = (6 * (0.8 * 48 / 6) ** (third / 3) for third in (1, 2))
SCENES = SceneSet(num_images=10, size=48, num_shapes=len(SHAPES), seed=5)


@cache
def drawn() -> tuple[Scene, ...]:
    return tuple(draw_scene(SCENES, index) for index in range(60))


def test_boxes_masks_and_classes_of_a_scene_say_the_same() -> None:
    for scene in drawn():
        assert len(scene.boxes) == len(scene.labels) == len(scene.masks) > 0
        assert scene.masks.sum(axis=0).max() == 1  # nothing belongs to two
        classes = (scene.masks * scene.labels[:, None, None]).sum(axis=0)
        assert np.array_equal(classes, scene.mask)
        for (left, top, right, bottom), mask in zip(scene.boxes, scene.masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert (left, top) == (columns.min(), rows.min())
            assert (right, bottom) == (columns.max() + 1, rows.max() + 1)


def test_images_and_masks_have_the_shapes_and_types_they_promise() -> None:
    scene = drawn()[0]
    assert (scene.image.shape, scene.image.dtype) == ((3, 48, 48), np.uint8)
    assert (scene.mask.shape, scene.mask.dtype) == ((48, 48), np.uint8)
    assert (scene.boxes.dtype, scene.labels.dtype, scene.masks.dtype) == (np.float32, np.int64, np.bool_)


def test_every_object_keeps_some_visible_pixels() -> None:
    assert min(mask.sum() for scene in drawn() for mask in scene.masks) >= 8


def test_all_shapes_and_all_sizes_occur_and_the_ground_is_seen_in_every_image() -> None:
    labels = Counter(label for scene in drawn() for label in scene.labels.tolist())
    assert set(labels) == set(range(1, len(SHAPES) + 1))
    sides = [side for scene in drawn() for side in (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1)]
    sizes = Counter("small" if side < MEDIUM else "medium" if side < LARGE else "large" for side in sides)
    assert set(sizes) == set(SIZES)
    assert min(sizes.values()) > 0.15 * len(sides)
    assert max(sides) / min(sides) > 8
    assert all((scene.mask == 0).any() for scene in drawn())


def test_the_ground_of_a_scene_is_not_the_part_of_one_colour() -> None:
    spreads = [scene.image[:, scene.mask == 0].std(axis=1).max() for scene in drawn()]
    assert np.median(spreads) > 10


def test_every_pixel_counts_with_its_object_or_the_nearest() -> None:
    for scene in drawn()[:5]:
        sides = (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1)
        sizes = np.where(sides < MEDIUM, 0, np.where(sides < LARGE, 1, 2))
        distances = np.stack([distance_transform_edt(~mask) for mask in scene.masks])
        scales = scene.scales()
        for size in range(3):
            of_size = distances[sizes == size]
            nearest = of_size.min(axis=0) if len(of_size) else np.full((48, 48), np.inf)
            # Of several that are equally near, any will do.
            assert (nearest[scales == size] == distances.min(axis=0)[scales == size]).all()


def test_a_scene_depends_on_its_seed_and_number_alone() -> None:
    other_order = {index: draw_scene(SCENES, index) for index in (7, 3)}
    more = draw_scene(SceneSet(num_images=999, size=48, num_shapes=len(SHAPES), seed=5), 3)
    for scene in (other_order[3], more):
        assert np.array_equal(scene.image, drawn()[3].image)
        assert np.array_equal(scene.masks, drawn()[3].masks)
    other = draw_scene(SceneSet(num_images=10, size=48, num_shapes=len(SHAPES), seed=6), 3)
    assert not np.array_equal(other.image, drawn()[3].image)


def test_another_process_draws_the_same_scenes() -> None:
    code = "from trials import *; print(load_data(DataConfig(source='scenes', validation=1, images=6, size=32)).sha256)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == load_data(DataConfig(source="scenes", validation=1, images=6, size=32)).sha256


def test_neither_colour_nor_size_tells_the_class() -> None:
    scenes = [draw_scene(SceneSet(size=32), index) for index in range(400)]
    objects = [
        (label, scene.image[:, mask].mean(axis=1), mask.any(axis=0).sum())
        for scene in scenes
        for label, mask in zip(scene.labels, scene.masks, strict=True)
    ]
    for label in range(1, 6):
        colours = np.array([colour for own, colour, _ in objects if own == label])
        every = np.array([colour for _, colour, _ in objects])
        # The mean of n colours lies within some standard errors of that of all.
        error = every.std(axis=0) / np.sqrt(len(colours))
        assert (np.abs(colours.mean(axis=0) - every.mean(axis=0)) < 5 * error).all()
        assert np.ptp([size for own, _, size in objects if own == label]) > 16


def test_scenes_are_a_data_set_with_a_class_for_each_pixel() -> None:
    config = DataConfig(source="scenes", validation=2, images=9, size=32, classes=3)
    dataset = load_data(config)
    assert dataset.task == "segment"
    assert dataset.classes == ("background", "disc", "rectangle", "triangle")
    assert dataset.images.shape == (9, 3, 32, 32)
    assert dataset.labels.shape == (9, 32, 32)
    assert len(dataset.test_images) == len(dataset.test_labels) == 3  # a quarter of 9, rounded up
    scenes = SceneSet(num_images=9, size=32, num_shapes=3)
    assert np.array_equal(dataset.labels[4], draw_scene(scenes, 4).mask)
    assert np.array_equal(dataset.test_labels[1], draw_scene(scenes, scenes.test_numbers[1]).mask)
    assert set(scenes.test_numbers) & set(scenes.train_numbers) == set()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "cifar10", "images": 100}, "`images` is for `source: scenes`"),
        ({"source": "folder", "seed": 1}, "`seed` is for `source: scenes`"),
        ({"source": "scenes", "size": 8}, "`size` of scenes must be from 16 to 1024, got 8"),
        ({"source": "scenes", "classes": 9}, "less than or equal to 8"),
        ({"source": "scenes", "images": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_without_effect_or_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate({"validation": 10} | settings)


@pytest.mark.parametrize("size", [16, 17, 100])
def test_scenes_of_any_size_can_be_drawn(size: int) -> None:
    for index in range(10):
        assert draw_scene(SceneSet(size=size), index).image.shape == (3, size, size)
