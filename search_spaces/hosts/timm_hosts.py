"""timm's CNNs by name: `timm/hrnet_w18`, `timm/resnet50.a1_in1k`.

Wightman, 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861. What there is, the default classes and input size, and
which weights are published, is what the installed release says. The name of a model stands for its default weights
where `pretrained: true` asks for them; a name with a tag (after the dot) names others.
"""

import importlib
import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from torch import nn

from search_spaces.errors import InputError, unknown
from search_spaces.hosts.entry import HostEntry, why_no_transformer
from search_spaces.hosts.stems import Stem, find_stem, make_cifar

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PREFIX = "timm/"

_TRANSFORMERS = re.compile(
    r"(swin|vision)_transformer.*|(deepseek|gemma4|naflex|qwen3|tiny)_?vit|beit|cait|coat|convit|crossvit|davit|deit|eva|"
    r"hiera|hieradet_sam2|levit|mvitv2|nest|pit|pvt_v2|tnt|twins|vitamin|volo|xcit"
)
"""timm's files of vision transformers. Hybrids whose convolutions stand in blocks (CoAtNet, MobileViT) are not here."""

_TOKEN_MIXERS = re.compile(r"mlp_mixer|sequencer")
"""timm's files of other networks that have no blocks of convolutions."""


def timm_host_names() -> tuple[str, ...]:
    """Return the names of timm's networks that may be hosts, `timm/` before each. Raises InputError without timm.

    Vision transformers and MLP mixers are left out; whether one of the others can be traced shows when it is.
    """
    return tuple(f"{PREFIX}{name}" for name in _models() if not _why_not(name))


@lru_cache(maxsize=4096)
def timm_entry(name: str) -> HostEntry:
    """Return the host of timm's called `name`, which begins with `timm/`.

    Raises:
        InputError: timm is not installed; it knows no such name, or no such weights; a vision transformer.
    """
    timm = _timm()
    model, _, tag = name.removeprefix(PREFIX).partition(".")
    if model not in _models():
        raise unknown("host", name, timm_host_names())
    if reason := _why_not(model):
        raise InputError(reason)
    published = list(timm.list_pretrained(f"{model}.*")) or list(timm.list_pretrained(model))
    if tag and f"{model}.{tag}" not in published:
        raise unknown("weights", name, [f"{PREFIX}{each}" for each in published])
    settings: Any = timm.get_pretrained_cfg(f"{model}.{tag}" if tag else model)
    return HostEntry(
        name,
        "Wightman, 2019, doi:10.5281/zenodo.4414861",
        _build,
        # Models without weights, and those for features only, name no classes.
        classes=(settings and settings.num_classes) or 1000,
        input=settings.input_size[1] if settings else 224,
        stems=("imagenet", "cifar"),
        has_weights=bool(published),
        why_no_cifar_stem=partial(_why_no_stem, model),
    )


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError:
        raise InputError("timm's hosts need the package timm: pip install 'attention-placement-search[timm]'") from None


@lru_cache(maxsize=1)
def _models() -> dict[str, str]:
    """Return timm's file of each of its models, by the model's name."""
    timm = _timm()
    return {name: file for file in timm.list_modules() for name in timm.list_models(module=file)}


def _why_not(model: str) -> str | None:
    """Return why a model of timm's is no host, None if it may be one."""
    file = _models()[model]
    if _TRANSFORMERS.fullmatch(file):
        return why_no_transformer(f"{PREFIX}{model}")
    if _TOKEN_MIXERS.fullmatch(file):
        return f"{PREFIX}{model} has no sites of these kinds, which are in blocks of convolutions"
    return None


def _build(config: "HostConfig") -> nn.Module:
    """Build timm's network with the classes, channels and stem of `config`."""
    name = config.name.removeprefix(PREFIX)
    try:
        host: nn.Module = _timm().create_model(
            name, pretrained=config.pretrained, num_classes=config.classes, in_chans=config.channels
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{config.name} with {config.channels} channels: timm says: {error}") from error
    if config.stem == "cifar":
        make_cifar(host, _stem(name), config.channels)
    return host


@lru_cache
def _stem(model: str) -> Stem:
    return find_stem(lambda: _timm().create_model(model))


def _why_no_stem(model: str) -> str | None:
    try:
        _stem(model)
    except InputError as error:
        return str(error)
    return None
