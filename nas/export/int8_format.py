"""The ONNX network with 8-bit weights and activations, calibrated on training images and scored on held-out ones.

Static quantisation in the QDQ form (Jacob et al., 2018, arXiv:1712.05877): 8-bit weights per output channel, 8-bit
activations whose ranges are the extremes seen in calibration.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.export.errors import ExportError
from nas.export.onnx_format import INPUT, ONNX, OnnxNetwork, require
from nas.export.trained import TrainedImages
from nas.export.workshop import Workshop
from search_spaces.errors import InputError

INT8 = "model-int8.onnx"
NUM_CALIBRATED = 256
"""Training images that the ranges are taken from."""


@dataclass(frozen=True)
class Quantised:
    """What 8 bits cost and save."""

    num_calibrated: int
    num_images: int
    float_accuracy: float
    """Of the trained network in float32, on the same images."""
    int8_accuracy: float
    difference: float
    """int8 minus float."""
    low: float
    """Of the difference: the interval of 95 % over images, each image paired with itself."""
    high: float
    float_bytes: int
    int8_bytes: int

    @property
    def in_words(self) -> str:
        """All of it in a line."""
        return (
            f"{INT8}: {100 * self.int8_accuracy:.2f} % of {self.num_images} held-out images right, in float32 "
            f"{100 * self.float_accuracy:.2f} %: difference {100 * self.difference:+.2f} points "
            f"(95 % interval {100 * self.low:+.2f} to {100 * self.high:+.2f}, paired by image); "
            f"{self.int8_bytes / 1e6:.2f} MB in the place of {self.float_bytes / 1e6:.2f} MB; "
            f"calibrated on {self.num_calibrated} training images"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def write_int8(shop: Workshop) -> tuple[list[str], Quantised]:
    """Write it, and return what was checked.

    Raises:
        InputError: the images are not there, or a package is missing.
        ExportError: the network is no ONNX, or its 8-bit form answers what is not finite.
    """
    require("onnx", "onnxscript", "onnxruntime")
    images = list(_at_hand(shop.trained.images))
    path = shop.folder / INT8
    num_calibrated = _quantise(shop.folder / ONNX, path, images)
    floats, int8 = _right(shop.network, OnnxNetwork(path), shop.trained.images)
    difference, low, high = _paired(int8 - floats)
    found = Quantised(
        num_calibrated,
        len(floats),
        float(floats.mean()),
        float(int8.mean()),
        difference,
        low,
        high,
        (shop.folder / ONNX).stat().st_size,
        path.stat().st_size,
    )
    return [found.in_words], found


def _at_hand(images: TrainedImages) -> Iterator[Tensor]:
    try:
        yield from images.training(NUM_CALIBRATED)
    except InputError as error:
        raise InputError(
            f"8-bit ranges are calibrated on training images, and they are not at hand ({error}); give their folder "
            "with --data-dir"
        ) from None


def _quantise(source: Path, target: Path, images: list[Tensor]) -> int:
    """Write the 8-bit network; return how many images it was calibrated on."""
    from onnxruntime.quantization import (  # type: ignore[import-untyped]
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            self._batches = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    prepared = target.with_name(f".{target.name}")
    try:
        quant_pre_process(str(source), str(prepared))
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        prepared.unlink(missing_ok=True)
    return sum(map(len, images))


@torch.inference_mode()
def _right(network: nn.Module, quantised: nn.Module, images: TrainedImages) -> tuple[Tensor, Tensor]:
    """Return for each held-out image the share that each network gets right: 0 or 1, of pixels what lies between."""
    shares: tuple[list[Tensor], list[Tensor]] = ([], [])
    for x_BCHW, labels in images.held_out():
        for model, found in zip((network, quantised), shares, strict=True):
            logits = model(x_BCHW)
            if not logits.isfinite().all():
                raise ExportError(f"{INT8} answers values that are not finite")
            found.append((logits.argmax(1) == labels).flatten(1 if labels.ndim > 1 else 0).double())
    floats, int8 = (torch.cat([each.mean(1) if each.ndim > 1 else each for each in found]) for found in shares)
    return floats, int8


def _paired(differences: Tensor) -> tuple[float, float, float]:
    """Return the mean of differences, and its interval of 95 % by the normal distribution.

    Where few images differ, their standard deviation is not taken below that of one image: an interval of no width
    would call equality certain.
    """
    n, mean = len(differences), float(differences.mean())
    spread = max(float(differences.std()) if n > 1 else 0.0, 1 / math.sqrt(n))
    half = 1.96 * spread / math.sqrt(n)
    return mean, mean - half, mean + half
