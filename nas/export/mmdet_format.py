"""The network as a backbone of mmdet: a module that registers it, its weights as mmengine reads them, and a config."""

import importlib.util
from importlib.resources import files

import torch
from jinja2 import Environment, StrictUndefined
from torch import Tensor

from nas.export.code.network_file import NetworkFile, builder_name
from nas.export.errors import ExportError
from nas.export.fresh_process import run_parts
from nas.export.network_format import NETWORK, network_file
from nas.export.workshop import Workshop

BACKBONE, CONFIG, WEIGHTS = "mmdet_backbone.py", "mmdet_config.py", "backbone.pth"


def write_mmdet(shop: Workshop) -> list[str]:
    """Write it, and return what was checked.

    Raises:
        ExportError: the network has no stages to build a pyramid on, does not read images of other sizes than its own,
            or cannot be written without this package.
    """
    if shop.host.neck is not None:
        raise ExportError(f"the network has a pyramid of its own (`neck: {shop.host.neck}`); mmdet brings one")
    file = network_file(shop)
    if not file.channels:
        raise ExportError(f"{shop.host.name} has fewer than two stages at different resolutions")
    torch.save(shop.network.state_dict(), shop.folder / WEIGHTS)
    _render(shop, file)
    has_mmengine = importlib.util.find_spec("mmengine") is not None
    try:
        found = run_parts(["stages", *(["mmdet"] if has_mmengine else [])], shop.folder, shop.images(2))
    except ExportError as error:
        raise ExportError(f"it does not run as a backbone, on images of its size and of others: {error}") from None
    return [_check(shop, file, found["stages"]), _check_registered(file, found["stages"], found.get("mmdet"))]


def backbone_class(shop: Workshop) -> str:
    """Return the name under which the backbone is registered."""
    return "".join(part.capitalize() for part in builder_name(shop.trained.architecture).split("_")) + "Backbone"


def _render(shop: Workshop, file: NetworkFile) -> None:
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    facts = {
        "file": file,
        "cls": backbone_class(shop),
        "host": shop.host,
        "architecture": shop.trained.architecture,
        "weights": WEIGHTS,
        "mean": [round(255 * value, 4) for value in shop.trained.mean],
        "std": [round(255 * value, 4) for value in shop.trained.std],
    }
    for template, name in (("export_mmdet_backbone.py.jinja", BACKBONE), ("export_mmdet_config.py.jinja", CONFIG)):
        text = files("nas").joinpath("templates", template).read_text()
        (shop.folder / name).write_text(environment.from_string(text).render(facts))


def _check(shop: Workshop, file: NetworkFile, found: dict[str, Tensor]) -> str:
    """Check channels and sizes of the maps, also for an image of another size."""
    for number, (channels, stride) in enumerate(zip(file.channels, file.strides, strict=True)):
        each, larger = found[f"stage{number}"], found[f"larger{number}"]
        if each.shape[1] != channels or larger.shape[1] != channels:
            raise ExportError(f"stage {number} has {each.shape[1]} channels in the place of {channels}")
        if abs(each.shape[-1] * stride - shop.host.input) > stride:
            raise ExportError(f"stage {number} has stride {stride}, but is {each.shape[-1]} wide")
    return f"{NETWORK}: stages of {', '.join(map(str, file.channels))} channels, also on larger images"


def _check_registered(file: NetworkFile, maps: dict[str, Tensor], built: dict[str, Tensor] | None) -> str:
    """Compare the maps of the backbone that mmengine's registry has built, where it is installed."""
    if built is None:
        return f"{BACKBONE}: not built through a registry, since mmengine is not installed"
    names = [f"stage{number}" for number in range(len(file.channels))]
    if list(built) != names or not all(torch.equal(built[name], maps[name]) for name in names):
        raise ExportError(f"{BACKBONE} built through the registry gives other maps than {NETWORK}")
    return f"{BACKBONE}: built through mmengine's registry with its weights, the maps are those of {NETWORK}"
