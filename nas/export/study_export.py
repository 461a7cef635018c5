"""Exporting a trained network of a study: YAML, weights, code that rebuilds it, and a torch.export program.

Everything that is written is read back in a fresh process and compared with the trained network before the export
reports success.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch
from jinja2 import Environment, StrictUndefined
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas.study_home import find_study
from nas.study_plugins import refuse_changed_plugins
from nas.weights import weights_path
from reports.front import Measured, best_summary, summarise_search
from reports.objectives import OBJECTIVES
from reports.quality import quality_of
from reports.tables import interval_of
from reports.view import StudyView
from search_spaces import HostConfig
from search_spaces.attention.timm_layers import PREFIX as TIMM
from search_spaces.errors import InputError, unknown
from search_spaces.plugins import Plugin, plugins_of
from trials import TrialRecord

KNEE = "knee"
_BEST = {"best-accuracy": OBJECTIVES["accuracy"].value, "best-miou": OBJECTIVES["miou"].value}

_TOLERANCE = 1e-5
"""Largest allowed difference of a logit from the trained network's, relative to its largest logit."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    architecture_id: str
    checked: list[str]
    """What was compared with the trained network, in words."""


def export_study(
    view: StudyView, study: str | Path, pick: str = KNEE, out: Path | None = None, *, with_program: bool = False
) -> Exported:
    """Export one measured network of a study.

    Args:
        view: the study.
        study: its folder or URL, as `open_study` takes it.
        pick: `knee`, `best-accuracy`, `best-miou` (segmentation), an architecture's id, or the number of a trial of the
            search.
        out: the folder to write; default `exports/<study>-<id>`. An earlier export there is replaced.
        with_program: also write a torch.export program with a dynamic batch size (`model.pt2`).

    Raises:
        InputError: nothing is measured yet, an unknown pick, weights that were not kept, a folder that is no export,
            a module of the user's own whose source changed since the search.
        RuntimeError: what was written does not compute what the trained network computes; nothing is left behind.
    """
    home = find_study(study)
    refuse_changed_plugins(home.shown, home.facts())
    item = pick_network(view, pick)
    record, weights = kept_training(home.folder, item)
    out = out or Path("exports") / f"{view.name}-{item.architecture.id}"
    _refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        folder = Path(temporary) / "export"
        folder.mkdir()
        trained = item.architecture.build().eval()
        trained.load_state_dict(load_file(weights))
        _write(folder, view, item, record, weights)
        if with_program:
            _write_program(folder, trained, item.architecture.host)
        checked = _check(folder, trained, item.architecture.host, with_program)
        if out.exists():
            shutil.rmtree(out)
        os.replace(folder, out)
    return Exported(out, item.architecture.id, checked)


def pick_network(view: StudyView, pick: str) -> Measured:
    """Return the measured network that `pick` names: of the confirmation where there is one, else of the search.

    Raises:
        InputError: nothing is measured yet, or nothing of that name.
    """
    summary, search = best_summary(view), summarise_search(view)
    if not summary.items:
        raise InputError(f"{view.path} holds no finished trial yet")
    if pick == KNEE:
        return summary.knee or max(summary.front, key=_quality)
    best = {name: value for name, value in _BEST.items() if summary.items[0].mean(value) is not None}
    if pick in best:
        return max(summary.items, key=lambda item: item.adjusted(best[pick]) or 0.0)
    named = [item for item in (*summary.items, *search.items) if pick in (item.architecture.id, str(item.number))]
    if not named:
        known = [KNEE, *best, *(item.architecture.id for item in summary.front)]
        raise unknown("pick (or give the number of a finished trial)", pick, known)
    return named[0]


def _quality(item: Measured) -> float:
    return item.adjusted(quality_of(item.records).value) or 0.0


def kept_training(folder: Path, item: Measured) -> tuple[TrialRecord, Path]:
    """Return the training with the best validation accuracy (or mIoU) whose weights were kept.

    Raises:
        InputError: none were kept.
    """
    value = quality_of(item.records).value
    for record in sorted(item.records, key=lambda record: -(value(record) or 0.0)):
        path = weights_path(folder, item.architecture, record.seed, record.epochs)
        if path.is_file():
            return record, path
    raise InputError(
        f"no weights of {item.name} are in {folder / 'weights'}: the search keeps those of its front and its "
        f"baselines, the confirmation all of its own; `keep: {{weights: all}}` keeps more, `none` nothing"
    )


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not (out / _ARCHITECTURE).is_file():
        raise InputError(f"{out} exists and is no earlier export; give another folder with --out")


_ARCHITECTURE, _WEIGHTS, _MODEL, _PROGRAM = "architecture.yaml", "weights.safetensors", "model.py", "model.pt2"
_PLUGINS = "plugins"
"""The folder of the user's own modules."""


