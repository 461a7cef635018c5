"""The architectures that a report names, as files that `nas show`, `cost` and `retrain` read."""

import re
from collections.abc import Mapping
from pathlib import Path

from reports.front.summary import Summary
from search_spaces import Architecture

FOLDER = "architectures"
_OURS = re.compile(r"[0-9a-f]{10}\.yaml")


def named(*summaries: Summary) -> dict[str, Architecture]:
    """Return the front, the baselines and all that was confirmed, by id."""
    kept = [
        item.architecture
        for summary in summaries
        for item in summary.items
        if item.on_front or item.role == "baseline" or summary.stage == "confirm"
    ]
    return {architecture.id: architecture for architecture in kept}


def write_architectures(folder: Path, architectures: Mapping[str, Architecture]) -> list[Path]:
    """Write `<id>.yaml` of each and return the paths; files of an earlier report that are not among them go."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{key}.yaml" for key in architectures]
    for old in folder.iterdir():
        if _OURS.fullmatch(old.name) and old not in paths:
            old.unlink()
    for path, architecture in zip(paths, architectures.values(), strict=True):
        path.write_text(architecture.to_yaml(), encoding="utf-8")
    return paths
