"""Files that appear under their name only when they are complete."""

from pathlib import Path

from trials.whole_file import whole_file


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to `path`, in place of what is there; its folder is made if need be.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
