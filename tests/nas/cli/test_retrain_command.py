"""`nas retrain` and `nas recipes`."""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from nas.cli import main
from trials.retrain import recipe_names

RECIPE = """
task: classification
source: made for tests
epochs: 2
batch_size: 64
optimizer: {lr: 0.1}
schedule: {kind: step, milestones: [1]}
precision: fp32
data: {source: digits}
checkpoint_s: 0.000001
"""
ARCHITECTURE = "host: {name: resnet20, classes: 10, input: 8, channels: 1}\nplacement: {layer3.2/out: {module: se}}\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small.yaml").write_text(ARCHITECTURE)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["nas", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_a_network_is_trained_written_and_scored_again(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = nas(
        monkeypatch, capsys, "retrain", "small.yaml", "mine.yaml", "--epochs", "1", "--seed", "1", "--json"
    )
    record = json.loads(out)
    assert status == 0, err
    assert err.count("epoch ") == 1
    assert record["recipe"]["schedule"]["milestones"] == [0.5]  # it moved along with the length
    folder = Path("retrained") / "mine" / f"{record['architecture_id']}-seed1"
    names = {"architecture.yaml", "recipe.yaml", "record.json", "weights.safetensors", "history.jsonl"}
    assert names <= {path.name for path in (files / folder).iterdir()}
    status, out, _ = nas(monkeypatch, capsys, "retrain", str(folder), "--evaluate", "--json")
    assert status == 0
    assert json.loads(out)["metrics"] == record["metrics"] == json.loads(out)["saved"]


def test_sigterm_ends_it_with_what_to_do_and_the_same_command_goes_on(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("retrain", "small.yaml", "mine.yaml", "--out", "out", "--device", "cpu", "--json")
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    process = multiprocessing.get_context("fork").Process(target=in_a_process, args=(command, files / "told"))
    process.start()
    while not list(files.glob("out/checkpoints/step-*")) and process.is_alive():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert "the same command goes on from there (out)" in (files / "told").read_text()
    status, out, _ = nas(monkeypatch, capsys, *command)
    assert (status, json.loads(out)["runs"]) == (0, 2)


def in_a_process(command: tuple[str, ...], told: Path) -> None:
    """Run a command with its standard error in a file."""
    os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr, sys.argv = os.fdopen(2, "w"), ["nas", *command]
    main()


def test_mistakes_are_one_message(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["small.yaml"], "nas: a RECIPE is missing; shipped ones: cifar10-resnet"),
        (["small.yaml", "imagenet-bm"], "did you mean 'imagenet-bam'?"),
        (["small.yaml", "imagenet-bam"], "imagenet: no such folder of images; give --data-dir"),
        (["small.yaml", "mine.yaml", "--backbone", "x"], "--backbone is for recipes of detection and segmentation"),
        (["small.yaml", "mine.yaml", "--accumulation", "3"], "`batch_size: 64` cannot be divided among 1 processes"),
        (["resnet50", "mine.yaml"], "but the images need `classes: 10`"),
    ):
        status, _, err = nas(monkeypatch, capsys, "retrain", *arguments)
        assert status == 2
        assert message in err
    status, _, err = nas(monkeypatch, capsys, "retrain", str(files), "--evaluate")
    assert (status, "holds no finished retraining" in err) == (2, True)


def test_all_recipes_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = nas(monkeypatch, capsys, "recipes")
    assert all(name in out for name in recipe_names())
    _, out, _ = nas(monkeypatch, capsys, "recipes", "--json")
    assert [recipe["name"] for recipe in json.loads(out)] == recipe_names()
