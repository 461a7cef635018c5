"""Attention modules, each to the definition of its paper, and the registry that knows them.

A module family is a file; importing this package registers all of them.
"""

from search_spaces.attention import (
    aa,
    aff,
    aw,
    ba,
    bam,
    cat,
    cbam,
    coord,
    dia,
    eca,
    fca,
    fusions,
    ge,
    global_context,
    ms_cam,
    removal,
    se,
    simam,
    sk,
    timm_layers,
)
from search_spaces.attention.knobs import Knob
from search_spaces.attention.registry import (
    INITS,
    KINDS,
    RESOLUTION,
    ConvGeometry,
    Kind,
    ModuleEntry,
    bridge_from,
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
    "RESOLUTION",
    "ConvGeometry",
    "Kind",
    "Knob",
    "ModuleEntry",
    "bridge_from",
    "check_knobs",
    "create",
    "effective",
    "entry",
    "names",
    "register",
]

_FAMILIES = (
    aa,
    aff,
    aw,
    ba,
    bam,
    cat,
    cbam,
    coord,
    dia,
    eca,
    fca,
    fusions,
    ge,
    global_context,
    ms_cam,
    removal,
    se,
    simam,
    sk,
    timm_layers,
)
