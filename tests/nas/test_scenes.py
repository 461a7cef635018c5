"""Segmentation from the experiment's file to the report and the export."""

from pathlib import Path

import pytest
import torch
import yaml

import nas
from nas.experiment import EXPERIMENTS, load_experiment
from nas.export import export_study
from nas.running.progress import Watcher
from search_spaces import Architecture, InputError
from search_spaces.shipped import SPACES, find_file

TINY_HOST = {"name": "resnet20", "input": 16, "width": 0.25, "neck": "fpn", "head": "segment", "classes": 3}


def tiny(folder: Path) -> Path:
    """Write the shipped experiment with a host, a set of scenes and numbers of a test's size."""
    experiment = yaml.safe_load(find_file("scenes-quick", "experiment", EXPERIMENTS).read_text())
    space = yaml.safe_load(find_file(experiment["space"], "space", SPACES).read_text())
    experiment |= {
        "space": space | {"host": TINY_HOST, "choices": space["choices"][:1]},
        "data": {"source": "scenes", "images": 40, "size": 16, "classes": 2, "validation": 16},
        "train": {"epochs": 1, "batch_size": 8, "lr": 0.1},
        "search": {"sampler": "random", "trials": 2, "workers": 1, "random_baselines": 0},
        "confirm": {"top": 1, "seeds": 2, "epochs": 1},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> nas.Outcome:
    folder = tmp_path_factory.mktemp("scenes")
    return nas.search(str(tiny(folder)), folder / "study", device="cpu", watcher=Watcher.quiet())


def test_a_search_over_a_pyramid_measures_miou_and_reports_it(outcome: nas.Outcome) -> None:
    view = outcome.view
    assert view.objectives == ("miou", "macs")
    assert all(trial.measured for trial in (*view.search, *view.confirm))
    for trial in view.search:
        assert trial.record is not None
        assert trial.values == (trial.record.miou, trial.record.macs)
        assert trial.record.test_miou is None
    assert all(trial.record and trial.record.test_miou is not None for trial in view.confirm)
    assert any(site.startswith("fpn/") for t in view.search for site in t.architecture.placement)
    page = outcome.report.read_text()
    assert "Validation mIoU" in page
    assert "Validation accuracy" not in page


def test_a_segmentation_network_is_exported(outcome: nas.Outcome, tmp_path: Path) -> None:
    folder = export_study(outcome.view, outcome.folder, "best-miou", tmp_path / "out").folder
    assert "validation mIoU" in (folder / "README.md").read_text()
    with pytest.raises(InputError, match=r"unknown pick.*'best-accurate'.*best-miou"):
        export_study(outcome.view, outcome.folder, "best-accurate", tmp_path / "other")


def test_the_shipped_network_gives_each_pixel_a_class() -> None:
    space = load_experiment("scenes-quick").space
    model = Architecture.of(space.host, {}).build()
    image = torch.zeros(2, 3, space.host.input, space.host.input)
    assert model(image).shape == (2, space.host.classes, space.host.input, space.host.input)


SPACE = "{host: HOST, choices: [{at: '*/out', modules: {none: {}, eca: {}}}]}"
SEGMENT = "{name: resnet20, input: 32, neck: fpn, head: segment, classes: 4}"
SCENES = "{source: scenes, size: 32, classes: 3, validation: 10}"
CIFAR = "{source: cifar10, validation: 10}"


@pytest.mark.parametrize(
    ("host", "data", "objectives", "message"),
    [
        ("{name: resnet20, classes: 4}", SCENES, "[miou]", "`head: classify`, but scenes needs `head: segment`"),
        (SEGMENT.replace("4", "10"), CIFAR, "[macs]", "`head: segment`, but cifar10 needs `head: classify`"),
        (SEGMENT.replace("4", "3"), SCENES, "[miou]", "`classes: 3`, but scenes needs `classes: 4`"),
        (SEGMENT.replace("32", "64"), SCENES, "[miou]", "`input: 64`, but scenes needs `input: 32`"),
        (
            "{name: resnet20}",
            CIFAR,
            "[macs, miou]",
            r"objectives\[1\]: miou is for `head: segment`, but cifar10",
        ),
    ],
)
def test_what_does_not_fit_the_task_is_refused_before_training(
    tmp_path: Path, host: str, data: str, objectives: str, message: str
) -> None:
    path = tmp_path / "e.yaml"
    train = "{epochs: 1, batch_size: 4, lr: 0.1}"
    space = SPACE.replace("HOST", host)
    path.write_text(f"\nspace: {space}\ndata: {data}\ntrain: {train}\nobjectives: {objectives}\n")
    with pytest.raises(InputError, match=message):
        load_experiment(str(path))


def test_pixel_accuracy_and_log_loss_are_objectives_of_scenes_too(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    train = "{epochs: 1, batch_size: 4, lr: 0.1}"
    space = SPACE.replace("HOST", SEGMENT)
    path.write_text(f"space: {space}\ndata: {SCENES}\ntrain: {train}\nobjectives: [accuracy, loss, miou]\n")
    assert load_experiment(str(path)).config.objectives == ["accuracy", "loss", "miou"]
