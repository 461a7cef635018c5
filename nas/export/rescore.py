"""What a fresh process does to score an exported network: loads it from its folder and the images from their record.

    python -m nas.export.rescore FOLDER IMAGES

IMAGES is the JSON of `images.identify`. The last line that is printed is JSON: `metrics` and `device`, or `missing`,
the reason why the images are not there.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from torch import nn

from nas.export.images import restore
from search_spaces.errors import InputError
from trials.devices import describe_device, pick_device


def load_exported(folder: Path) -> nn.Module:
    """Return the network of `network.py`, or where that could not be written of `model.py`."""
    name = "network" if (folder / "network.py").exists() else "model"
    spec = importlib.util.spec_from_file_location(f"exported_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    model: nn.Module = module.BUILDER(weights="DEFAULT") if name == "network" else module.load_model()
    return model.eval()


def main(folder: str, images: str) -> None:
    """Score it and print what was found."""
    model, device = load_exported(Path(folder)), pick_device("auto")
    try:
        metrics = restore(json.loads(images)).score(model, device)
    except InputError as error:
        print(json.dumps({"missing": str(error)}))
        return
    print(json.dumps({"metrics": metrics, "device": describe_device(device)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
