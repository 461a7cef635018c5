"""The recipe of a classification: where the images are, what is done to them, and the loss."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from search_spaces import InputError
from search_spaces.config import Config
from trials.data import DataConfig
from trials.retrain.recipe import Recipe
from trials.retrain.task import Setting, Task

if TYPE_CHECKING:
    from trials.retrain.classification import Images


class ImageNetConfig(Config):
    """ImageNet, or anything that lies on disk as it does; see docs/retrain.md for the layouts."""

    source: Literal["imagenet"]
    """`train/<class>/*.JPEG` and `val/<class>/*.JPEG`, the archives as they are published, or WebDataset shards."""
    dir: str = "imagenet"
    """The folder that holds them."""
    decoder: Literal["torchvision", "pillow", "nvjpeg"] = "torchvision"
    """What decodes: libjpeg-turbo through torchvision or Pillow in worker processes, or the GPU."""
    cache: int | None = Field(None, ge=32, le=1024)
    """Keep all images decoded, with their shorter side this long, in one file beside them; None: decode them anew in
    each epoch."""


class MemoryConfig(Config):
    """Images that fit into the device's memory, where they are augmented."""

    source: Literal["cifar10", "cifar100", "digits", "folder"]
    """As in an experiment's `data`. All training images are trained on, and the test images scored."""
    dir: str = "data"
    """The folder that holds them."""
    size: int | None = Field(None, ge=1)
    """As in an experiment's `data`."""
    flip: bool | None = None
    """Mirror training images at random. Not given: digits no, others yes."""
    crop_padding: int | None = Field(None, ge=0)
    """Shift training images by up to so many pixels. Not given: an eighth of their size."""
    crop: Literal["zero", "reflect"] = "zero"
    """What comes in where an image is shifted."""
    cutout: int = Field(0, ge=0)
    """Side of the square in pixels that is cut out of each training image; 0: none."""

    @property
    def of_trials(self) -> DataConfig:
        """The same images as a trial's `data`."""
        return DataConfig(validation=1, **self.model_dump())


class ResizingConfig(Config):
    """Progressive resizing: small images first (Howard et al., DAWNBench 2018; Tan and Le, arXiv:2104.00298)."""

    start: int = Field(ge=32)
    """Pixels up to epoch `from_epoch`."""
    end: int = Field(ge=32)
    """Pixels from epoch `to_epoch` on; between them in a line, rounded to `multiple`."""
    from_epoch: int = Field(ge=0)
    """Counted from 0."""
    to_epoch: int = Field(ge=0)
    """Counted from 0."""
    multiple: int = Field(32, ge=1)
    """Sizes are multiples of it."""

    @model_validator(mode="after")
    def _fits(self) -> "ResizingConfig":
        if self.to_epoch < self.from_epoch:
            raise InputError(f"`to_epoch` must be at least `from_epoch` ({self.from_epoch}), got {self.to_epoch}")
        return self


class CropConfig(Config):
    """What is cut out of images on disk."""

    train_size: int = Field(224, ge=32)
    """Height and width of a training crop in pixels."""
    resizing: ResizingConfig | None = None
    """In place of `train_size`: sizes that change from epoch to epoch."""
    scale: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(default_factory=lambda: [0.08, 1.0])
    """Least and greatest share of the image's area in a training crop."""
    eval_resize: int = Field(256, ge=32)
    """What the shorter side is brought to before scoring."""
    eval_size: int = Field(224, ge=32)
    """Height and width of the central crop that is scored."""
    eval_flip: bool = False
    """Score the mean of the logits of the image and its mirror image."""

    @model_validator(mode="after")
    def _fits(self) -> "CropConfig":
        if self.eval_size > self.eval_resize:
            raise InputError(f"`eval_size` must be at most `eval_resize` ({self.eval_resize}), got {self.eval_size}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"`scale` must be two ascending shares in (0, 1], got {self.scale}")
        return self


class AugmentConfig(Config):
    """What happens to training images beside crop and flip."""

    policy: Literal["none", "autoaugment", "autoaugment_cifar10", "randaugment", "trivialaugment"] = "none"
    """AutoAugment (arXiv:1805.09501), RandAugment (arXiv:1909.13719) or TrivialAugment (arXiv:2103.10158)."""
    erasing: float = Field(0.0, ge=0, le=1)
    """Probability of random erasing (arXiv:1708.04896)."""
    mixup: float = Field(0.0, ge=0)
    """Alpha of mixup (arXiv:1710.09412); 0: none. With `cutmix` too, one of the two is drawn for each micro-batch."""
    cutmix: float = Field(0.0, ge=0)
    """Alpha of CutMix (arXiv:1905.04899); 0: none."""
    unmixed_epochs: int = Field(0, ge=0)
    """Last epochs without mixup and CutMix."""
    repeats: int = Field(1, ge=1)
    """Repeated augmentation (arXiv:1901.09335): so many differing copies of each image of a batch, and as many fewer
    images in an epoch."""


class LossConfig(Config):
    """What is minimised."""

    kind: Literal["cross_entropy", "bce"] = "cross_entropy"
    """`bce`: a binary cross-entropy for each class (arXiv:2110.00476), the mean over classes and images."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""


class ClassificationRecipe(Recipe):
    """How a classifier is trained in full."""

    task: Literal["classification"]
    """What is trained."""
    data: Annotated[ImageNetConfig | MemoryConfig, Field(discriminator="source")]
    """The images."""
    crop: CropConfig = CropConfig()
    """What is cut out of images on disk; images in memory are shifted as `data` says."""
    augment: AugmentConfig = AugmentConfig()
    """What else happens to training images."""
    loss: LossConfig = LossConfig()
    """What the training minimises."""

    @model_validator(mode="after")
    def _fits(self) -> "ClassificationRecipe":
        if self.epochs is None:
            raise InputError("a classification's length is given in `epochs`")
        if isinstance(self.data, MemoryConfig) and self.crop != CropConfig():
            raise InputError("`crop` is for images on disk; those in memory are shifted by `data: {crop_padding: ...}`")
        return self

    @property
    def num_epochs(self) -> int:
        """Passes over the training images."""
        assert self.epochs is not None
        return self.epochs

    def prepare(self, setting: Setting) -> "Task[Images]":
        """Return the classification in one process of the training. Raises InputError."""
        from trials.retrain.classification import Classification  # it imports this file

        return Classification(self, setting)
