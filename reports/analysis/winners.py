"""The gates of what won a search, kept for its report, which then shows them without weights or images."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reports.analysis.frozen import freeze_each
from reports.analysis.gates import WASTED_BELOW, read_gates
from reports.analysis.pictures import Pictures, Tick
from reports.analysis.subject import Subject

WINNERS = "winners.json"
_FORMAT = 1


@dataclass(frozen=True)
class WinnersGate:
    """What the report shows of one gate."""

    site: str
    module: str
    mean: float
    movement: float
    """Over images and positions, as a share of its size."""
    is_gate: bool
    num_changed: int
    """Predictions that change with the gate held at its mean."""

    @property
    def is_wasted(self) -> bool:
        """Whether it never moves."""
        return self.is_gate and self.movement < WASTED_BELOW


@dataclass(frozen=True)
class Winner:
    """One network of the front with its gates, of one training."""

    id: str
    name: str
    images: str
    """Which images were looked at, in words."""
    num_held: int
    """Images that predictions were compared on."""
    gates: tuple[WinnersGate, ...]

    @property
    def wasted(self) -> list[WinnersGate]:
        """The gates that never move."""
        return [gate for gate in self.gates if gate.is_wasted]

    @property
    def idle(self) -> list[WinnersGate]:
        """The gates that move, and change no prediction when held."""
        return [gate for gate in self.gates if gate.is_gate and not gate.is_wasted and not gate.num_changed]


def read_winner(subject: Subject, pictures: Pictures, tick: Tick) -> Winner:
    """Read the gates of one network."""
    gates = read_gates(subject, pictures, tick)[0]
    held = freeze_each(subject, gates, pictures, tick) if gates else ()
    return Winner(
        subject.architecture.id,
        subject.title,
        pictures.in_words,
        held[0].num_images if held else 0,
        tuple(
            WinnersGate(gate.site, gate.module.split("(")[0], gate.mean, gate.movement, gate.is_gate, each.num_changed)
            for gate, each in zip(gates, held, strict=True)
        ),
    )


def write_winners(folder: Path, winners: Sequence[Winner]) -> Path:
    """Write the winners' gates into `folder`; return the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WINNERS
    data = {"format": _FORMAT, "winners": [asdict(winner) for winner in winners]}
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def read_winners(folder: Path) -> tuple[Winner, ...]:
    """Return what `write_winners` wrote into `folder`; nothing where there is no such file, or it cannot be read."""
    try:
        data = json.loads((folder / WINNERS).read_text(encoding="utf-8"))
        return tuple(_winner(each) for each in data["winners"]) if data["format"] == _FORMAT else ()
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _winner(data: dict[str, Any]) -> Winner:
    return Winner(**{**data, "gates": tuple(WinnersGate(**gate) for gate in data["gates"])})
