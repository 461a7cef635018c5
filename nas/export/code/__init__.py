"""Readable code for networks that were built: classes that need torch alone."""

from nas.export.code.errors import CannotWriteError

__all__ = ["CannotWriteError"]
