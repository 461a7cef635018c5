"""Attention modules, each to the definition of its paper, and the registry that knows them.

A module family is a file; importing this package registers all of them.
"""

from search_spaces.attention import aff, ba, bam, cbam, eca, ms_cam, se
from search_spaces.attention.registry import (
    INITS,
    KINDS,
    Kind,
    Knob,
    ModuleEntry,
    check_knobs,
    create,
    effective,
    entry,
    names,
    register,
)

__all__ = [
    "INITS",
    "KINDS",
    "Kind",
    "Knob",
    "ModuleEntry",
    "check_knobs",
    "create",
    "effective",
    "entry",
    "names",
    "register",
]

_FAMILIES = (aff, ba, bam, cbam, eca, ms_cam, se)
