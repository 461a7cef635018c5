"""The network as ONNX with a dynamic batch size, compared under onnxruntime."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.export.errors import ExportError
from nas.export.workshop import Workshop
from search_spaces.errors import InputError

ONNX = "model.onnx"
OPSET = 20
"""Of the standard operators; onnxruntime reads it since 1.17."""
BATCHES = (1, 2, 7, 16)
"""Sizes of the batches that it is compared on."""
TOLERANCE = 1e-4
"""onnxruntime fuses layers, and so rounds in other places than PyTorch."""
INPUT, OUTPUT = "images", "logits"


def write_onnx(shop: Workshop) -> list[str]:
    """Write it, and return what was checked. Raises ExportError."""
    require("onnx", "onnxscript", "onnxruntime")
    if shop.is_detector:
        raise ExportError(
            f"a {shop.host.head} answers as many boxes as it finds; only networks of fixed shapes are written"
        )
    path = shop.folder / ONNX
    batch = torch.export.Dim("batch", min=1, max=4096)
    torch.onnx.export(
        shop.network,
        (shop.images(2),),
        path,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: batch},),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    network = OnnxNetwork(path)
    checked = []
    for count in BATCHES:
        images = shop.images(count)
        checked.append(shop.compare(f"{ONNX} under onnxruntime", network(images), images, TOLERANCE))
    return [f"{ONNX}: opset {_opset(path)}, any batch size", *checked]


class OnnxNetwork(nn.Module):
    """An ONNX file under onnxruntime on the CPU, called as a network of PyTorch is.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # as many as PyTorch beside it
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        (logits,) = self._session.run([OUTPUT], {INPUT: images.detach().cpu().numpy()})
        return torch.from_numpy(logits)


def require(*packages: str) -> None:
    """Raise InputError if a package is not installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed; "
            'install them with: pip install "attention-placement-search[onnx]"'
        )


def _opset(path: Path) -> int:
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return next(int(each.version) for each in model.opset_import if each.domain in ("", "ai.onnx"))
