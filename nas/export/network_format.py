"""The network as a file of Python that needs torch alone, as torchvision and timm have their models."""

import torch
from torch import Tensor

from nas.export.code import CannotWriteError
from nas.export.code.network_file import Facts, NetworkFile, write_network
from nas.export.errors import ExportError
from nas.export.fresh_process import run_parts
from nas.export.workshop import Workshop, compare

NETWORK, WEIGHTS = "network.py", "weights.safetensors"


def network_file(shop: Workshop) -> NetworkFile:
    """Return the file as text. Raises ExportError where something in the network needs more than torch."""
    trained = shop.trained
    recorded = trained.recorded
    meta: dict[str, object] = {"architecture": trained.architecture.id, "num_params": _num_params(shop)}
    if recorded is not None:
        meta[f"{recorded.split}_{recorded.metric}"] = round(recorded.value, 6)
        meta["measured_on"] = f"{recorded.device}, {recorded.precision}"
    facts = Facts(_description(shop), WEIGHTS, trained.mean, trained.std, trained.classes, meta)
    try:
        return write_network(trained.architecture, facts)
    except CannotWriteError as error:
        raise ExportError(str(error)) from None


def write_network_file(shop: Workshop) -> list[str]:
    """Write it, and return what was checked. Raises ExportError."""
    file = network_file(shop)
    (shop.folder / NETWORK).write_text(file.text)
    images = shop.images(8)
    found = run_parts(["network", "training", *(["timm"] if file.is_classifier else [])], shop.folder, images)
    checked = [
        shop.compare(f"{NETWORK} with {WEIGHTS}", found["network"]["logits"], images),
        _check_training(shop, found["training"]["logits"], images),
    ]
    return checked + _check_timm(shop, found.get("timm", {}), images)


def _num_params(shop: Workshop) -> int:
    return sum(parameter.numel() for parameter in shop.network.parameters())


def _description(shop: Workshop) -> str:
    """Return the docstring of the file: what it is, what was measured, how it is used."""
    architecture, host = shop.trained.architecture, shop.host
    placed = [f"    {name}: {' + '.join(map(str, specs))}" for name, specs in architecture.items]
    lines = [
        f"{host.name} with attention, architecture {architecture.id}: {host.classes} classes, "
        f"images {host.channels}x{host.input}x{host.input}.",
        "",
        *(["Attention stands at:", "", *placed] if placed else ["The bare host, without attention."]),
        "",
        "Measured:",
        "",
        *(f"    {name}: {value}" for name, value in shop.trained.rows),
        "",
        "This file needs torch alone. Its parameters have the names of `weights.safetensors` beside it.",
    ]
    return "\n".join(_wrapped(line) for line in lines).replace("\\", "\\\\").replace('"""', "'''")


def _wrapped(line: str, width: int = 116) -> str:
    """Break a line at spaces."""
    indent = " " * (len(line) - len(line.lstrip()))
    words, lines = line.split(), [""]
    for word in words:
        if lines[-1] and len(indent) + len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
            indent_next = "    "
            word = indent_next + word
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n".join((indent + each).rstrip() for each in lines)


def _check_training(shop: Workshop, found: Tensor, images: Tensor) -> str:
    """Compare it in training mode: batch norms, dropout and stochastic depth have to live."""
    expected = shop.trained.architecture.build()
    expected.load_state_dict(shop.network.state_dict())
    expected.train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        wanted = expected(images)
    # Batch statistics of few values carry rounding far: where it is not equal, an order of magnitude is enough to tell
    # dropout that is missing from sums in another order.
    return compare(f"{NETWORK} in training mode", found, wanted, tolerance=1e-2)


def _check_timm(shop: Workshop, found: dict[str, Tensor], images: Tensor) -> list[str]:
    """Compare what timm makes of it; nothing where timm is not installed."""
    if not found:
        return []
    if found["other"].shape != (len(images), 3):
        raise ExportError(f"timm.create_model(num_classes=3) of {NETWORK} answers {tuple(found['other'].shape)}")
    return [shop.compare(f"{NETWORK} by timm.create_model", found["logits"], images)]
