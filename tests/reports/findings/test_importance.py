import math
from dataclasses import replace

import numpy as np
import pytest
from simulated_studies import placements
from tiny_studies import MACS, confirmed, searched, study, trial

from reports import StudyView
from reports.findings.importance import LEAST, Effects, Model, effects_in, effects_of, named_effects
from reports.findings.placement_design import design_of
from reports.page import make_report, render_page


def simulated(num: int, noise: float, *, objectives: tuple[str, ...] = ("accuracy", "macs")) -> StudyView:
    """Return a search in which SE is worth 0.4 points at each site, and the rest nothing."""
    rng = np.random.default_rng(0)
    trials = []
    for i, each in enumerate(placements(num)):
        worth = sum(0.004 for _, specs in each.items for spec in specs if spec.module == "se")
        value = 0.8 + worth + float(rng.normal(0, noise))
        trials.append(trial(i, each, value, objectives=objectives, macs=10**6 + MACS[each], params=10**5))
    return study(trials, objectives=objectives)


def test_true_effects_are_found_and_others_are_not() -> None:
    found = effects_of(simulated(120, 0.002))
    by_module = {row.module: row for row in found.of("module")}
    assert found.says_something
    assert by_module["se"].low <= 0.004 <= by_module["se"].high
    assert by_module["se"].is_certain
    assert abs(by_module["eca"].mean) < 0.0005
    assert found.n == 120


def test_pure_noise_explains_nothing_and_the_page_says_so() -> None:
    rng = np.random.default_rng(0)
    noisy = [trial(i, each, 0.8 + float(rng.normal(0, 0.01))) for i, each in enumerate(placements(60))]
    found = effects_of(study(noisy))
    assert not found.says_something
    assert found.explained is not None
    assert found.explained.value < 0.1
    assert sum(row.is_certain for row in found.rows) <= 0.1 * len(found.rows)
    assert "no effect below is to be believed" in render_page(make_report(study(noisy)))


def test_intervals_cover_effects_that_the_prior_could_have_made() -> None:
    rng = np.random.default_rng(0)
    design = design_of(placements(60))
    weights = [row for *_, row, _ in named_effects(design)]
    shares = []
    for _ in range(30):
        true = design.features @ rng.normal(0, 0.001, design.features.shape[1])
        values = 0.9 + design.taken @ true + rng.normal(0, 0.003, 60)
        model = Model(design, np.full((60, 2), 1e6), [each.host for each in placements(60)], values)
        shares.append(np.mean([e.low <= w @ true <= e.high for e, w in zip(effects_in(model), weights, strict=True)]))
    assert np.mean(shares) >= 0.95 - 3 * np.std(shares) / math.sqrt(30)


def test_costs_take_what_they_explain() -> None:
    design = design_of(placements(80))
    modules = design.taken.sum(axis=1)
    macs = 1e6 * 1.5**modules
    values = 0.5 + 0.02 * np.log(macs) + np.random.default_rng(0).normal(0, 0.001, 80)
    costs = np.stack([macs, np.full(80, 1e5)], axis=1)
    rows = effects_in(Model(design, costs, [each.host for each in placements(80)], values))
    plain = effects_in(Model(design, np.full((80, 2), 1e6), [each.host for each in placements(80)], values))
    assert np.mean([abs(row.mean) for row in rows]) < 0.1 * np.mean([abs(row.mean) for row in plain])


@pytest.mark.parametrize("num", [0, 1, 5, LEAST - 1])
def test_few_trials_say_nothing(num: int) -> None:
    found = effects_of(simulated(max(num, 1), 0.002) if num else study())
    assert isinstance(found, Effects)
    assert found.rows == ()
    assert "too few" in found.reason


def test_trials_that_are_all_alike_or_not_finite_are_left_out() -> None:
    same = [trial(i, each, 0.9) for i, each in enumerate(placements(20))]
    assert effects_of(study(same)).rows == ()
    view = simulated(20, 0.002)
    broken = [replace(t, values=(math.nan, 1.0)) for t in view.search[:5]]
    assert effects_of(replace(view, search=(*broken, *view.search[5:]))).n == 15


def test_trainings_of_another_length_are_left_out() -> None:
    view = simulated(20, 0.002)
    longer = [replace(t, record=replace(t.record, epochs=99)) for t in view.search[:3] if t.record]
    assert effects_of(replace(view, search=(*longer, *view.search[3:]))).n == 17


def test_log_loss_is_explained_where_it_is_the_study_s_quality() -> None:
    found = effects_of(simulated(60, 0.001, objectives=("loss", "macs")))
    (se,) = [row for row in found.of("module") if row.module == "se"]
    assert se.mean == pytest.approx(-0.004, abs=0.001)  # `tiny_studies` makes log-loss 1 - accuracy


def test_sites_that_never_vary_apart_are_one_decision_and_depth_runs_from_first_to_last() -> None:
    design = design_of([t.architecture for t in searched()])
    together = next(d for d in design.decisions if d.module == "se")
    assert len(together.sites) == 9
    assert together.depth == pytest.approx(0.5)
    first = next(d for d in design.decisions if d.sites == ("layer1.0/branch",))
    assert (first.area, first.depth) == ("layer1/branch", 0.0)


def test_a_study_of_many_trials_is_explained_whole() -> None:
    assert effects_of(simulated(400, 0.003)).n == 400
    assert effects_of(study(confirm=confirmed())).rows == ()
