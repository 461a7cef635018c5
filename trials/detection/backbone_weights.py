"""Starting a detector's or a segmenter's backbone from weights that were trained without its head."""

from pathlib import Path

import torch
from torch import Tensor, nn

from search_spaces import Architecture, InputError
from search_spaces.naming import tensor_names
from search_spaces.sites import find_sites
from search_spaces.sites.pyramid_sites import STAGE
from trials.retrain.folder import WEIGHTS
from trials.weights import read_weights

_PARTS = ("body.", "attention.", "fpn.")


def load_backbone(network: nn.Module, architecture: Architecture, path: Path) -> None:
    """Load what a network has in common with a trained classifier of the same host and placement.

    All of the host up to the end of its last stage, and all attention in it, must be there. A pyramid and the attention
    in it are taken if they are there with the same shapes; the classifier is left.

    Args:
        network: what `architecture.build` returned, with a pyramid.
        architecture: of the network.
        path: a file of weights, or the folder of `nas retrain`.

    Raises:
        InputError: there is no such file, it is damaged, or lacks something.
    """
    file = path / WEIGHTS if path.is_dir() else path
    given, _ = read_weights(file)
    known = _as_parts(given)
    prefix = f"{architecture.host.traced_part}.".lstrip(".")
    own = {name.removeprefix(prefix): value for name, value in network.state_dict().items() if name.startswith(prefix)}
    own = {name: value for name, value in own.items() if name.startswith(_PARTS)}
    in_pyramid = ("fpn.", *_attention_in_pyramid(architecture))
    lacking = [
        name
        for name, value in own.items()
        if not name.startswith(in_pyramid) and (name not in known or known[name].shape != value.shape)
    ]
    if lacking:
        raise InputError(
            f"{file}: these weights are not of this backbone ({architecture.host.name} with the same placement): "
            f"{len(lacking)} tensors are missing or of another shape, such as {lacking[0]}"
        )
    taken = {name: known[name] for name, value in own.items() if name in known and known[name].shape == value.shape}
    with torch.no_grad():
        for name, tensor in taken.items():
            own[name].copy_(tensor)


def _as_parts(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names that they have in a network with a pyramid and nothing around."""
    for prefix in ("backbone.", ""):
        if any(name.startswith(f"{prefix}body.") for name in given):
            return {name.removeprefix(prefix): value for name, value in given.items()}
    return {name if name.startswith("attention.") else f"body.{name}": value for name, value in given.items()}


def _attention_in_pyramid(architecture: Architecture) -> list[str]:
    sites = {site.name: site for site in find_sites(architecture.host)}
    names = tensor_names(sites, architecture.items)
    inside = [names[name] for name, _ in architecture.items if names[name].startswith(f"{STAGE}/")]
    return [f"attention.{name.replace('.', '_').replace('/', '__')}." for name in inside]
