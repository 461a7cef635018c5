"""The ImageNet hosts: torchvision's classification CNNs, with the stem of their paper or one for small images.

GoogLeNet and Inception v3 come without their auxiliary classifiers: these are there for training only, so a network
with them would compute something else in training than in evaluation. MaxViT is here for the sites of its MBConv
blocks; vision transformers have none.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torchvision
from torch import nn

from search_spaces.errors import InputError
from search_spaces.hosts.entry import HostEntry, why_no_transformer
from search_spaces.hosts.stems import Stem, find_stem, make_channels, make_cifar
from search_spaces.hosts.torchvision_widths import build_widened, widths_of

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

_FAMILIES = {
    r"alexnet": "Krizhevsky, 2014, arXiv:1404.5997",
    r"vgg\d+(_bn)?": "Simonyan and Zisserman, 2014, arXiv:1409.1556",
    r"googlenet": "Szegedy et al., 2014, arXiv:1409.4842",
    r"inception_v3": "Szegedy et al., 2015, arXiv:1512.00567",
    r"resnet\d+": "He et al., 2015, arXiv:1512.03385",
    r"squeezenet1_\d": "Iandola et al., 2016, arXiv:1602.07360",
    r"wide_resnet\d+_2": "Zagoruyko and Komodakis, 2016, arXiv:1605.07146",
    r"densenet\d+": "Huang et al., 2016, arXiv:1608.06993",
    r"resnext\d+_.*": "Xie et al., 2016, arXiv:1611.05431",
    r"mobilenet_v2": "Sandler et al., 2018, arXiv:1801.04381",
    r"shufflenet_v2_.*": "Ma et al., 2018, arXiv:1807.11164",
    r"mnasnet.*": "Tan et al., 2018, arXiv:1807.11626",
    r"mobilenet_v3_.*": "Howard et al., 2019, arXiv:1905.02244",
    r"efficientnet_b\d": "Tan and Le, 2019, arXiv:1905.11946",
    r"regnet_.*": "Radosavovic et al., 2020, arXiv:2003.13678",
    r"efficientnet_v2_.*": "Tan and Le, 2021, arXiv:2104.00298",
    r"convnext_.*": "Liu et al., 2022, arXiv:2201.03545",
    r"maxvit_t": "Tu et al., 2022, arXiv:2204.01697",
}

_WITH_AUXILIARY = ("googlenet", "inception_v3")
_NO_STEM = r"vgg.*"
"""Hosts whose first convolution keeps the resolution (see `stems`)."""


def imagenet_hosts() -> list[HostEntry]:
    """Return the hosts of the supported families."""
    names = torchvision.models.list_models(module=torchvision.models)
    return [
        HostEntry(
            name,
            paper,
            build_imagenet_host,
            classes=1000,
            input=299 if name == "inception_v3" else 224,
            stems=("imagenet",) if re.fullmatch(_NO_STEM, name) else ("imagenet", "cifar"),
            has_weights=len(torchvision.models.get_model_weights(name)) > 0,
            as_pretrained=_transform_input if name in _WITH_AUXILIARY else None,
            **widths_of(name),
        )
        for name in names
        if (paper := _paper_of(name))
    ]


def _paper_of(name: str) -> str | None:
    return next((paper for pattern, paper in _FAMILIES.items() if re.fullmatch(pattern, name)), None)


def why_not_torchvision(name: str) -> str | None:
    """Return why a classification network of torchvision's is no host; None if it is one, or none of torchvision's."""
    known = torchvision.models.list_models(module=torchvision.models)
    return why_no_transformer(name) if name in known and not _paper_of(name) else None


def build_imagenet_host(config: "HostConfig") -> nn.Module:
    """Build torchvision's network with the classes, channels, stem and width of `config`.

    Raises:
        InputError: torchvision does not build it for images of this size.
    """
    if config.pretrained:
        return _pretrained(config)
    if config.width == 1:
        host = _untrained(config.name, config.classes, config.input)
    else:
        host = build_widened(config.name, config.width, config.classes)
    if config.stem == "cifar":
        make_cifar(host, _stem(config.name), config.channels)
    elif config.channels != 3:
        make_channels(host, config.channels)
    return host


def _untrained(name: str, classes: int, size: int) -> nn.Module:
    own: dict[str, Any] = {}
    if name in _WITH_AUXILIARY:
        own = {"aux_logits": False, "init_weights": True}
    elif name == "maxvit_t":
        own = {"input_size": (size, size)}
    try:
        host: nn.Module = torchvision.models.get_model(name, num_classes=classes, **own)
    except ValueError as error:
        raise InputError(f"{name} for {size}x{size} images: {error}") from error
    return host


def _pretrained(config: "HostConfig") -> nn.Module:
    if config.name == "maxvit_t" and config.input != 224:
        raise InputError(f"the pretrained weights of maxvit_t are for `input: 224`, got {config.input}")
    host: nn.Module = torchvision.models.get_model(config.name, weights="DEFAULT")
    if config.name in _WITH_AUXILIARY:
        _leave_out_auxiliary(host)
    if config.classes != 1000:
        _replace_classifier(host, config.classes)
    return host


def _leave_out_auxiliary(host: nn.Module) -> None:
    """Make the host one that was built without auxiliary classifiers."""
    host.aux_logits = False  # type: ignore[assignment]
    for name in ("aux1", "aux2", "AuxLogits"):
        if name in host._modules:
            setattr(host, name, None)


def _transform_input(host: nn.Module) -> None:
    """Let the host normalise images again as its published weights want them."""
    host.transform_input = True  # type: ignore[assignment]


@lru_cache
def _stem(name: str) -> Stem:
    return find_stem(lambda: _untrained(name, 1000, 224))


def _replace_classifier(host: nn.Module, classes: int) -> None:
    """Replace the last layer with weights: of SqueezeNet, a convolution."""
    layers = [(path, module) for path, module in host.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    path, old = layers[-1]
    if isinstance(old, nn.Linear):
        host.set_submodule(path, nn.Linear(old.in_features, classes))
    else:
        host.set_submodule(path, nn.Conv2d(old.in_channels, classes, 1))
