"""The network as a torch.export program with a dynamic batch size."""

import torch

from nas.export.errors import ExportError
from nas.export.fresh_process import run_part
from nas.export.workshop import Workshop

PROGRAM = "model.pt2"


def write_program(shop: Workshop) -> list[str]:
    """Write it, and return what was checked. Raises ExportError."""
    if shop.is_detector:
        raise ExportError(f"a {shop.host.head} answers as many boxes as it finds, which torch.export cannot follow")
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(shop.network, (shop.images(2),), dynamic_shapes=({0: batch},))
    torch.export.save(program, shop.folder / PROGRAM)
    images = shop.images(3)
    return [shop.compare(PROGRAM, run_part("program", shop.folder, images)["logits"], images)]
