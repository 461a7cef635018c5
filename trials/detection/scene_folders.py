"""The project's scenes as folders in the formats of COCO and of Pascal VOC, for machines without those data sets.

The same images as `trials.scenes` draws. What is for testing becomes `val2017` and VOC 2007's `test`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from search_spaces import InputError
from trials.detection.scene_jpeg import Progress
from trials.detection.scenes_as_coco import write_coco
from trials.detection.scenes_as_voc import write_voc
from trials.scenes import SceneSet

Format = Literal["coco", "voc"]


def write_scenes(scenes: SceneSet, folder: Path, layout: Format, progress: Progress | None = None) -> None:
    """Write scenes to a folder in one of the formats; the folder appears when all is written, or not at all.

    Raises:
        InputError: the folder exists, or cannot be written to.
    """
    with _whole_folder(folder) as unfinished:
        (write_coco if layout == "coco" else write_voc)(scenes, unfinished, progress)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield where to write what is to be `folder`; what was written is removed if the block fails."""
    if folder.exists():
        raise InputError(f"{folder} exists; give another folder, or remove it first")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield unfinished
            unfinished.chmod(0o755)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
