"""Exports: what is written computes what was trained."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import nas
from nas.export import _write_program, export_study, pick_network
from nas.weights import weights_path
from search_spaces import Architecture, HostConfig, InputError


def test_the_knee_is_exported_with_a_program_and_reads_back(finished: nas.Outcome, tmp_path: Path) -> None:
    exported = export_study(finished.view, finished.folder, "knee", tmp_path / "out", with_program=True)
    names = {path.name for path in exported.folder.iterdir()}
    assert names == {"README.md", "architecture.yaml", "model.py", "model.pt2", "record.json", "weights.safetensors"}
    assert len(exported.checked) == 2
    architecture = Architecture.load(exported.folder / "architecture.yaml")
    assert architecture.id == exported.architecture_id
    images = torch.randn(5, 1, 8, 8)
    network = architecture.build(seed=99).eval()
    network.load_state_dict(load_file(exported.folder / "weights.safetensors"))
    program = torch.export.load(exported.folder / "model.pt2").module()
    torch.testing.assert_close(program(images), network(images), rtol=1e-4, atol=1e-5)


def test_the_exported_weights_reach_the_accuracy_that_the_readme_says(finished: nas.Outcome, tmp_path: Path) -> None:
    from trials import DataConfig, load_data, split

    folder = export_study(finished.view, finished.folder, "best-accuracy", tmp_path / "out").folder
    record = json.loads((folder / "record.json").read_text())
    data = load_data(DataConfig(source="digits", validation=100))
    _, validation = split(data, 100, 300, record["seed"])
    code = (
        f"import sys, torch; sys.path.insert(0, {str(folder)!r}); import model\n"
        "from safetensors.torch import load_file\n"
        f"data = load_file({str(tmp_path / 'images')!r})\n"
        "with torch.no_grad(): logits = model.load_model()(model.normalise(data['images']))\n"
        "print((logits.argmax(1) == data['labels']).float().mean().item())"
    )
    images, labels = torch.from_numpy(data.images[validation]), torch.from_numpy(data.labels[validation])
    save_file({"images": images.contiguous(), "labels": labels.contiguous()}, tmp_path / "images")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    # The record was measured in the trial's precision, which may be bf16: two images of a hundred may flip.
    assert float(shown) == pytest.approx(record["accuracy"], abs=0.02)
    assert f"{100 * record['accuracy']:.2f} %" in (folder / "README.md").read_text()


def test_a_network_is_picked_by_id_or_number(finished: nas.Outcome) -> None:
    trial = next(trial for trial in finished.view.search if trial.label == "host")
    assert pick_network(finished.view, trial.architecture.id).architecture.hash == trial.architecture.hash
    assert pick_network(finished.view, str(trial.number)).architecture.hash == trial.architecture.hash


def test_an_unknown_pick_is_answered_with_what_can_be_picked(finished: nas.Outcome) -> None:
    with pytest.raises(InputError, match=r"unknown pick.*'kne'.*did you mean 'knee'"):
        pick_network(finished.view, "kne")


def test_a_folder_that_is_no_export_is_left_alone(finished: nas.Outcome, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="exists and is no earlier export"):
        export_study(finished.view, finished.folder, "knee", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_that_computes_something_else_is_not_left_behind(
    finished: nas.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_program_of_another(folder: Path, _: torch.nn.Module, host: HostConfig) -> None:
        original(folder, Architecture.of(host, {}).build().eval(), host)

    original = _write_program
    monkeypatch.setattr("nas.export._write_program", write_program_of_another)
    with pytest.raises(RuntimeError, match=r"model\.pt2 differs from the trained network"):
        export_study(finished.view, finished.folder, "knee", tmp_path / "out", with_program=True)
    assert list(tmp_path.iterdir()) == []


def test_the_study_keeps_the_weights_of_its_front_its_baselines_and_all_confirmed(finished: nas.Outcome) -> None:
    kept = {path.name for path in (finished.folder / "weights").iterdir()}
    named = {
        weights_path(finished.folder, t.architecture, t.record.seed, t.record.epochs).name: t
        for t in (*finished.view.confirm, *finished.view.search)
        if t.record
    }
    assert kept <= set(named)
    wanted = {name for name, trial in named.items() if trial.label or (trial.record and trial.record.epochs == 2)}
    assert wanted <= kept
