"""Scenes as a data set for torchvision's detectors: the same images as for segmentation, with boxes and masks."""

import torch
from torch import Tensor
from torch.utils import data

from trials.scenes import SceneSet, draw_scene

Target = dict[str, Tensor | int]


class SceneDetection(data.Dataset[tuple[Tensor, Target]]):
    """Scenes in torchvision's format of detection, each drawn anew when it is asked for.

    An item is the image (3, H, W), float32 in [0, 1], and `boxes` (n, 4), float32 xyxy in pixels; `labels` (n,), int64
    from 1; `masks` (n, H, W), uint8; `image_id`, the image's number. No image is without objects. A detector needs
    `classes: shapes + 1`.

    Args:
        scenes: which scenes.
        test: those for testing, instead of those to train and validate on.
    """

    def __init__(self, scenes: SceneSet, *, test: bool = False) -> None:
        self._scenes = scenes
        self._numbers = scenes.test_numbers if test else scenes.train_numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, position: int) -> tuple[Tensor, Target]:
        number = self._numbers[position]
        scene = draw_scene(self._scenes, number)
        target: Target = {
            "boxes": torch.from_numpy(scene.boxes),
            "labels": torch.from_numpy(scene.labels),
            "masks": torch.from_numpy(scene.masks).to(torch.uint8),
            "image_id": number,
        }
        return torch.from_numpy(scene.image).float() / 255, target
