"""Weights on disk: safetensors, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from trials.whole_file import whole_file


def save_weights(model: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network's parameters and buffers to `path`, whose folder is made if it does not exist.

    `safetensors.torch.load_file` reads them back for `load_state_dict`; tensors that modules share are
    written once for each name. The file appears under its name only when it is complete.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    with whole_file(path) as unfinished:
        try:
            save_file(tensors, unfinished, metadata=dict(metadata))
        except SafetensorError as error:  # its words for what the system says, too
            raise OSError(str(error)) from error
