"""Where spatial attention looks: gates averaged over channels, for single images.

Park et al., 2020 (BAM's journal version), section 6.2, figures 5 and 6: the mean over channels at each bottleneck,
resized to the image, on one scale for all images of a stage (here from the 1st to the 99th percentile of what is
drawn).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reports.analysis.gates import SiteGate, readers_of, watching
from reports.analysis.pictures import Pictures
from reports.analysis.subject import Subject

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The maps of one site."""

    site: str
    module: str
    stage: str
    maps: Floats
    """(n, h, w), the gate's mean over channels."""
    low: float
    high: float
    """The ends of the scale of colours, common to its images."""


def attention_maps(
    subject: Subject, gates: Sequence[SiteGate], pictures: Pictures, examples: Sequence[int]
) -> tuple[AttentionMaps, ...]:
    """Return maps for some images: of each stage, the last site whose gate tells positions apart."""
    last = {gate.stage: i for i, gate in enumerate(gates) if gate.is_spatial}
    readers = list(readers_of(subject)[0].items())
    chosen = dict(readers[i] for i in last.values())
    if not chosen or not examples:
        return ()
    with watching(chosen) as watches:
        subject.look(pictures.normalised(examples, subject.device), watches)
    found = []
    for i in last.values():
        reader = readers[i][1]
        valid = torch.ones_like(reader.gate) if reader.valid is None else reader.valid.float()
        count_BHW = valid.sum(1)
        mean_BHW = (reader.gate * valid).sum(1) / count_BHW.clamp(min=1)
        # Where every channel is 0, the gate weighs nothing, and nothing can be read.
        mean_BHW = torch.where(count_BHW > 0, mean_BHW, gates[i].mean)
        maps = mean_BHW.cpu().numpy()
        low, high = (float(np.percentile(maps, q)) for q in (1, 99))
        found.append(AttentionMaps(gates[i].site, gates[i].module, gates[i].stage, maps, low, high))
    return tuple(found)
