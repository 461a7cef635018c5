"""Exports: what is written computes what was trained."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import nas
from nas.export import FORMATS, ExportError, Wanted, export_study, pick_network
from nas.export.formats import chosen
from nas.export.program_format import write_program
from nas.export.workshop import Workshop
from nas.running.weights import weights_path
from search_spaces import Architecture, InputError

BASE = {"README.md", "architecture.yaml", "export.json", "model.py", "record.json", "weights.safetensors"}
QUICK = {"batch_sizes": (1,), "timing_s": 0.01}


@pytest.fixture(scope="module")
def everything(finished: nas.Outcome, tmp_path_factory: pytest.TempPathFactory) -> nas.export.Exported:
    """An export of the best network of the toy study in all formats."""
    pytest.importorskip("onnxruntime")
    out = tmp_path_factory.mktemp("exports") / "all"
    return export_study(finished.view, finished.folder, "best-accuracy", out, Wanted(("all",), **QUICK))


def test_all_formats_are_written_and_compared(everything: nas.export.Exported) -> None:
    assert everything.failed == {}
    names = {path.name for path in everything.folder.iterdir()}
    formats = {"network.py", "model.pt2", "model.onnx", "model-int8.onnx", "latency.csv"}
    assert names == BASE | formats | {"mmdet_backbone.py", "mmdet_config.py", "backbone.pth"}
    for name in ("model.py", "network.py", "model.pt2", "model.onnx", "model-int8.onnx", "mmdet_backbone.py"):
        assert any(line.startswith(name) for line in everything.checked), name
    assert json.loads((everything.folder / "export.json").read_text()) == everything.to_dict()


def test_the_program_takes_any_number_of_images(everything: nas.export.Exported) -> None:
    architecture = Architecture.load(everything.folder / "architecture.yaml")
    assert architecture.id == everything.architecture_id
    images = torch.randn(5, 1, 8, 8)
    network = architecture.build(seed=99).eval()
    network.load_state_dict(load_file(everything.folder / "weights.safetensors"))
    program = torch.export.load(everything.folder / "model.pt2").module()
    torch.testing.assert_close(program(images), network(images), rtol=1e-4, atol=1e-5)


def test_the_exported_network_is_exactly_as_accurate_as_recorded(everything: nas.export.Exported) -> None:
    found = everything.accuracy
    assert found is not None
    record = json.loads((everything.folder / "record.json").read_text())
    assert found.recorded.value == record["history"][-1]["accuracy"]
    assert found.value is not None
    # One machine, one precision: not one of the hundred images may differ.
    assert round(100 * found.value) == round(100 * found.recorded.value)
    assert found.is_equal
    assert "exactly as recorded" in (everything.folder / "README.md").read_text()


def test_the_file_of_the_network_runs_where_the_package_is_not(everything: nas.export.Exported) -> None:
    # An isolated process (-I) whose finder refuses the package; timm is there, so that it registers.
    code = (
        "import importlib.util, sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('search_spaces', 'trials', 'reports', 'nas', 'safetensors'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"spec = importlib.util.spec_from_file_location('network', {str(everything.folder / 'network.py')!r})\n"
        "sys.modules['network'] = module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "import torch\n"
        "print(module.BUILDER(weights='DEFAULT').eval()(torch.ones(1, 1, 8, 8)).tolist()[0])"
    )
    shown = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    network = Architecture.load(everything.folder / "architecture.yaml").build().eval()
    network.load_state_dict(load_file(everything.folder / "weights.safetensors"))
    expected = network(torch.ones(1, 1, 8, 8))[0]
    torch.testing.assert_close(torch.tensor(json.loads(shown)), expected, rtol=1e-5, atol=1e-6)


def test_8_bits_are_scored_beside_float_on_the_same_images(everything: nas.export.Exported) -> None:
    found = everything.quantised
    assert found is not None
    assert (found.num_images, found.num_calibrated) == (100, 256)
    assert everything.accuracy is not None
    assert found.float_accuracy == pytest.approx(everything.accuracy.value, abs=0.02)  # the record may be in bf16
    assert found.difference == pytest.approx(found.int8_accuracy - found.float_accuracy)
    assert found.low < found.difference < found.high
    assert found.int8_bytes < found.float_bytes


def test_the_table_of_latencies_has_every_kind_beside_pytorch(everything: nas.export.Exported) -> None:
    with (everything.folder / "latency.csv").open() as file:
        rows = list(csv.DictReader(file))
    on_cpu = [row for row in rows if "thread" in row["device"]]
    assert [row["what"] for row in on_cpu] == ["PyTorch", "ONNX", "ONNX int8"]
    assert all(float(row["p10_ms"]) <= float(row["median_ms"]) <= float(row["p90_ms"]) for row in rows)


def test_by_default_the_file_of_the_network_is_written(finished: nas.Outcome, tmp_path: Path) -> None:
    exported = export_study(finished.view, finished.folder, "knee", tmp_path / "out", Wanted(accuracy=False))
    assert {path.name for path in exported.folder.iterdir()} == BASE | {"network.py"}
    assert exported.accuracy is None
    assert f"architecture {exported.architecture_id}" in (exported.folder / "network.py").read_text()


def test_a_format_brings_what_it_is_made_of() -> None:
    assert chosen(["int8"]) == ("onnx", "int8")
    assert chosen(["mmdet", "program"]) == ("network", "program", "mmdet")
    with pytest.raises(InputError, match=r"unknown format.*'onx'.*did you mean 'onnx'"):
        chosen(["onx"])


def test_without_its_images_8_bits_are_refused_and_the_rest_is_written(
    finished: nas.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")

    def missing(_: object) -> None:
        raise InputError("no images in data")

    monkeypatch.setattr("nas.export.study_images.load_data", missing)
    wanted = Wanted(("int8",), accuracy=False, **QUICK)
    exported = export_study(finished.view, finished.folder, "knee", tmp_path / "out", wanted)
    assert "no images in data" in exported.failed["int8"]
    assert "--data-dir" in exported.failed["int8"]
    assert (exported.folder / "model.onnx").exists()
    assert not (exported.folder / "model-int8.onnx").exists()
    assert "- int8: 8-bit ranges" in (exported.folder / "README.md").read_text()


def test_the_exported_weights_reach_the_accuracy_that_the_readme_says(
    everything: nas.export.Exported, tmp_path: Path
) -> None:
    from trials import DataConfig, load_data, split

    folder = everything.folder
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


def test_a_format_that_computes_something_else_is_not_left_behind(
    finished: nas.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_program_of_another(shop: Workshop, _: object) -> list[str]:
        other = Workshop(shop.folder, shop.trained)
        vars(other)["network"] = Architecture.of(shop.host, {}).build().eval()
        with torch.no_grad():
            logits = other.network(shop.images(3))
        return [*write_program(other), shop.compare("model.pt2", logits, shop.images(3))]

    other = replace(FORMATS["program"], write=write_program_of_another)
    monkeypatch.setitem(FORMATS, "program", other)
    wanted = Wanted(("network", "program"), accuracy=False)
    exported = export_study(finished.view, finished.folder, "knee", tmp_path / "out", wanted)
    assert "model.pt2 differs from the trained network" in exported.failed["program"]
    assert {path.name for path in exported.folder.iterdir()} == BASE | {"network.py"}


def test_an_export_whose_network_is_not_rebuilt_is_not_left_behind(
    finished: nas.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_another(_: Path, target: Path) -> None:
        network = Architecture.load(target.parent / "architecture.yaml").build(seed=9)
        save_file(network.state_dict(), target)

    monkeypatch.setattr("nas.export.base_files.shutil.copyfile", copy_another)
    with pytest.raises(ExportError, match=r"model\.py with weights\.safetensors differs from the trained network"):
        export_study(finished.view, finished.folder, "knee", tmp_path / "out")
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
