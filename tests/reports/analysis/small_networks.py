"""Networks and images whose analyses are known in advance."""

from typing import Any

import numpy as np
import torch
from torch import nn

from reports.analysis import Pictures, Subject, choose_pictures
from search_spaces import Architecture
from trials import DataConfig, Dataset, load_data

HOST = {"name": "resnet20", "classes": 10, "input": 8, "channels": 1}
CPU = torch.device("cpu")


def placed(placement: dict[str, Any]) -> Architecture:
    """Return a ResNet-20 for digits with these modules."""
    return Architecture.from_dict({"host": HOST, "placement": placement})


def subject(placement: dict[str, Any], seed: int = 0) -> Subject:
    """Return such a network, untrained, but with norms that have seen images."""
    architecture = placed(placement)
    network = architecture.build(seed)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(32, 1, 8, 8, generator=generator))
    return Subject.of(architecture, network, "network", CPU)


def digits(num: int = 60) -> Pictures:
    """Return digits of the test part."""
    return choose_pictures(load_data(DataConfig(source="digits", validation=1)), "test", num)


def bright_quarters(num: int = 40) -> Pictures:
    """Return images that are bright at the upper left (class 0) or at the lower right (1), and black elsewhere."""
    labels = np.arange(num) % 2
    images = np.zeros((num, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, :4, :4] = 255
    images[labels == 1, :, 4:, 4:] = 255
    return choose_pictures(Dataset(images, labels, images, labels, ("left", "right")), "test", num)


def parts(of: Subject, kind: type[nn.Module]) -> list[Any]:
    """Return the attention modules of a class in a network."""
    return [module for module in of.network.modules() if isinstance(module, kind)]
