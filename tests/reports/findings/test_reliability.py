import math

import numpy as np
import pytest
from scipy.stats import kendalltau
from tiny_studies import BAM, BARE, ECA, MACS, SE, confirmed, placed, searched, study, trial

from reports import TrialView
from reports.findings.reliability import fidelities_of, reliability_of, seeds_needed, sentences, tau_b
from reports.front.summary import summarise_confirm
from reports.page import make_report, render_page

ACCURACIES = {BARE: (0.90, 0.91, 0.92), SE: (0.93, 0.95, 0.94), ECA: (0.91, 0.92, 0.94), BAM: (0.95, 0.97, 0.96)}


def trainings() -> tuple[TrialView, ...]:
    """Return three seeds of four architectures; `tiny_studies` makes log-loss 1 - accuracy."""
    return tuple(
        trial(3 * i + seed, architecture, accuracy, seed=seed, epochs=24)
        for i, (architecture, accuracies) in enumerate(ACCURACIES.items())
        for seed, accuracy in enumerate(accuracies)
    )


def test_the_rank_correlation_counts_pairs_in_the_same_order() -> None:
    view = study(searched(), trainings())
    (fidelity,) = fidelities_of(view, summarise_confirm(view))
    found = fidelity.tau
    # Search: BAM 0.89 < host 0.90 < ECA 0.91 < SE 0.92; confirmed: host < ECA < SE < BAM. Of six pairs, the three with
    # BAM are the other way round.
    assert found.value == pytest.approx(0.0)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.n == 4


def test_the_reliability_is_the_share_of_variance_that_is_the_architecture_s() -> None:
    found = reliability_of(summarise_confirm(study(searched(), trainings())))
    assert found is not None
    table = np.array(list(ACCURACIES.values()))
    rows, seeds = table.mean(axis=1), table.mean(axis=0)
    between = 3 * ((rows - table.mean()) ** 2).sum() / 3
    error = ((table - rows[:, None] - seeds[None, :] + table.mean()) ** 2).sum() / (3 * 2)
    assert found.accuracy.value == pytest.approx((between - error) / (between + 2 * error))
    assert found.loss.value == pytest.approx(found.accuracy.value)  # 1 - accuracy ranks the same
    assert found.num_seeds == 3


def test_seeds_needed_follow_from_averaging() -> None:
    # The mean of k seeds has the reliability k r / (1 + (k - 1) r).
    assert seeds_needed(0.4) == pytest.approx(6)
    reached = 6 * 0.4 / (1 + 5 * 0.4)
    assert reached == pytest.approx(0.8)
    assert seeds_needed(0.9) == 1
    assert seeds_needed(-0.1) == np.inf


def test_both_are_said_in_the_report() -> None:
    page = render_page(make_report(study(searched(), trainings())))
    assert "the 4 architectures measured at both rank with Kendall&#39;s tau 0.00 [" in page
    assert "which of the two ranks more reliably cannot be told here" in page


def test_log_loss_that_ranks_clearly_better_is_named() -> None:
    rng = np.random.default_rng(0)
    architectures = [placed({f"layer{1 + i // 3}.{i % 3}/branch": {"module": "se", "reduction": 4}}) for i in range(9)]
    MACS.update(dict.fromkeys(architectures, 105))
    many = tuple(
        trial(i, architecture, 0.9 + rng.normal(0, 0.01), seed=seed, epochs=24, loss=i / 10 + rng.normal(0, 0.01))
        for i, architecture in enumerate(architectures)
        for seed in range(4)
    )
    view = study(searched(), many)
    assert any("log-loss ranks more reliably here" in each for each in sentences(view, summarise_confirm(view)))


def test_of_few_architectures_nothing_is_said() -> None:
    view = study(searched(), confirmed()[:9])
    assert sentences(view, summarise_confirm(view)) == ()


@pytest.mark.parametrize("levels", [3, 100])
def test_tau_b_is_that_of_scipy_with_ties_and_without(levels: int) -> None:
    pairs = np.random.default_rng(levels).integers(levels, size=(15, 2)).astype(float)
    assert tau_b(pairs) == pytest.approx(kendalltau(pairs[:, 0], pairs[:, 1]).statistic, abs=1e-12)
    assert math.isnan(tau_b(np.array([[1.0, 2.0], [1.0, 3.0]])))
