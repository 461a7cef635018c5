"""What a fresh process does with what was exported: loads it and runs it on images.

Run as a script, isolated, with modules of this package made impossible to import unless the part needs them. It
imports nothing of the package itself.

    python -I probe.py PART[,PART...] FOLDER INPUTS OUTPUTS [PLACE ...]

PART: of `PARTS`. INPUTS and OUTPUTS are files of safetensors:
`images`, and what was computed from them. PLACE: where the package may be imported from (`model` only).
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

PACKAGES = ("search_spaces", "trials", "reports", "nas")


class Forbidden:
    """Finds no module of the package, wherever it is installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:  # noqa: ARG002
        """Raise ImportError for a module that is not to be used."""
        if name.partition(".")[0] in PACKAGES:
            raise ImportError(f"{name} must not be needed here")


def _network(folder: Path) -> Any:
    """Import `network.py` and return the module."""
    sys.meta_path.insert(0, Forbidden())
    if "network" in sys.modules:
        return sys.modules["network"]
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["network"] = module
    spec.loader.exec_module(module)
    return module


def _built(module: Any) -> Any:
    return module.BUILDER(weights="DEFAULT")


def run_network(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return the logits of `network.py`."""
    return {"logits": _built(_network(folder)).eval()(images)}


def run_timm(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return the logits of what timm makes of it, and the shapes of what its parts give; nothing without timm."""
    module = _network(folder)
    if importlib.util.find_spec("timm") is None:
        return {}
    import timm

    model: Any = timm.create_model(module.BUILDER.__name__, pretrained=True).eval()
    logits = model.forward_head(model.forward_features(images))
    other = timm.create_model(module.BUILDER.__name__, num_classes=3).eval()
    model.reset_classifier(0)
    return {"logits": logits, "other": other(images), "pooled": model(images)}


def run_training(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return the logits in training mode from a fixed seed."""
    model = _built(_network(folder)).train()
    torch.manual_seed(0)
    return {"logits": model(images)}


def run_stages(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return the maps at the ends of the stages, and those of an image of another size."""
    model = _built(_network(folder)).eval()
    maps = model.forward_stages(images)[1]
    larger = model.forward_stages(torch.nn.functional.interpolate(images, scale_factor=(2, 3)))[1]
    named = {f"stage{number}": each for number, each in enumerate(maps)}
    return named | {f"larger{number}": each for number, each in enumerate(larger)}


def run_mmdet(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return the maps of the backbone, built from its config through mmengine's registry with its weights."""
    sys.meta_path.insert(0, Forbidden())
    sys.path.insert(0, str(folder))
    backbone: Any = importlib.import_module("mmdet_backbone")
    model_config: Any = importlib.import_module("mmdet_config").model
    given = {key: value for key, value in model_config["backbone"].items() if key != "_delete_"}
    given["init_cfg"] = given["init_cfg"] | {"checkpoint": str(folder / given["init_cfg"]["checkpoint"])}
    model = backbone.MODELS.build(given)
    model.init_weights()
    maps = model.eval()(images)
    channels = model_config["neck"]["in_channels"]
    assert [each.shape[1] for each in maps] == channels, f"the neck expects {channels}"
    return {f"stage{number}": each for number, each in enumerate(maps)}


def run_model(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return the logits of `model.py`."""
    sys.path.insert(0, str(folder))
    return {"logits": importlib.import_module("model").load_model()(images)}


def run_program(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return the logits of the torch.export program."""
    sys.meta_path.insert(0, Forbidden())
    return {"logits": torch.export.load(folder / "model.pt2").module()(images)}


PARTS: dict[str, Callable[[Path, Tensor], dict[str, Tensor]]] = {
    "network": run_network,
    "timm": run_timm,
    "training": run_training,
    "stages": run_stages,
    "mmdet": run_mmdet,
    "model": run_model,
    "program": run_program,
}


def main(parts: str, folder: str, inputs: str, outputs: str, *places: str) -> None:
    """Run parts one after the other."""
    sys.path[:0] = places
    images = load_file(inputs)["images"]
    with torch.no_grad():
        found = {
            f"{part}/{name}": value
            for part in parts.split(",")
            for name, value in PARTS[part](Path(folder), images.clone()).items()
        }
    save_file({name: value.contiguous().clone() for name, value in found.items()}, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
