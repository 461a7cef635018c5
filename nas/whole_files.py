"""Text files that appear under their name only when they are complete."""

from pathlib import Path

from trials.whole_file import whole_file


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`, in place of what is there; its folder is made if need be. Raises OSError."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
