"""Real searches on real images: reproducible, resumable, complete."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nas
from nas.running.progress import Watcher
from reports import StudyView
from search_spaces.errors import InputError


def found(view: StudyView) -> list[tuple[object, ...]]:
    """Return what a search measured, in the order asked, to the bit."""
    return [
        (t.number, t.label, t.architecture.hash, t.record.accuracy, t.record.loss, t.record.macs)
        for t in view.search
        if t.record
    ]


def search(experiments: Path, name: str, study: Path, workers: int | None = None) -> nas.Outcome:
    return nas.search(str(experiments / f"{name}.yaml"), study, workers=workers, device="cpu", watcher=Watcher.quiet())


def test_a_search_trains_the_trials_and_every_baseline_and_confirms_them(finished: nas.Outcome) -> None:
    view = finished.view
    proposals = [trial for trial in view.search if trial.role == "proposal"]
    labels = {trial.label for trial in view.search if trial.role == "baseline"}
    assert len(proposals) == 10
    assert labels == {"host", "se everywhere", "ba everywhere", "bam everywhere", "random 1"}
    assert all(trial.state == "complete" for trial in (*view.search, *view.confirm))
    confirmed = {(trial.architecture.hash, trial.record.seed) for trial in view.confirm if trial.record}
    num_proposals = len({trial.architecture.hash for trial in view.confirm if trial.role == "proposal"})
    assert 1 <= num_proposals <= 2
    controls = {trial.label for trial in view.confirm if trial.label} - labels
    assert 1 <= len(controls) <= 2  # as many as `max_controls` allows, unless the baselines serve
    assert len(confirmed) == len(view.confirm) == 2 * (5 + num_proposals + len(controls))


def test_nothing_is_measured_twice(finished: nas.Outcome) -> None:
    measured = [(t.architecture.hash, t.record.seed, t.record.epochs) for t in finished.view.search if t.record]
    assert len(measured) == len(set(measured))


def test_the_test_split_is_read_by_the_confirmation_only(finished: nas.Outcome) -> None:
    assert all(trial.record and trial.record.test_accuracy is None for trial in finished.view.search)
    assert all(trial.record and trial.record.test_accuracy is not None for trial in finished.view.confirm)


def test_confirmations_use_the_same_seeds_for_all_and_not_the_search_s(finished: nas.Outcome) -> None:
    seeds: dict[str, set[int]] = {}
    for trial in finished.view.confirm:
        assert trial.record
        seeds.setdefault(trial.architecture.hash, set()).add(trial.record.seed)
    assert set(map(frozenset, seeds.values())) == {frozenset({4, 5})}


def test_one_worker_finds_to_the_bit_what_two_find(finished: nas.Outcome, experiments: Path, tmp_path: Path) -> None:
    alone = search(experiments, "nsga2", tmp_path / "alone", workers=1)
    assert found(alone.view) == found(finished.view)


@pytest.mark.parametrize("name", ["nsga2", "random"])
def test_a_killed_search_goes_on_and_ends_as_if_it_had_not_been(name: str, experiments: Path, tmp_path: Path) -> None:
    whole = search(experiments, name, tmp_path / "whole")
    command = [sys.executable, "-m", "nas", "search", str(experiments / f"{name}.yaml"), "--device", "cpu"]
    moments = random.Random(name)
    kept: list[tuple[object, ...]] = []
    for _ in range(2):
        driver = subprocess.Popen([*command, "--study", str(tmp_path / "killed")], stdout=subprocess.PIPE)
        assert driver.stdout
        # Kill somewhere inside the search, not inside the imports: after so many finished trials and a moment.
        for _ in range(moments.randrange(2, 6)):
            driver.stdout.readline()
        time.sleep(moments.random())
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
        now = found(nas.open_study(tmp_path / "killed"))
        assert set(kept) <= set(now), "a finished trial was lost"
        kept = now
    resumed = search(experiments, name, tmp_path / "killed")
    assert found(resumed.view) == found(whole.view)
    assert all(trial.state == "complete" for trial in resumed.view.search)


def test_a_budget_that_cannot_be_enough_is_refused_before_anything_is_written(
    experiments: Path, tmp_path: Path
) -> None:
    raced = tmp_path / "raced.yaml"
    text = (experiments / "nsga2.yaml").read_text()
    head, _, tail = text.partition("confirm:")
    assert tail
    raced.write_text(f"{head}confirm: {{seeds: 2, max_seeds: 3, budget: 5}}\n")
    with pytest.raises(InputError, match=r"confirm\.budget: 5 trainings are too few"):
        nas.search(str(raced), tmp_path / "study", device="cpu", watcher=Watcher.quiet())
    assert not (tmp_path / "study").exists()


def test_an_interrupted_search_leaves_nothing_running(experiments: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nas", "search", str(experiments / "nsga2.yaml"), "--device", "cpu"]
    driver = subprocess.Popen(
        [*command, "--study", str(tmp_path / "study")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert driver.stdout
    driver.stdout.readline()
    driver.stdout.readline()
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 130
    assert b"same command goes on" in errors
    assert b"Traceback" not in errors
    assert all(trial.state != "running" for trial in nas.open_study(tmp_path / "study").search)


def test_a_finished_search_can_be_given_more_trials(finished: nas.Outcome, experiments: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "study")
    longer = tmp_path / "nsga2.yaml"
    longer.write_text((experiments / "nsga2.yaml").read_text().replace("trials: 10", "trials: 12"))
    more = nas.search(str(longer), tmp_path / "study", device="cpu", watcher=Watcher.quiet())
    assert sum(trial.role == "proposal" for trial in more.view.search) == 12
    assert found(more.view)[: len(found(finished.view))] == found(finished.view)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("lr: 0.1", "lr: 0.2", r"train\.lr: 0\.1 -> 0\.2"),
        ("trials: 10", "trials: 9", r"search\.trials: 10 -> 9"),
        ("reduction: 8}", "reduction: 4}", r"space\.choices"),
    ],
)
def test_a_changed_experiment_is_refused_with_what_changed(
    finished: nas.Outcome, experiments: Path, tmp_path: Path, old: str, new: str, what: str
) -> None:
    changed = tmp_path / "nsga2.yaml"
    changed.write_text((experiments / "nsga2.yaml").read_text().replace(old, new))
    before = (finished.folder / "journal.log").read_bytes()
    with pytest.raises(InputError, match=what):
        nas.search(str(changed), finished.folder, device="cpu", watcher=Watcher.quiet())
    assert (finished.folder / "journal.log").read_bytes() == before


def test_cuda_graphs_on_a_cpu_are_refused_before_anything_is_written(experiments: Path, tmp_path: Path) -> None:
    asked = tmp_path / "nsga2.yaml"
    asked.write_text((experiments / "nsga2.yaml").read_text().replace("lr: 0.1", "lr: 0.1, cuda_graphs: true"))
    with pytest.raises(InputError, match="`cuda_graphs: true` is for CUDA devices, and this training runs on cpu"):
        nas.search(str(asked), tmp_path / "study", device="cpu", watcher=Watcher.quiet())
    assert not (tmp_path / "study").exists()


@pytest.mark.data
def test_a_search_runs_to_its_end_on_real_cifar10(tmp_path: Path) -> None:
    data = os.environ.get("NAS_DATA_DIR")
    if not data:
        pytest.skip("no $NAS_DATA_DIR with cifar10/train/<class>/*.png")
    experiment = tmp_path / "small.yaml"
    experiment.write_text(
        "space: {host: {name: resnet20}, choices: [{at: '*/end', modules: {none: {}, bam: {}}}]}\n"
        "data: {source: cifar10, validation: 200, training: 400}\n"
        "train: {epochs: 1, batch_size: 50, lr: 0.1, warmup: 0.5}\n"
        "search: {sampler: exhaustive, trials: 9, random_baselines: 0}\n"
        "confirm: {top: 1, seeds: 1, epochs: 1}\n"
    )
    outcome = nas.search(str(experiment), tmp_path / "study", data_dir=data, device="cpu", watcher=Watcher.quiet())
    assert outcome.view.exhausted
    assert outcome.report.stat().st_size > 100_000
    # Two sites, each with BAM or not: the bare host and BAM everywhere are baselines, two are left to propose.
    assert len(outcome.view.search) == 4
    assert all(trial.record and trial.record.num_train == 400 for trial in outcome.view.search)
    assert all(trial.record and trial.record.test_accuracy for trial in outcome.view.confirm)
