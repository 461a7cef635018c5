"""The images of a training, found again in another process."""

from typing import Any

from nas.export.retrained_images import RetrainedImages
from nas.export.study_images import StudyImages
from nas.export.trained import TrainedImages

_KINDS: dict[str, type[StudyImages] | type[RetrainedImages]] = {"study": StudyImages, "retrained": RetrainedImages}


def identify(images: TrainedImages) -> dict[str, Any]:
    """Return plain data from which `restore` finds the images."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(images, cls))
    return {"kind": kind, "identity": images.identity}


def restore(identified: dict[str, Any]) -> TrainedImages:
    """Return the images that `identify` told of."""
    return _KINDS[identified["kind"]].restore(identified["identity"])
