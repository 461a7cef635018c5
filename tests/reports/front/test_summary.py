import pytest
from tiny_studies import BAM, BARE, ECA, SE, confirmed, searched, study, trial

from reports.front.summary import best_summary, summarise_confirm, summarise_search


def test_without_confirmation_the_front_is_that_of_single_trainings() -> None:
    summary = best_summary(study(searched()))
    assert summary.stage == "search"
    assert [item.architecture for item in summary.front] == [BARE, ECA, SE]


def test_the_confirmed_front_uses_means_over_seeds() -> None:
    summary = best_summary(study(searched(), confirmed()))
    assert (summary.stage, summary.epochs, summary.num_seeds) == ("confirm", 24, 3)
    assert [item.architecture for item in summary.front] == [BARE, SE]  # ECA lost what it had in the search
    assert summary.front[1].values == pytest.approx(((0.950 + 0.955 + 0.954) / 3, 120))


def test_confirmed_architectures_keep_their_number_in_the_search() -> None:
    found = summarise_confirm(study(searched(), confirmed())).find(SE)
    assert found is not None
    assert found.number == 2


def test_confirmations_of_another_length_are_not_mixed_in() -> None:
    other = tuple(trial(20 + seed, BAM, 0.99, seed=seed, epochs=48) for seed in (1, 2))
    summary = summarise_confirm(study(searched(), confirmed() + other))
    assert summary.epochs == 24
    assert summary.num_left_out == 2
    assert all(record.epochs == 24 for item in summary.items for record in item.records)


def test_the_longest_confirmation_counts_where_the_experiment_asks_for_one_that_is_not_there() -> None:
    trials = (trial(0, BARE, 0.9, epochs=12), trial(1, BARE, 0.9, epochs=16))
    assert summarise_confirm(study((), trials)).epochs == 16


def test_failed_and_unfinished_trials_are_no_part_of_a_summary() -> None:
    summary = summarise_search(study(searched()))
    assert len(summary.items) == 4
    assert summarise_search(study()).items == ()
    assert summarise_search(study()).front == ()


def test_a_value_that_is_not_finite_keeps_a_trial_out() -> None:
    summary = summarise_search(study((trial(0, SE, float("nan")), trial(1, BARE, 0.9))))
    assert [item.architecture for item in summary.front] == [BARE]


def test_one_objective_has_no_knee() -> None:
    alone = study(searched(("accuracy",)), objectives=("accuracy",))
    assert summarise_search(alone).knee is None
    knee = summarise_search(study(searched())).knee
    assert knee is not None
    assert knee.architecture in (BARE, ECA, SE)


def test_a_number_that_is_no_objective_and_not_finite_counts_as_not_measured() -> None:
    (item,) = summarise_search(study((trial(0, SE, 0.9, loss=float("nan")),))).items
    assert item.mean(lambda record: record.loss) is None
    assert item.mean(lambda record: record.accuracy) == 0.9
