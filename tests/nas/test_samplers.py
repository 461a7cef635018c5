"""What samplers draw: legal, repeatable, and undisturbed by what is not theirs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from toy_search import BAMS, Toy

from nas.proposals.parameters import ByKnob, Draw
from nas.samplers import SAMPLERS, Sampler, make_sampler, sampler_entry
from nas.study.journal import read_storage
from search_spaces.errors import InputError

MINIMISE = [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
LEARNING = ["nsga2", "nsga3", "tpe"]
SITE_GENES = ["nsga2", "nsga3"]


def as_trial(draw: Draw, state: TrialState, values: Sequence[float] | None = None) -> FrozenTrial:
    """Return the trial that a ledger would hold for a draw."""
    return create_trial(
        state=state,
        values=values,
        params=dict(draw.params),
        distributions=dict(draw.distributions),
        user_attrs={"indices": list(draw.indices)} | ({"refused": "known"} if state == TrialState.FAIL else {}),
        system_attrs=dict(draw.system_attrs),
    )


def search(sampler: Sampler, num_trials: int) -> list[FrozenTrial]:
    """Draw one at a time for objectives that are both best with all decisions at their option 1."""
    trials: list[FrozenTrial] = []
    known = set()
    for seed in range(num_trials):
        sampler.follow(trials)
        draw = sampler.draw(seed)
        assert draw is not None
        distance = float(sum(i != 1 for i in draw.indices))
        told = draw.indices not in known
        known.add(draw.indices)
        trials.append(
            as_trial(draw, TrialState.COMPLETE if told else TrialState.FAIL, [distance, distance] if told else None)
        )
    return trials


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "exhaustive"])
def test_a_draw_is_recorded_as_modules_and_their_knobs_and_can_be_read_back(toy: Toy, name: str) -> None:
    encoding = ByKnob(toy.space)
    for trial in search(make_sampler(name, toy.space, MINIMISE, 4), 30):
        indices = trial.user_attrs["indices"]
        assert (trial.params, trial.distributions) == encoding.encode(indices)
        for decision, index in zip(toy.space.decisions, indices, strict=True):
            option = decision.options[index]
            knobs = {f"{decision.name}.{option.module}.{knob}": value for knob, value in option.knobs.items()}
            assert trial.params[decision.name] == option.module
            assert knobs.items() <= trial.params.items()


@pytest.mark.parametrize("name", LEARNING)
def test_a_draw_is_the_same_from_a_sampler_that_has_just_read_the_study(toy: Toy, name: str) -> None:
    going_on = make_sampler(name, toy.space, MINIMISE, 8)
    trials = search(going_on, 40)
    for seed in (100, 101, 102):
        restarted = make_sampler(name, toy.space, MINIMISE, 8)
        going_on.follow(trials)
        restarted.follow(trials)
        draw = going_on.draw(seed)
        assert draw == restarted.draw(seed)
        assert draw is not None
        trials.append(as_trial(draw, TrialState.RUNNING))


@pytest.mark.parametrize("name", LEARNING)
def test_a_sampler_that_learns_beats_random_by_far(toy: Toy, name: str) -> None:
    def mean_of_last(name: str) -> float:
        trials = search(make_sampler(name, toy.space, MINIMISE, 8), 120)
        return float(np.mean([t.values[0] for t in trials if t.values is not None][-30:]))

    # By chance, 4 of 5 options are wrong in each of 5 decisions: 4 on average.
    assert mean_of_last("random") == pytest.approx(4, abs=0.5)
    assert mean_of_last(name) < 3


@pytest.mark.parametrize("name", SITE_GENES)
def test_evolution_hands_a_module_on_together_with_its_knobs(toy: Toy, name: str) -> None:
    space = toy.make_space([{"at": "*/branch", "modules": {"eca": {"kernel_size": [3, 5, 7, 9, 11, 13]}}}])
    sampler = make_sampler(name, space, MINIMISE, 8)
    # A first generation that has one setting of the knobs, option 5, nearly everywhere:
    trials: list[FrozenTrial] = []
    for other in (0, 1, 2, 3, 4, 5, 5, 5):
        sampler.follow(trials)
        draw = sampler.adopt((*[5] * 8, other))
        trials.append(as_trial(draw, TrialState.COMPLETE, [0.0, 0.0]))
    genes: list[int] = []
    for seed in range(40):
        sampler.follow(trials)
        child = sampler.draw(seed)
        assert child is not None
        genes += child.indices[:8]
        trials.append(as_trial(child, TrialState.RUNNING))
    # In each of three broods 1 / (1 - 0.4) = 1.7 of nine genes are retuned on average; knobs drawn anew would agree in
    # 1 of 6.
    assert genes.count(5) / len(genes) > 1 - 3 * 1.7 / 9


@pytest.mark.parametrize("name", SITE_GENES)
def test_what_is_known_or_beyond_a_limit_is_drawn_only_if_nothing_else_is_found(toy: Toy, name: str) -> None:
    space = toy.tiny_space({"sites": 3})
    sampler = make_sampler(name, space, MINIMISE, 4)
    # One of three stages, of three sites each, with one of four options; and none.
    within = {(0, 0, 0)} | {tuple(i if s == t else 0 for t in range(3)) for s in range(3) for i in range(1, 5)}
    trials = search(sampler, 8)
    drawn = {tuple(trial.user_attrs["indices"]) for trial in trials}
    assert len(drawn) == 8
    assert drawn < within
    for indices in within - drawn:
        sampler.follow(trials)
        trials.append(as_trial(sampler.adopt(indices), TrialState.RUNNING))
    sampler.follow(trials)
    assert sampler.draw(0) is not None


@pytest.mark.parametrize("name", SITE_GENES)
def test_the_first_generation_is_sparse_as_often_as_dense(toy: Toy, name: str) -> None:
    gates = {"none": {}, "se": {"reduction": [2, 4, 8, 16]}, "eca": {"kernel_size": [3, 5, 7, 9]}}
    space = toy.make_space([{"at": "*/branch", "modules": gates}])
    trials = search(make_sampler(name, space, MINIMISE, 32), 32)
    occupied = sorted(sum(i != 0 for i in trial.user_attrs["indices"]) for trial in trials)
    # Nine decisions: 32 draws spread evenly over the numbers 0 to 9, but there is only one placement of none.
    assert set(occupied) == set(range(10))
    assert all(2 <= occupied.count(number) <= 6 for number in range(1, 10)), occupied


@pytest.mark.parametrize("name", LEARNING)
def test_baselines_do_not_change_what_is_proposed(toy: Toy, tmp_path: Path, name: str) -> None:
    stories = []
    for num_baselines in (1, 4):
        folder = tmp_path / str(num_baselines)
        ledger = toy.open(folder)
        for i in range(num_baselines):  # outside the space: by their own length of training
            ledger.add(toy.space.decode((i, i, i, i, i)), label=f"all {i}", seed=0, epochs=9)
        ledger = toy.drive(folder, toy.plan(name, 24))
        stories.append([(t.user_attrs["indices"], t.state, t.values) for t in ledger.trials("proposal")])
    assert stories[0] == stories[1]


def test_evolution_goes_past_its_first_generation_in_a_search_of_24(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.drive(tmp_path, toy.plan("nsga2", 24))
    batches = {t.user_attrs["batch"][0] for t in ledger.trials("proposal") if "batch" in t.user_attrs}
    assert batches >= {0, 1, 2}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_optuna_tells_which_modules_and_knobs_matter_beside_baselines(toy: Toy, tmp_path: Path) -> None:
    toy.drive(tmp_path, toy.plan("random", 40))
    study = optuna.load_study(study_name="search", storage=read_storage(tmp_path))
    importances = optuna.importance.get_param_importances(study, target=lambda trial: trial.values[0])
    knobs = {
        f"{decision.name}.{m}.{k}" for decision in toy.space.decisions for m, d in decision.domains.items() for k in d
    }
    assert importances.keys() == {decision.name for decision in toy.space.decisions} | knobs


def test_random_draws_are_uniform_over_architectures_within_the_limits(toy: Toy) -> None:
    space = toy.make_space([{"at": "*/end", "modules": BAMS}], {"sites": 3})
    one_site = toy.make_space([{"at": "*/end", "modules": BAMS}], {"sites": 1})
    for within, num in ((space, 25), (one_site, 1 + 4 + 4)):
        sampler = make_sampler("random", within, MINIMISE, 1)
        draws = Counter(draw.indices for seed in range(900) if (draw := sampler.draw(seed)))
        assert len(draws) == num
        assert max(draws.values()) < 2 * 900 / num


def test_exhaustive_refuses_a_large_space_with_its_size(toy: Toy) -> None:
    five_options_at_nine_sites = {
        "at": "*/branch",
        "modules": {"none": {}, "eca": {"kernel_size": [3, 5, 7, 9]}},
    }
    space = toy.make_space([five_options_at_nine_sites])
    with pytest.raises(InputError, match=f"at most 10,000 .* this one has {5**9:,}"):
        make_sampler("exhaustive", space, MINIMISE, 1)


def test_an_unknown_sampler_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"unknown sampler 'nsga4'.*did you mean 'nsga"):
        sampler_entry("nsga4")


@pytest.mark.parametrize(("trials", "generation"), [(4, 8), (24, 8), (250, 10), (600, 12)])
def test_the_generation_follows_from_the_number_of_trials(trials: int, generation: int) -> None:
    assert SAMPLERS["nsga2"].generation(trials) == generation