def _write(folder: Path, view: StudyView, item: Measured, record: TrialRecord, weights: Path) -> None:
    (folder / _ARCHITECTURE).write_text(item.architecture.to_yaml())
    shutil.copyfile(weights, folder / _WEIGHTS)
    (folder / "record.json").write_text(json.dumps(record.to_dict(), indent=2) + "\n")
    copied, packages = _write_plugins(folder, item)
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    quality = quality_of(item.records)
    facts = {
        "mean": json.loads(metadata["mean"]),
        "std": json.loads(metadata["std"]),
        "architecture": item.architecture,
        "item": item,
        "record": record,
        "view": view,
        "version": version("attention-placement-search"),
        "torch_version": torch.__version__,
        "quality": quality.words,
        "reached": quality.value(record),
        "tested": quality.test(record),
        "test": interval_of(item, quality.test),
        "validation": interval_of(item, quality.value),
        "program": _PROGRAM,
        "plugins": copied,
        "packages": packages,
        "extra": "[timm]" if any(name.startswith(TIMM) for name in _modules_of(item)) else "",
    }
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    for template, name in (("export_model.py.jinja", _MODEL), ("export_readme.md.jinja", "README.md")):
        text = files("nas").joinpath("templates", template).read_text()
        (folder / name).write_text(environment.from_string(text).render(facts))


def _write_plugins(folder: Path, item: Measured) -> tuple[list[str], list[str]]:
    """Copy the files that the network's own modules come from; return those to load, and packages that stay outside."""
    used = plugins_of(_modules_of(item))
    files_of = [plugin for plugin in used if not plugin.in_package]
    if files_of:
        (folder / _PLUGINS).mkdir()
    for plugin in files_of:
        for name, source in _single_files(plugin):
            shutil.copyfile(source, folder / _PLUGINS / f"{name}.py")
    copied = [f"{_PLUGINS}/{plugin.module}.py" for plugin in files_of]
    return copied, [plugin.module for plugin in used if plugin.in_package]


def _modules_of(item: Measured) -> list[str]:
    return list(dict.fromkeys(spec.module for _, specs in item.architecture.items for spec in specs))


def _single_files(plugin: Plugin) -> Iterator[tuple[str, str]]:
    """Yield the modules of a plugin and their files. Raises InputError if it needs a package that lies beside it."""
    for name in plugin.sources:
        source = sys.modules[name].__file__
        if "." in name or hasattr(sys.modules[name], "__path__") or source is None:
            raise InputError(
                f"{plugin.given} imports the package {name.split('.')[0]} beside it, which an export does not hold; "
                "move the modules into the package and pass that with --plugins, or all into one file"
            )
        yield name, source


def _write_program(folder: Path, trained: nn.Module, host: HostConfig) -> None:
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(trained, (_images(host, 2),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / _PROGRAM)


def _images(host: HostConfig, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, host.channels, host.input, host.input, generator=generator)


_PROBE = """
import sys, torch
from pathlib import Path
from safetensors import safe_open
from safetensors.torch import load_file, save_file
folder, inputs, outputs, program = sys.argv[1:]
sys.path.insert(0, folder)
images = load_file(inputs)["images"]
with torch.no_grad():
    if program:
        network = torch.export.load(str(Path(folder) / program)).module()
    else:
        import model
        network = model.load_model()
    save_file({"logits": network(images).contiguous()}, outputs)
"""


def _check(folder: Path, trained: nn.Module, host: HostConfig, with_program: bool) -> list[str]:
    """Compare what was written, loaded in a fresh process, with the trained network on random inputs."""
    images = _images(host, 3)
    with torch.no_grad():
        expected = trained(images)
    scale = float(expected.abs().max())
    checked = []
    for what, program in ((f"{_MODEL} with {_WEIGHTS}", ""), (_PROGRAM, _PROGRAM))[: 1 + with_program]:
        difference = float((_run_fresh(folder, images, program) - expected).abs().max())
        if not difference <= _TOLERANCE * scale:
            raise RuntimeError(
                f"{what} differs from the trained network by {difference:.3g} (largest logit {scale:.3g})"
            )
        checked.append(
            f"{what}: largest difference {difference:.1e} on {len(images)} random images (logits to {scale:.1f})"
        )
    return checked


def _run_fresh(folder: Path, images: Tensor, program: str) -> Tensor:
    with tempfile.TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch) / "inputs", Path(scratch) / "outputs"
        save_file({"images": images}, inputs)
        command = [sys.executable, "-c", _PROBE, str(folder), str(inputs), str(outputs), program]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the export cannot be loaded:\n{done.stderr.strip()}")
        return load_file(outputs)["logits"]
