"""The command line: `nas`."""

import gc

gc.disable()  # nothing that imports make is garbage, and looking for some took a fifth of every command's start
from nas.cli.main import main  # noqa: E402

gc.freeze()  # nor will it ever be, so no later search looks at it again
gc.enable()

__all__ = ["main"]
