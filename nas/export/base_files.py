"""The files that every export has: YAML, weights, record, and code that rebuilds the network with this package."""

import json
import shutil
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import torch
from jinja2 import Environment, StrictUndefined

from nas.export.fresh_process import run_part
from nas.export.plugin_files import copy_plugins, modules_of
from nas.export.workshop import Workshop
from search_spaces.attention.timm_layers import PREFIX as TIMM

ARCHITECTURE, WEIGHTS, MODEL, RECORD, README = (
    "architecture.yaml",
    "weights.safetensors",
    "model.py",
    "record.json",
    "README.md",
)


def write_base(shop: Workshop) -> tuple[list[str], dict[str, Any]]:
    """Write them; return what was checked, and the facts that the README tells, too.

    Raises:
        InputError: a plugin that an export cannot hold.
        ExportError: the network is not rebuilt by what was written, or computes something else.
    """
    trained, folder = shop.trained, shop.folder
    (folder / ARCHITECTURE).write_text(trained.architecture.to_yaml())
    shutil.copyfile(trained.weights, folder / WEIGHTS)
    (folder / RECORD).write_text(json.dumps(trained.record, indent=2) + "\n")
    copied, packages = copy_plugins(folder, trained.architecture)
    uses_timm = any(name.startswith(TIMM) for name in modules_of(trained.architecture))
    facts: dict[str, Any] = {
        "trained": trained,
        "architecture": trained.architecture,
        "is_detector": shop.is_detector,
        "version": version("attention-placement-search"),
        "torch_version": torch.__version__,
        "plugins": copied,
        "packages": packages,
        "extra": "[timm]" if uses_timm else "",
    }
    (folder / MODEL).write_text(rendered("export_model.py.jinja", facts))
    if shop.is_detector:
        return [], facts
    images = shop.images(3)
    return [shop.compare(f"{MODEL} with {WEIGHTS}", run_part("model", folder, images)["logits"], images)], facts


def rendered(template: str, facts: dict[str, Any]) -> str:
    """Return a template of this package filled in."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    return environment.from_string(files("nas").joinpath("templates", template).read_text()).render(facts)
