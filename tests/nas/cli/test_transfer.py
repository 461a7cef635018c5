"""`nas transfer`: a placement on another host."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces import Architecture

Run = Callable[..., tuple[int, str, str]]

TO = ["--host", "resnet32", "--input", 16]


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """SE in the first stage and BAM at its end, on ResNet-20."""
    path = tmp_path / "placed.yaml"
    path.write_text(
        "host: {name: resnet20}\nplacement: {'layer1.*/branch': {module: se, reduction: 4}, layer1/end: {module: bam}}"
    )
    return path


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """SE in a block that ResNet-20 does not have, and in one that it has."""
    path = tmp_path / "deep.yaml"
    path.write_text("host: {name: resnet32}\nplacement: {'layer1.[04]/branch': {module: se}}\n")
    return path


def test_the_architecture_goes_to_standard_output_and_what_moved_to_standard_error(run: Run, placed: Path) -> None:
    status, text, errors = run("transfer", placed, *TO)
    assert status == 0, errors
    assert "4 of 4 sites moved" in errors
    assert errors.count("moved\n") >= 4
    (placed.parent / "moved.yaml").write_text(text)
    architecture = Architecture.load(placed.parent / "moved.yaml")
    assert (architecture.host.name, architecture.host.input) == ("resnet32", 16)
    assert architecture.placement == Architecture.load(placed).placement


def test_what_is_written_can_be_shown(run: Run, placed: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "moved.yaml"
    status, text, errors = run("transfer", placed, *TO, "--out", out)
    assert (status, text) == (0, ""), errors
    assert str(out) in errors
    status, shown, _ = run("show", out)
    assert status == 0
    assert "host resnet32" in shown
    assert shown.count("layer1.") == 3


def test_where_something_is_left_nothing_is_written_and_the_reason_is_given(
    run: Run, deep: Path, tmp_path: Path
) -> None:
    out = tmp_path / "moved.yaml"
    status, text, errors = run("transfer", deep, "--host", "resnet20", "--out", out)
    assert (status, text) == (2, "")
    assert "1 of 2 sites do not transfer" in errors
    assert "resnet20 has no site of this name" in errors
    assert not out.exists()


def test_partial_goes_on_without_what_is_left(run: Run, deep: Path, tmp_path: Path) -> None:
    out = tmp_path / "moved.yaml"
    status, _, errors = run("transfer", deep, "--host", "resnet20", "--out", out, "--partial")
    assert status == 0, errors
    assert list(Architecture.load(out).placement) == ["layer1.0/branch"]


def test_json_says_what_moved_what_was_left_and_what_was_written(run: Run, deep: Path, tmp_path: Path) -> None:
    command = ["transfer", deep, "--host", "resnet20", "--json"]
    status, text, errors = run(*command)
    assert status == 2
    assert "do not transfer" in errors
    data = json.loads(text)
    assert (data["moved"], list(data["left"]), data["written"]) == (["layer1.0/branch"], ["layer1.4/branch"], None)
    out = tmp_path / "moved.yaml"
    status, text, errors = run(*command, "--partial", "--out", out)
    data = json.loads(text)
    assert (status, data["written"]) == (0, str(out))
    assert Architecture.load(out).id == data["id"]


def test_a_file_is_replaced_only_with_force(run: Run, placed: Path) -> None:
    before = placed.read_text()
    status, _, errors = run("transfer", placed, *TO, "--out", placed)
    assert status == 2
    assert "exists; --force" in errors
    assert placed.read_text() == before
    assert run("transfer", placed, *TO, "--out", placed, "--force")[0] == 0
    assert Architecture.load(placed).host.name == "resnet32"
    assert list(placed.parent.glob(".*")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "resnet21"], "unknown host 'resnet21'"),
        (["--host", "resnet20", "--head", "fasterrcnn"], "add neck: fpn"),
        (["--host", "resnet20", "--out", "moved.txt"], "ends in .yaml"),
    ],
)
def test_a_mistake_is_a_message_and_status_2(run: Run, placed: Path, arguments: list[str], message: str) -> None:
    status, text, errors = run("transfer", placed, *arguments)
    assert (status, text) == (2, "")
    assert message in errors
