"""Weights on disk: safetensors, whole or not at all."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from search_spaces.errors import InputError
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


def load_weights(model: nn.Module, path: Path) -> dict[str, str]:
    """Load what `save_weights` wrote, or another file of weights, into a network; return what the file says of itself.

    Args:
        model: built from the architecture that the weights are of.
        path: `.safetensors`, or a state dict of `torch.save`, which is read with `weights_only=True`.

    Raises:
        InputError: there is no such file, it is damaged, or its weights are of another network.
    """
    tensors, metadata = read_weights(path)
    own = model.state_dict()
    missing, more = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    other = [name for name in own if name in tensors and tensors[name].shape != own[name].shape]
    if missing or more or other:
        told = [
            f"{len(names)} {what}, such as {names[0]}"
            for names, what in ((missing, "are missing"), (more, "have no place"), (other, "have another shape"))
            if names
        ]
        whose = f" (they are of {metadata['architecture_id']})" if "architecture_id" in metadata else ""
        raise InputError(f"{path}: these weights are of another network{whose}: {'; '.join(told)}")
    model.load_state_dict(tensors)
    return metadata


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file of weights by name, and what the file says of itself.

    Args:
        path: `.safetensors`, or a state dict of `torch.save`, which is read with `weights_only=True`.

    Raises:
        InputError: there is no such file, it is damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{path}: not a file of weights (safetensors, or a state dict), or damaged: {reason}"
        ) from None
    if not (isinstance(loaded, Mapping) and all(isinstance(value, Tensor) for value in loaded.values())):
        raise InputError(f"{path}: holds no state dict (names of parameters and their tensors)")
    return dict(loaded), {}
