"""The command line: `nas`."""

from nas.cli.main import main

__all__ = ["main"]
