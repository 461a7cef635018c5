"""The command line: `nas`."""

import gc

gc.disable()  # nothing that imports make is garbage, and looking for some took a fifth of every command's start
from nas.cli.main import main  # noqa: E402

gc.enable()

__all__ = ["main"]
