"""The commands: text and JSON, and how mistakes are answered."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import nas
from nas.export import FORMATS
from search_spaces import Architecture

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    "command",
    [
        ["hosts", "resnet2[0]"],
        ["modules"],
        ["modules", "se"],
        ["sites", "resnet20"],
        ["space", "quickstart"],
        ["show", "resnet50-se"],
        ["cost", "resnet50-se"],
    ],
)
def test_every_catalogue_command_prints_text_and_json(run: Run, command: list[str]) -> None:
    status, text, errors = run(*command)
    assert status == 0, errors
    assert text.strip()
    status, printed, _ = run(*command, "--json")
    assert status == 0
    assert json.loads(printed)


def test_one_module_is_shown_with_its_definition(run: Run) -> None:
    assert "s = sigmoid(W2 ReLU(W1 z))" in run("modules", "se")[1]
    assert "s = sigmoid(W2 ReLU(W1 z))" not in run("modules")[1]


def test_a_layer_of_timm_s_is_shown_with_what_is_no_knob_and_what_is_unavailable_with_the_reason(run: Run) -> None:
    pytest.importorskip("timm")
    assert "not kernel_size: it changes nothing" in run("modules", "timm/eca")[1]
    listed = json.loads(run("modules", "timm", "--json")[1])
    assert {"timm/se", "timm/gc", "timm/halo"} <= {module["name"] for module in listed if "params" in module}
    assert all("params" in module or module["unavailable"] for module in listed)


def test_status_and_report_describe_a_study_in_text_and_json(run: Run, finished: nas.Outcome, tmp_path: Path) -> None:
    for command in (["status", finished.folder], ["report", finished.folder, "--out", tmp_path / "report"]):
        status, text, errors = run(*command)
        assert status == 0, errors
        assert "se everywhere" in text
        data = json.loads(run(*command, "--json")[1])
        assert len(data["trials"]) == 15
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_front_is_printed_within_a_terminal_s_width(
    run: Run, finished: nas.Outcome, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.cli.front_table.console", lambda: Console(width=width))
    text = run("status", finished.folder)[1].splitlines()
    header = next(i for i, line in enumerate(text) if "validation" in line and "architecture" in line)
    table = text[header : header + 6]
    assert max(map(len, table)) <= width
    assert ("modules" in table[0]) == (width == 200)
    assert sum("everywhere" in line for line in table) >= 1


def test_export_says_what_it_checked(run: Run, finished: nas.Outcome, tmp_path: Path) -> None:
    status, text, errors = run("export", finished.folder, "--pick", "knee", "--out", tmp_path / "out")
    assert status == 0, errors
    for what in ("model.py with weights.safetensors", "network.py with weights.safetensors", "validation accuracy of"):
        assert f"checked: {what}" in text


def test_an_unknown_format_is_answered_with_those_there_are(run: Run, finished: nas.Outcome, tmp_path: Path) -> None:
    status, _, errors = run("export", finished.folder, "--format", "onx", "--out", tmp_path / "out")
    assert status == 2
    assert "unknown format 'onx'" in errors
    assert "network, program, onnx, int8, mmdet, all" in errors
    assert not (tmp_path / "out").exists()


def test_a_format_that_was_asked_for_and_failed_is_told_by_the_status(
    run: Run, finished: nas.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[str]:
        raise ValueError("this exporter has no `mean`\nand more")

    monkeypatch.setitem(FORMATS, "program", replace(FORMATS["program"], write=fail))
    command = ("export", finished.folder, "--format", "program", "--no-accuracy", "--out", tmp_path / "out")
    status, text, errors = run(*command)
    assert status == 1
    assert "not written: program: ValueError: this exporter has no `mean`" in errors
    assert "checked: model.py" in text


def test_of_a_retrained_network_nothing_is_picked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("task: classification\n")
    assert "leave --pick out" in run("export", tmp_path, "--pick", "best-accuracy")[2]
    assert "holds no finished retraining" in run("export", tmp_path)[2]


def test_a_shown_architecture_can_be_read_back(run: Run) -> None:
    shown = json.loads(run("show", "resnet50-se", "--json")[1])
    again = Architecture.from_dict({"host": shown["host"], "placement": shown["placement"]})
    assert again.id == shown["id"]


@pytest.mark.parametrize("what", ["experiment", "space", "architecture"])
def test_a_schema_has_a_description_under_every_key(run: Run, what: str) -> None:
    schema = json.loads(run("schema", what)[1])
    objects = [schema, *schema.get("$defs", {}).values()]
    missing = [
        key for each in objects for key, value in each.get("properties", {}).items() if "description" not in value
    ]
    assert missing == []


def test_latency_is_measured_on_demand(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("host: {name: resnet20, input: 8, channels: 1}\nplacement: {'*/branch': {module: se}}\n")
    data = json.loads(run("cost", path, "--latency", "--device", "cpu", "--json")[1])
    assert data["latency"]["architecture"]["median_ms"] > 0
    assert "latency" not in json.loads(run("cost", path, "--json")[1])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["cost", "resnet50-sse"], "did you mean 'resnet50-se'"),
        (["sites", "resnet21"], "unknown host 'resnet21'"),
        (["status", "studies/none"], "no such study"),
        (["search", "quickstrat"], "did you mean 'quickstart'"),
        (["show", "missing.yaml"], "missing.yaml: no such file"),
        (["cost", "resnet50", "--latency", "--device", "tpu"], "tpu"),
    ],
)
def test_a_mistake_is_one_short_message_and_status_2(
    run: Run, command: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(*command)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [], "a mistake writes nothing"


def test_missing_images_say_where_they_were_looked_for_and_write_no_study(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(
        "space: {host: {name: resnet20}, choices: [{at: '*/out', modules: {none: {}, eca: {}}}]}\n"
        "data: {source: folder, dir: pictures, validation: 10, size: 32}\n"
        "train: {epochs: 1, batch_size: 8, lr: 0.1}\n"
    )
    status, _, errors = run("search", experiment)
    assert status == 2
    assert str(tmp_path / "pictures") in errors
    assert not (tmp_path / "studies").exists()
