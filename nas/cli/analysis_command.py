"""The command that makes the papers' own analyses of a trained network."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from nas.analysis import Data, Looking, Trained, analyse_files, analyse_study
from nas.cli import analysis_options as options
from nas.cli.architecture_commands import load_architecture
from nas.cli.output import AsJson, print_json, print_lines, print_table
from nas.experiment import load_experiment
from nas.study.home import ANALYSIS
from reports.analysis import Analysis
from reports.analysis.page import as_data, write_analysis
from reports.analysis.pictures import Tick, no_tick
from reports.analysis.sentences import gate_sentences
from search_spaces import Architecture, InputError
from search_spaces.yaml_files import Document, parse_yaml, validate
from trials import DataConfig

_EXPORTED = ("architecture.yaml", "weights.safetensors", "record.json")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(analyze)


def analyze(
    network: options.Network,
    weights: options.Weights = None,
    host_weights: options.HostWeights = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    part: options.WhichPart = None,
    pick: options.Pick = None,
    images: options.Images = 2000,
    examples: options.Examples = 6,
    classes: options.Classes = None,
    device: options.Device = "auto",
    out: options.Out = None,
    as_json: AsJson = False,
) -> None:
    """Look into a trained network: what its gates do, where it looks, what its channels tell apart."""
    named = tuple(name.strip() for name in classes.split(",")) if classes else ()
    looking = Looking(images, examples, named, part, device)
    tick: Tick = no_tick if as_json else _Progress()
    if is_study(network):
        _refuse(network, "a study", {"--weights": weights, "--host-weights": host_weights, "--data": data})
        found, winners, home = analyse_study(network, pick, looking, data_dir, tick)
        folder = out or home.folder / ANALYSIS / found.subject.architecture.id
        told = {"winners": [winner.id for winner in winners]}
    else:
        _refuse(network, "a study only", {}, {"--pick": pick})
        trained, known, folder = _files(network, weights, out)
        found = analyse_files(trained, host_weights, _data(data, data_dir, known), looking, tick)
        told = {}
    page = write_analysis(found, folder)
    if as_json:
        print_json({"page": str(page), **told, **as_data(found)})
        return
    _print(found, page)


def is_study(name: str) -> bool:
    """Return whether a name is a study's: a URL, or a folder that is no export."""
    return "://" in name or (Path(name).is_dir() and not (Path(name) / _EXPORTED[0]).is_file())


def _refuse(network: str, what: str, given: dict[str, Any], of_study: dict[str, Any] | None = None) -> None:
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option} is for an architecture; {network} is {what}, which has its own")
    for option, value in (of_study or {}).items():
        if value is not None:
            raise InputError(f"{option} is for {what}; {network} is none")


def _files(network: str, weights: Path | None, out: Path | None) -> tuple[Trained, int | None, Path]:
    """Return the network with its weights, how many images its training held out, and where to write."""
    folder = Path(network)
    if folder.is_dir():
        architecture, kept, record = (folder / name for name in _EXPORTED)
        loaded = Architecture.load(architecture)
        return Trained(loaded, weights or kept, loaded.id), _num_validation(record), out or folder / ANALYSIS
    loaded = load_architecture(network)
    if weights is None:
        raise InputError(f"{network}: what its attention does, only training can tell; give --weights FILE")
    return Trained(loaded, weights, loaded.id), None, out or Path(ANALYSIS) / loaded.id


def _num_validation(record: Path) -> int | None:
    try:
        return int(json.loads(record.read_text())["num_validation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _data(given: str | None, data_dir: str | None, known: int | None) -> Data:
    """Return the images that `--data` names; `known`: how many the training held out, if it was noted."""
    if given is None:
        raise InputError(
            "which images? give --data digits, cifar10, cifar100, '{source: folder, ...}' or an experiment"
        )
    if given.endswith((".yaml", ".yml")):
        config = load_experiment(given).config.data
        validation: int | None = config.validation
    else:
        document = parse_yaml(given, "--data")
        keys = document.data if isinstance(document.data, dict) else {"source": document.data}
        validation = keys.get("validation", known)
        config = validate(DataConfig, Document({"validation": 1, **keys}, "--data"))
    return Data(config.model_copy(update={"dir": data_dir}) if data_dir else config, known or validation)


class _Progress:
    """One line on standard error that says what is being done; where that is no terminal, a line for each thing."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done >= total else ""
            sys.stderr.write(f"\r\x1b[2K{what}: {done:,} of {total:,}{end}")
        elif what != self._last:
            sys.stderr.write(f"{what}\n")
        self._last = what
        sys.stderr.flush()


def _print(found: Analysis, page: Path) -> None:
    held = {each.site: each for each in found.frozen}
    rows = [
        (
            gate.site,
            gate.module.split("(")[0],
            f"{gate.mean:.3f}",
            f"{100 * gate.movement:.1f} %",
            f"{held[gate.site].num_changed} of {held[gate.site].num_images}",
            "wasted" if gate.is_wasted else "" if gate.is_gate else "no gate",
        )
        for gate in found.gates
    ]
    print_lines(f"architecture {found.subject.architecture.id} on {found.pictures.in_words}")
    columns = ("site", "module", "mean gate", "moves by", "predictions changed if held", "")
    print_table("", columns, rows, columns[2:5])
    print_lines("", *gate_sentences(found))
    names = {
        "class_weights": "weights by class", "maps": "attention maps", "cams": "Grad-CAM",
        "selectivity": "class selectivity", "importances": "bridges", "factors": "colla-factors", "host": "host",
    }  # fmt: skip
    print_lines(*(f"no {names[key]}: {reason}" for key, reason in found.reasons.items() if key in names))
    print_lines("", f"page:  {page}")
