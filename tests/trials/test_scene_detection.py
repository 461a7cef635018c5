import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, masks_to_boxes

from trials import SceneDetection, SceneSet, draw_scene

SCENES = SceneSet(num_images=6, size=64, num_shapes=3, seed=1)


def test_an_item_is_the_scene_in_torchvisions_format() -> None:
    image, target = SceneDetection(SCENES)[4]
    scene = draw_scene(SCENES, 4)
    assert torch.equal((image * 255).round().to(torch.uint8), torch.from_numpy(scene.image))
    assert set(target) == {"boxes", "labels", "masks", "image_id"}
    assert target["image_id"] == 4
    boxes, labels, masks = (torch.as_tensor(target[name]) for name in ("boxes", "labels", "masks"))
    assert (boxes.dtype, labels.dtype, masks.dtype) == (torch.float32, torch.int64, torch.uint8)
    # torchvision's boxes of masks end at the last pixel, ours after it.
    assert torch.equal(masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1]), boxes)
    assert torch.equal((masks * labels[:, None, None]).sum(0), torch.from_numpy(scene.mask).long())


def test_the_test_images_are_others() -> None:
    train, test = SceneDetection(SCENES), SceneDetection(SCENES, test=True)
    assert (len(train), len(test)) == (6, 2)
    assert {test[i][1]["image_id"] for i in range(2)} & {train[i][1]["image_id"] for i in range(6)} == set()
    with pytest.raises(IndexError, match="out of range"):
        train[6]


def test_a_detector_takes_a_training_step_on_scenes() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
    backbone.out_channels = 8  # type: ignore[assignment]
    detector = FasterRCNN(
        backbone,
        num_classes=4,
        min_size=64,
        max_size=64,
        rpn_anchor_generator=AnchorGenerator(((8, 16, 32),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
    )
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.01)
    images, targets = zip(*(SceneDetection(SCENES)[i] for i in range(2)), strict=True)
    losses = detector(list(images), list(targets))
    before = backbone[0].weight.detach().clone()
    sum(losses.values()).backward()
    optimizer.step()
    assert all(loss.isfinite() for loss in losses.values())
    assert set(losses) >= {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert not torch.equal(backbone[0].weight, before)
