"""The recipe of a semantic segmentation: where the images are, and what is cut out of them."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from search_spaces import InputError
from search_spaces.config import Config
from trials.retrain.recipe import Recipe
from trials.retrain.task import Setting

if TYPE_CHECKING:
    from trials.detection.semantic import Semantic

Three = Annotated[list[float], Field(min_length=3, max_length=3)]


class PixelsConfig(Config):
    """Pascal VOC's folders: `JPEGImages`, `SegmentationClass`, and lists of images by year and set."""

    source: Literal["voc"]
    """PNG files whose values are classes; 255 counts nowhere."""
    dir: str = "voc"
    """The folder that holds `VOCdevkit`."""
    train: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: ["2012/train"])
    """Sets to train on, `<year>/<set>`."""
    val: str = "2012/val"
    """The set that is scored."""
    classes: int | None = Field(None, ge=2, le=255)
    """The background included. Not given: as many as the training images have, which are all read for it."""


class SegmentationRecipe(Recipe):
    """How a semantic segmentation is trained in full."""

    task: Literal["segmentation"]
    """What is trained."""
    data: PixelsConfig
    """The images and the classes of their pixels."""
    size: int = Field(480, ge=16, le=10_000)
    """Height and width of a training crop; what lies outside the image counts nowhere. Scored are whole images."""
    scale: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(default_factory=lambda: [0.5, 2.0])
    """Least and greatest factor that a training image is resized by before it is cropped."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability that a training image is mirrored."""
    mean: Three = Field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Taken from each channel of images between 0 and 1; ImageNet's."""
    std: Three = Field(default_factory=lambda: [0.229, 0.224, 0.225])
    """Each channel is divided by it; ImageNet's."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    frozen_stages: int = Field(0, ge=0)
    """So many stages of the backbone are not trained, the stem with the first; 0: all are."""
    partial: bool = False
    """Train without what of the placement does not fit, instead of refusing."""

    @model_validator(mode="after")
    def _fits_segmentation(self) -> "SegmentationRecipe":
        if not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"`scale` must be two ascending positive factors, got {self.scale}")
        if min(self.std) <= 0:
            raise InputError(f"`std` must be positive, got {self.std}")
        return self

    def prepare(self, setting: Setting) -> "Semantic":
        """Return the segmentation in one process of the training. Raises InputError."""
        from trials.detection.semantic import Semantic  # it imports this file

        return Semantic(self, setting)
