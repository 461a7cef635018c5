"""The export of a network that was trained in full."""

import json
from pathlib import Path

import pytest

from nas.export import Wanted, export_retrained, is_retrained
from search_spaces import Architecture, InputError
from trials.retrain import Job, evaluate_retrained, load_recipe, retrain

RECIPE = """
task: classification
source: made for tests
data: {source: digits}
epochs: 1
batch_size: 64
optimizer: {lr: 0.1}
schedule: {kind: cosine}
precision: fp32
"""


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a short training on digits."""
    folder = tmp_path_factory.mktemp("retrained")
    (folder / "digits.yaml").write_text(RECIPE)
    host = {"name": "resnet20", "classes": 10, "input": 8, "channels": 1}
    placement = {"layer3.*/branch": {"module": "se", "reduction": 8}}
    architecture = Architecture.from_dict({"host": host, "placement": placement})
    job = Job(architecture, load_recipe(str(folder / "digits.yaml")), "digits", 0, folder / "out", device="cpu")
    retrain(job)
    return folder / "out"


def test_it_is_exactly_as_accurate_as_it_was_saved_with(retrained: Path, tmp_path: Path) -> None:
    exported = export_retrained(retrained, tmp_path / "out", Wanted(("network",)))
    recorded = json.loads((retrained / "record.json").read_text())["metrics"]["top1"]
    assert exported.accuracy is not None
    assert exported.accuracy.value == recorded == evaluate_retrained(retrained, device="cpu")["top1"]
    assert exported.accuracy.is_equal
    text = (exported.folder / "README.md").read_text()
    assert f"test top1 of the exported network in a fresh process, fp32: {100 * recorded:.2f} %, exactly" in text


def test_8_bits_are_calibrated_and_scored_on_its_images(retrained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    wanted = Wanted(("int8",), accuracy=False, batch_sizes=(1,), timing_s=0.01)
    exported = export_retrained(retrained, tmp_path / "out", wanted)
    found = exported.quantised
    assert exported.failed == {}
    assert found is not None
    assert found.num_calibrated == 256
    recorded = json.loads((retrained / "record.json").read_text())["metrics"]["top1"]
    assert found.float_accuracy == pytest.approx(recorded, abs=1e-6)


def test_a_folder_of_a_training_is_told_from_a_study_and_an_export(retrained: Path, tmp_path: Path) -> None:
    assert is_retrained(retrained)
    assert not is_retrained(tmp_path)


def test_a_training_without_its_weights_is_refused(retrained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    folder.mkdir()
    for name in ("architecture.yaml", "recipe.yaml", "record.json"):
        (folder / name).write_bytes((retrained / name).read_bytes())
    with pytest.raises(InputError, match=r"weights\.safetensors: no such file of weights"):
        export_retrained(folder, tmp_path / "out")
