"""The ImageNet hosts: torchvision's residual families, with the stem of their paper or one for small images."""

import re
from typing import TYPE_CHECKING

import torchvision
from torch import nn

from search_spaces.hosts.entry import HostEntry

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

_FAMILIES = {
    r"resnet\d+": "He et al., 2015, arXiv:1512.03385",
    r"resnext\d+_.*": "Xie et al., 2016, arXiv:1611.05431",
    r"wide_resnet\d+_2": "Zagoruyko and Komodakis, 2016, arXiv:1605.07146",
    r"mobilenet_v2": "Sandler et al., 2018, arXiv:1801.04381",
    r"mobilenet_v3_.*": "Howard et al., 2019, arXiv:1905.02244",
    r"efficientnet_b\d": "Tan and Le, 2019, arXiv:1905.11946",
    r"efficientnet_v2_.*": "Tan and Le, 2021, arXiv:2104.00298",
    r"regnet_.*": "Radosavovic et al., 2020, arXiv:2003.13678",
}


def imagenet_hosts() -> list[HostEntry]:
    """Return the hosts of the supported families."""
    names = torchvision.models.list_models(module=torchvision.models)
    stems = ("imagenet", "cifar")
    return [
        HostEntry(name, paper, build_imagenet_host, classes=1000, input=224, stems=stems, has_weights=True)
        for name in names
        if (paper := _paper_of(name))
    ]


def _paper_of(name: str) -> str | None:
    return next((paper for pattern, paper in _FAMILIES.items() if re.fullmatch(pattern, name)), None)


def build_imagenet_host(config: "HostConfig") -> nn.Module:
    """Build torchvision's network with the classes, channels and stem of `config`."""
    if config.pretrained:
        host = torchvision.models.get_model(config.name, weights="DEFAULT")
        if config.classes != 1000:
            _replace_last_linear(host, config.classes)
        return host  # type: ignore[no-any-return]
    host = torchvision.models.get_model(config.name, num_classes=config.classes)
    if config.stem == "cifar":
        _adapt_stem(host, config.channels, stride=1)
        if hasattr(host, "maxpool"):
            host.maxpool = nn.Identity()
    elif config.channels != 3:
        _adapt_stem(host, config.channels, stride=None)
    return host  # type: ignore[no-any-return]


def _adapt_stem(host: nn.Module, channels: int, *, stride: int | None) -> None:
    """Replace the first convolution: 3x3 with `stride`, or as it is where `stride` is None."""
    path, old = next((path, module) for path, module in host.named_modules() if isinstance(module, nn.Conv2d))
    kernel = old.kernel_size[0] if stride is None else 3
    new = nn.Conv2d(
        channels,
        old.out_channels,
        kernel,
        stride=old.stride[0] if stride is None else stride,
        padding=kernel // 2,
        bias=old.bias is not None,
    )
    # All these families draw their convolutions so (RegNet writes the same formula out by hand).
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    host.set_submodule(path, new)


def _replace_last_linear(host: nn.Module, classes: int) -> None:
    path, old = [(path, module) for path, module in host.named_modules() if isinstance(module, nn.Linear)][-1]
    host.set_submodule(path, nn.Linear(old.in_features, classes))
