"""The library that computes COCO's average precision, imported only where it is needed."""

from typing import Any

from search_spaces import InputError


def coco_library() -> Any:
    """Return `faster_coco_eval`. Raises InputError if it is not installed."""
    try:
        import faster_coco_eval
    except ImportError:
        raise InputError(
            "COCO's masks and average precision need the package faster-coco-eval; install this package with the extra "
            "`detection`"
        ) from None
    return faster_coco_eval
