"""A study's winners and baselines trained in full, and how they join the study."""

import json
import shutil
from pathlib import Path

import pytest

import nas
from nas.study.home import find_study
from nas.study.retrained_trials import join
from nas.view import open_study
from nas.winners import Plan, front_and_baselines, plan_of, train_all
from reports.front.summary import best_summary
from reports.view import Retraining
from search_spaces import Architecture, InputError
from search_spaces.yaml_files import parse_yaml
from trials.failure import DivergedError
from trials.retrain import Job, RetrainRecord, retrain
from trials.retrain.recipes import parse_recipe

RECIPE = """
task: classification
source: made for tests
epochs: 1
batch_size: 100
optimizer: {lr: 0.1}
data: {source: digits}
"""


@pytest.fixture
def study(finished: nas.Outcome, tmp_path: Path) -> Path:
    """A copy of a finished study."""
    return Path(shutil.copytree(finished.folder, tmp_path / "study"))


def job(architecture: Architecture, seed: int, folder: Path) -> Job:
    return Job(architecture, parse_recipe(parse_yaml(RECIPE)), "digits", seed, folder, device="cpu", workers=0)


def plans_of(study: Path, count: int, seeds: range = range(1)) -> list[Plan]:
    items = front_and_baselines(open_study(study))[:count]
    return plan_of(study / "retrained" / "digits", items, seeds, job)


def test_the_front_goes_with_its_bare_host_first_and_all_other_baselines_last(study: Path) -> None:
    summary = best_summary(open_study(study))
    items = front_and_baselines(open_study(study))
    assert items[0].is_bare_host
    assert {item.name for item in items} == {
        item.name for item in summary.items if item.on_front or item.role == "baseline"
    }
    roles = [item.role == "baseline" and not item.on_front for item in items[1:]]
    assert roles == sorted(roles)


def test_every_architecture_has_one_seed_before_any_has_a_second(study: Path) -> None:
    plans = plans_of(study, 2, range(3, 5))
    assert [plan.job.seed for plan in plans] == [3, 3, 4, 4]
    assert len({plan.job.out for plan in plans}) == 4


def test_what_is_trained_joins_the_study_once_and_is_not_trained_again(study: Path) -> None:
    plans, said = plans_of(study, 2), list[str]()
    first = train_all(find_study(study), plans, retrain, said.append)
    again = train_all(find_study(study), plans, retrain, said.append)
    assert [each.record for each in again] == [each.record for each in first]
    assert list(open_study(study).retrained) == first
    assert [each.of for each in first] == [plan.item.architecture for plan in plans]


def test_what_diverges_is_told_of_and_the_others_are_trained(study: Path) -> None:
    plans = plans_of(study, 2)

    def train(job: Job) -> RetrainRecord:
        if job is plans[0].job:
            raise DivergedError("the loss was nan")
        return retrain(job)

    with pytest.raises(InputError, match=r"1 of 2 trainings diverged:\n.*, seed 0: the loss was nan"):
        train_all(find_study(study), plans, train, lambda _: None)
    assert [each.of for each in open_study(study).retrained] == [plans[1].item.architecture]


def test_a_study_that_another_process_drives_takes_the_result_later(study: Path) -> None:
    home, plans, said = find_study(study), plans_of(study, 1), list[str]()
    with home.drive(take_over=False):
        train_all(home, plans, retrain, said.append)
    assert "not in the study yet" in said[-1]
    assert open_study(study).retrained == ()
    train_all(home, plans, retrain, said.append)
    assert len(open_study(study).retrained) == 1


def test_a_result_joins_a_database_too(study: Path, tmp_path: Path) -> None:
    # The study's own journal has it; a second home, in SQLite, takes the same result.
    (done,) = train_all(find_study(study), plans_of(study, 1), retrain, lambda _: None)
    url = f"sqlite:///{tmp_path / 'studies.db'}#copied"
    home = nas.study.home.place_study(url, "copied", tmp_path / "files")
    assert join(home, done)
    assert not join(home, Retraining(done.of, done.record))


def test_the_command_trains_and_the_report_shows_it(study: Path, run, tmp_path: Path) -> None:
    recipe = tmp_path / "digits.yaml"
    recipe.write_text(RECIPE)
    summary = best_summary(open_study(study))
    picks = [option for item in summary.items[:4] for option in ("--pick", item.architecture.id)]
    status, out, _ = run("retrain", study, recipe, *picks, "--device", "cpu", "--json")
    assert status == 0
    trained = json.loads(out)
    assert {each["of"] for each in trained} == {item.architecture.id for item in summary.items[:4]}
    status, _, _ = run("report", study)
    assert status == 0
    page = (study / "report" / "report.html").read_text()
    assert 'id="retrained"' in page
    assert "Of the 6 pairs of 4 architectures" in page
    assert (study / "report" / "retrained.csv").read_text().count("\n") == 5
    assert (study / "report" / "figures" / "retrained_digits.svg").exists()


def test_seeds_are_for_studies(run, tmp_path: Path) -> None:
    recipe = tmp_path / "digits.yaml"
    recipe.write_text(RECIPE)
    status, _, told = run("retrain", "a.yaml", recipe, "--seeds", "2")
    assert status != 0
    assert "--seeds is for the networks of a study" in told
