"""Whether an exported network is as accurate as its record says, on the very images of the record."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.export.fresh_process import run_module
from nas.export.images import identify
from nas.export.trained import Recorded, Trained


@dataclass(frozen=True)
class Rescored:
    """The accuracy of an exported network, measured anew."""

    recorded: Recorded
    value: float | None
    """None if the images were not at hand."""
    device: str
    """In words, what it was measured on."""
    missing: str = ""
    """Why the images were not at hand."""

    @property
    def is_equal(self) -> bool:
        """Whether it is exactly what the record says."""
        return self.value == self.recorded.value

    @property
    def in_words(self) -> str:
        """What was found, in a sentence."""
        recorded = self.recorded
        name = f"{recorded.split} {recorded.metric}"
        if self.value is None:
            return f"{name} of the exported network: not checked, since its images are not at hand ({self.missing})"
        images = "" if recorded.num_images is None else f" on the {recorded.num_images} images of the record"
        told = f"{name} of the exported network in a fresh process{images}, {recorded.precision}: {_share(self.value)}"
        if recorded.metric == "accuracy" and recorded.num_images is not None:
            told += f" ({round(self.value * recorded.num_images)} right)"
        if self.is_equal:
            return f"{told}, exactly as recorded"
        return (
            f"{told}; recorded: {_share(recorded.value)}. Rounding differs with the device, its threads and the "
            f"versions: the record is of {recorded.device}, this is {self.device}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"is_equal": self.is_equal}


def rescore(folder: Path, trained: Trained) -> Rescored | None:
    """Measure an exported network in a fresh process; None where the record says nothing of these very weights.

    Raises:
        ExportError: the network cannot be loaded there.
    """
    if trained.recorded is None:
        return None
    found = run_module("nas.export.rescore", str(folder.resolve()), json.dumps(identify(trained.images)))
    if "missing" in found:
        return Rescored(trained.recorded, None, "", found["missing"])
    return Rescored(trained.recorded, found["metrics"][trained.recorded.metric], found["device"])


def _share(value: float) -> str:
    return f"{100 * value:.2f} %"
