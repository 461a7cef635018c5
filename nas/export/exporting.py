"""Exporting a trained network: everything that is written is read back in a fresh process and compared with it."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.export.accuracy import Rescored, rescore
from nas.export.base_files import ARCHITECTURE, README, rendered, write_base
from nas.export.formats import FORMATS, chosen, write_formats
from nas.export.from_retrained import trained_of_folder
from nas.export.from_study import trained_of_study
from nas.export.int8_format import INT8, Quantised
from nas.export.latency_table import BATCH_SIZES, Timed, write_latency
from nas.export.onnx_format import ONNX
from nas.export.picking import KNEE
from nas.export.trained import Trained
from nas.export.workshop import Workshop
from reports.view import StudyView
from search_spaces.errors import InputError

DEFAULT_FORMATS = ("network",)
_EXPORT = "export.json"


@dataclass(frozen=True)
class Wanted:
    """What is to be exported beside the files that every export has."""

    formats: tuple[str, ...] = DEFAULT_FORMATS
    """Of `FORMATS`, or `all`."""
    accuracy: bool = True
    """Measure the exported network on the images of its record, if they are at hand."""
    batch_sizes: Sequence[int] = BATCH_SIZES
    """That are timed, where there is ONNX."""
    timing_s: float = 1.0
    """For each line of the table of latencies."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    architecture_id: str
    checked: list[str]
    """What was compared with the trained network, in words."""
    failed: dict[str, str] = field(default_factory=dict)
    """From a format that could not be written to the reason."""
    accuracy: Rescored | None = None
    """None if it was not asked for, or the record says nothing of these very weights."""
    quantised: Quantised | None = None
    latency: tuple[Timed, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "folder": str(self.folder),
            "id": self.architecture_id,
            "checked": self.checked,
            "failed": self.failed,
            "accuracy": None if self.accuracy is None else self.accuracy.to_dict(),
            "int8": None if self.quantised is None else self.quantised.to_dict(),
        }


def export_study(
    view: StudyView,
    study: str | Path,
    pick: str = KNEE,
    out: Path | None = None,
    wanted: Wanted | None = None,
    *,
    data_dir: str | None = None,
) -> Exported:
    """Export one measured network of a study.

    Args:
        view: the study.
        study: its folder or URL, as `open_study` takes it.
        pick: `knee`, `best-accuracy`, `best-miou` (segmentation), an architecture's id, or the number of a trial of the
            search.
        out: the folder to write; default `exports/<study>-<id>`. An earlier export there is replaced.
        wanted: the formats, and what is measured.
        data_dir: where the study's images are, if not where they were.

    Raises:
        InputError: nothing is measured yet, an unknown pick or format, weights that were not kept, a folder that is no
            export, a module of the user's own whose source changed since the search.
        ExportError: the network is not rebuilt by what was written; nothing is left behind.
    """
    trained = trained_of_study(view, study, pick, data_dir)
    return export(trained, out or Path("exports") / f"{view.name}-{trained.architecture.id}", wanted or Wanted())


def export_retrained(
    folder: Path, out: Path | None = None, wanted: Wanted | None = None, *, data_dir: str | None = None
) -> Exported:
    """Export the network of a folder that `nas retrain` has written; arguments and errors as of `export_study`."""
    trained = trained_of_folder(folder, data_dir)
    return export(trained, out or Path("exports") / f"{folder.name}-{trained.architecture.id}", wanted or Wanted())


def export(trained: Trained, out: Path, wanted: Wanted) -> Exported:
    """Export a trained network to a folder, which appears when it is complete. Raises as `export_study`."""
    formats = chosen(wanted.formats)
    _refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        shop = Workshop(Path(temporary) / "export", trained)
        shop.folder.mkdir()
        checked, facts = write_base(shop)
        outcome = write_formats(shop, formats)
        exported = Exported(
            out,
            trained.architecture.id,
            [*checked, *outcome.checked],
            outcome.failed,
            rescore(shop.folder, trained) if wanted.accuracy and not shop.is_detector else None,
            outcome.quantised,
            _time(shop, wanted),
        )
        _write_readme(shop, exported, formats, facts)
        (shop.folder / _EXPORT).write_text(json.dumps(exported.to_dict(), indent=2) + "\n")
        if out.exists():
            shutil.rmtree(out)
        os.replace(shop.folder, out)
    return exported


def _time(shop: Workshop, wanted: Wanted) -> tuple[Timed, ...]:
    if not any((shop.folder / name).exists() for name in (ONNX, INT8)):
        return ()
    return write_latency(shop, wanted.batch_sizes, budget_s=wanted.timing_s)


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not (out / ARCHITECTURE).is_file():
        raise InputError(f"{out} exists and is no earlier export; give another folder with --out")


def _write_readme(shop: Workshop, exported: Exported, formats: Sequence[str], facts: dict[str, Any]) -> None:
    written = {
        file: FORMATS[name].says for name in formats if name not in exported.failed for file in FORMATS[name].files
    }
    more = {"exported": exported, "written": written}
    (shop.folder / README).write_text(rendered("export_readme.md.jinja", facts | more))
