"""Weights on disk: safetensors, whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import nn


def save_weights(model: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network's parameters and buffers to `path`, whose folder is made if it does not exist.

    `safetensors.torch.load_file` reads them back for `load_state_dict`; tensors that modules share are
    written once for each name. The file appears under its name only when it is complete.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        save_file(tensors, unfinished, metadata=dict(metadata))
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)
