"""Images that live on the device as uint8, and how a batch of them is fed to a network."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from trials.dataset import Dataset


@dataclass(frozen=True, eq=False)
class DeviceData:
    """Images and labels on a device, with the constants that normalise them."""

    images: Tensor
    """uint8."""
    labels: Tensor
    """Of images (N,), int64, or of their pixels (N, H, W), uint8."""
    scale: Tensor
    """1 / (255 * standard deviation)."""
    shift: Tensor
    """-mean / standard deviation."""
    scales: Tensor | None = None
    """For each pixel (N, H, W) the size of the object it counts with, uint8; None where the data set has none."""

    def normalise(self, x_BCHW: Tensor) -> Tensor:
        """Turn uint8 into float32 with mean 0 and standard deviation 1 over the data set, per channel."""
        scale, shift = self.scale[:, None, None], self.shift[:, None, None]
        return torch.addcmul(shift, x_BCHW.to(torch.float32), scale)


@lru_cache(maxsize=4)
def on_device(dataset: Dataset, device: torch.device, part: str) -> DeviceData:
    """Return the images (`part` "train") or the test images ("test"); they stay there for the next trial."""
    images, labels, scales = {
        "train": (dataset.images, dataset.labels, dataset.scales),
        "test": (dataset.test_images, dataset.test_labels, dataset.test_scales),
    }[part]
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in dataset.mean_std)
    scale, shift = 1 / (255 * std), -mean / std
    return DeviceData(
        torch.from_numpy(images).to(device),
        torch.from_numpy(labels).to(device),
        scale.float().to(device),
        shift.float().to(device),
        None if scales is None else torch.from_numpy(scales).to(device),
    )
