"""The recipe of a detector: where the images are, which detector, and what of its backbone is trained."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from search_spaces import InputError
from search_spaces.config import Config
from trials.detection.freezing import BatchNorms
from trials.retrain.recipe import Recipe
from trials.retrain.task import Setting

if TYPE_CHECKING:
    from trials.detection.detection import Detection


class CocoConfig(Config):
    """COCO's folders, or any others with annotations in its format; all paths are inside `dir`."""

    source: Literal["coco"]
    """One JSON file of instances for each folder of images."""
    dir: str = "coco"
    """The folder that holds them."""
    train_images: str = "train2017"
    """Images to train on."""
    train_annotations: str = "annotations/instances_train2017.json"
    """What is in them."""
    val_images: str = "val2017"
    """Images that are scored."""
    val_annotations: str = "annotations/instances_val2017.json"
    """What is in them."""


class VocConfig(Config):
    """Pascal VOC's folders; boxes only."""

    source: Literal["voc"]
    """XML files, and lists of images by year and set."""
    dir: str = "voc"
    """The folder that holds `VOCdevkit`."""
    train: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: ["2007/trainval", "2012/trainval"])
    """Sets to train on, `<year>/<set>`. Difficult objects are trained on, as Detectron2 does."""
    val: str = "2007/test"
    """The set that is scored."""


class ProposalsConfig(Config):
    """How many regions an R-CNN looks at; torchvision's numbers, which are those of the papers."""

    train: int = Field(2000, ge=1)
    """Proposals that are kept of an image in training."""
    test: int = Field(1000, ge=1)
    """The same in scoring."""
    sampled: int = Field(512, ge=1)
    """Of those in training so many are drawn to learn from, at most a quarter of them objects."""


class DetectionRecipe(Recipe):
    """How a detector is trained in full."""

    task: Literal["detection"]
    """What is trained."""
    head: Literal["fasterrcnn", "maskrcnn", "retinanet", "fcos"]
    """The detector over the architecture's backbone and pyramid."""
    data: Annotated[CocoConfig | VocConfig, Field(discriminator="source")]
    """The images and what is in them."""
    size: int = Field(800, ge=32, le=10_000)
    """To which the shorter side of an image is brought, in pixels."""
    longest: int = Field(1333, ge=32, le=20_000)
    """The most that the longer side may be then; larger images are made smaller."""
    multi_scale: list[int] = Field(default_factory=list)
    """In training, in place of `size`: one of these is drawn for each image. Scored is at `size`, the last of them."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability that a training image is mirrored."""
    frozen_stages: int = Field(1, ge=0)
    """So many stages of the backbone are not trained, the stem with the first; 0: all are."""
    batch_norm: BatchNorms = "keep"
    """The backbone's batch norms: `keep` their statistics but train scales and shifts (MMDetection), `freeze` both
    (torchvision, Detectron2), or `train` all, for backbones that start from nothing and batches that are not tiny."""
    proposals: ProposalsConfig = ProposalsConfig()
    """R-CNNs: how many regions are looked at."""
    partial: bool = False
    """Train without what of the placement does not fit the detector, instead of refusing."""
    compile: Literal[False] = False
    """Not for detectors: every image has its own size, and every step its own number of boxes."""

    @model_validator(mode="after")
    def _fits_detection(self) -> "DetectionRecipe":
        if self.head == "maskrcnn" and self.data.source == "voc":
            raise InputError(
                "`head: maskrcnn` learns from masks of objects, which `source: voc` has not; use COCO's format"
            )
        if self.multi_scale and self.multi_scale[-1] != self.size:
            raise InputError(f"the last of `multi_scale` must be `size` ({self.size}), got {self.multi_scale}")
        if self.longest < max([self.size, *self.multi_scale]):
            raise InputError(f"`longest` must be at least the shorter side, got {self.longest}")
        if self.sync_batch_norm and self.batch_norm != "train":
            raise InputError("`sync_batch_norm: true` needs `batch_norm: train`")
        return self

    def prepare(self, setting: Setting) -> "Detection":
        """Return the detection in one process of the training. Raises InputError."""
        from trials.detection.detection import Detection  # it imports this file

        return Detection(self, setting)
