"""How long a forward pass takes: PyTorch, ONNX and 8 bits side by side, by batch size and device."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nas.export.int8_format import INT8
from nas.export.onnx_format import ONNX, OnnxNetwork
from nas.export.workshop import Workshop
from trials.latency import Latency, measure_latency

LATENCY = "latency.csv"
BATCH_SIZES = (1, 8, 32)
_COLUMNS = ("what", "device", "threads", "batch_size", "median_ms", "p10_ms", "p90_ms", "images_per_s", "repeats")


@dataclass(frozen=True)
class Timed:
    """One line of the table."""

    what: str
    latency: Latency

    @property
    def images_per_s(self) -> float:
        """At the median."""
        return 1e3 * self.latency.batch_size / self.latency.median_ms

    @property
    def cells(self) -> tuple[str, ...]:
        """What the file has in its columns."""
        found = self.latency
        times = (f"{each:.4g}" for each in (found.median_ms, found.p10_ms, found.p90_ms, self.images_per_s))
        return (self.what, found.device, str(found.threads), str(found.batch_size), *times, str(found.repeats))


def write_latency(
    shop: Workshop, batch_sizes: Sequence[int] = BATCH_SIZES, *, budget_s: float = 1.0
) -> tuple[Timed, ...]:
    """Time what was exported, PyTorch beside it in the same run, and write the table.

    Every passes over float32 images; what runs on CUDA is timed there by its own clock.

    Args:
        shop: with the files of ONNX that are to be timed in its folder.
        batch_sizes: images per pass.
        budget_s: for each line, after a fifth of it for warming up.
    """
    shape = (shop.host.channels, shop.host.input, shop.host.input)
    rows = []
    for what, device, make in _subjects(shop):
        model = make()
        for size in batch_sizes:
            found = measure_latency(model, shape, device, size, warmup_s=budget_s / 5, budget_s=budget_s)
            rows.append(Timed(what, found))
    shop.network.cpu()
    with (shop.folder / LATENCY).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(row.cells for row in rows)
    return tuple(rows)


def _subjects(shop: Workshop) -> list[tuple[str, torch.device, Callable[[], nn.Module]]]:
    """Return what is timed, and where: PyTorch on every kind of device, ONNX on those that onnxruntime has."""
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda", torch.cuda.current_device()))
    subjects: list[tuple[str, torch.device, Callable[[], nn.Module]]] = []
    for device in devices:
        subjects.append(("PyTorch", device, lambda device=device: shop.network.to(device)))  # type: ignore[misc]
    for what, name in (("ONNX", ONNX), ("ONNX int8", INT8)):
        if (shop.folder / name).exists():
            subjects.append((what, devices[0], lambda name=name: OnnxNetwork(shop.folder / name)))  # type: ignore[misc]
    return subjects
