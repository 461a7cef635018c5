"""`nas analyze`: an architecture with weights, an export, a study; and how mistakes are answered."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from reports.analysis.winners import read_winners
from search_spaces import Architecture
from trials import DataConfig, TrainConfig, TrialConfig, run_trial

Run = Callable[..., tuple[int, str, str]]

ARCHITECTURE = """
host: {name: resnet20, classes: 10, input: 8, channels: 1}
placement:
  "layer1.*/branch": {module: ba, reduction: 8}
  layer1/end: {module: bam, reduction: 4, dilation: 1}
  layer2.0/branch: {module: cat, reduction: 4}
  layer2.1/branch: {module: se, reduction: 4}
  layer3.2/merge: {module: aff}
"""
DATA = "{source: digits, validation: 100}"
TABLES = {"gates", "class_weights", "selectivity", "bridge_importance", "colla_factors", "predictions"}
FIGURES = (TABLES - {"predictions"}) | {"attention_maps", "grad_cam"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small architecture, and the weights of it and of its host after one epoch of digits."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "a.yaml").write_text(ARCHITECTURE)
    architecture = Architecture.load(folder / "a.yaml")
    data = DataConfig(source="digits", validation=100, training=300)
    config = TrialConfig(data=data, train=TrainConfig(epochs=1, batch_size=50, lr=0.1, warmup=0.5), device="cpu")
    for name, each in (("a", architecture), ("host", Architecture.of(architecture.host, {}))):
        record = run_trial(each, config, seed=4, weights=folder / f"{name}.safetensors")
        assert record.status == "complete"
    return folder


def analyze(run: Run, trained: Path, *more: object) -> tuple[int, str, str]:
    """Analyse the small architecture."""
    return run("analyze", trained / "a.yaml", "--weights", trained / "a.safetensors", "--data", DATA, *more)


def test_an_architecture_is_analysed_beside_its_host_into_a_self_contained_page(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    pytest.importorskip("captum")
    out = tmp_path / "out"
    status, text, errors = analyze(run, trained, "--host-weights", trained / "host.safetensors", "--out", out)
    assert status == 0, errors
    assert "all 100 validation images" in text
    assert "layer3.2/merge" in text
    page = (out / "analysis.html").read_text()
    assert page.count("data:image/") == len(FIGURES)
    assert "Does not apply" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert {path.stem for path in out.glob("*.csv")} == TABLES
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")
    }
    data = json.loads((out / "analysis.json").read_text())
    assert data["images"] == {"part": "validation", "num": 100, "of": 100}
    assert {each["network"] for each in data["selectivity"]} == {"host", data["id"]}
    with (out / "gates.csv").open() as file:
        assert [row["site"] for row in csv.DictReader(file)] == [gate["site"] for gate in data["gates"]]


def test_the_same_command_gives_the_same_numbers_and_json(run: Run, trained: Path, tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []
    for name in ("one", "two"):
        status, text, errors = analyze(run, trained, "--images", 40, "--out", tmp_path / name, "--json")
        assert status == 0, errors
        found.append(json.loads(text))
    one, two = ({key: value for key, value in each.items() if key != "page"} for each in found)
    assert one == two
    assert one["host_accuracy"] is None
    assert "--host-weights" in one["reasons"]["host"]
    assert (tmp_path / "one" / "analysis.html").read_bytes() == (tmp_path / "two" / "analysis.html").read_bytes()


def test_a_state_dict_of_torch_is_read_and_its_images_are_of_the_test_part(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    architecture = Architecture.load(trained / "a.yaml")
    torch.save(architecture.build().state_dict(), tmp_path / "a.pt")
    status, text, errors = run(
        *("analyze", trained / "a.yaml", "--weights", tmp_path / "a.pt", "--data", "digits"),
        *("--images", 30, "--examples", 0, "--out", tmp_path / "out", "--json"),
    )
    assert status == 0, errors
    data = json.loads(text)
    assert data["images"]["part"] == "test"
    assert "no images are to be shown" in data["reasons"]["cams"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--weights", "none.safetensors"], "none.safetensors: no such file of weights"),
        (["--weights", "HOST"], "are of another network"),
        (["--weights", "a.yaml"], "not a file of weights"),
        (["--classes", "seven"], "unknown class 'seven'"),
        (["--data", "digit"], "digit"),
        (["--data", "{source: folder, dir: pictures, size: 8}"], "pictures"),
        (["--pick", "knee"], "--pick is for a study only"),
        (["--part", "validation", "--data", "digits"], "add `validation` to --data"),
        (["--device", "tpu"], "tpu"),
        (["--host-weights", "OWN"], "are of another network"),
    ],
)
def test_a_mistake_is_one_short_message_and_status_2(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(ARCHITECTURE)
    named = {"HOST": trained / "host.safetensors", "OWN": trained / "a.safetensors"}
    status, _, errors = analyze(run, trained, *(named.get(word, word) for word in more))
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"], "a mistake writes nothing"


def test_weights_of_the_same_shapes_but_another_architecture_are_refused(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(ARCHITECTURE.replace("module: bam, reduction: 4, dilation: 1", "module: bam, reduction: 4"))
    status, _, errors = run("analyze", path, "--weights", trained / "a.safetensors", "--data", DATA)
    assert status == 2
    assert "these weights are of architecture" in errors


def test_an_architecture_without_weights_or_data_says_what_to_give(run: Run, trained: Path) -> None:
    assert "--weights FILE" in run("analyze", trained / "a.yaml")[2]
    assert "--data" in run("analyze", trained / "a.yaml", "--weights", trained / "a.safetensors")[2]


def test_a_study_is_analysed_with_its_own_images_and_leaves_its_winners_gates(run: Run, finished: nas.Outcome) -> None:
    status, text, errors = run("analyze", finished.folder, "--images", 40, "--json")
    assert status == 0, errors
    data = json.loads(text)
    folder = finished.folder / "analysis"
    assert Path(data["page"]) == folder / data["id"] / "analysis.html"
    assert data["images"] == {"part": "validation", "num": 40, "of": 100}
    assert data["host_accuracy"] is not None, "a study keeps its host's weights"
    winners = read_winners(folder)
    assert [winner.id for winner in winners] == data["winners"]
    assert all(winner.gates for winner in winners)
    assert read_winners(folder / "nowhere") == ()


def test_a_picked_network_and_its_export_are_analysed_alike(run: Run, finished: nas.Outcome, tmp_path: Path) -> None:
    status, text, errors = run("analyze", finished.folder, "--pick", "se everywhere", "--json")
    assert status == 2
    assert "unknown pick" in errors
    pick = next(trial.architecture.id for trial in finished.view.confirm if trial.label == "se everywhere")
    status, text, errors = run("analyze", finished.folder, "--pick", pick, "--images", 40, "--json")
    assert status == 0, errors
    exported = tmp_path / "export"
    assert run("export", finished.folder, "--pick", pick, "--out", exported)[0] == 0
    status, again, errors = run("analyze", exported, "--data", "digits", "--images", 40, "--json")
    assert status == 0, errors
    of_study, of_export = json.loads(text), json.loads(again)
    assert of_export["images"] == of_study["images"]
    assert of_export["gates"] == of_study["gates"]
    assert (exported / "analysis" / "analysis.html").is_file()
    assert "has its own" in run("analyze", finished.folder, "--data", "digits")[2]
