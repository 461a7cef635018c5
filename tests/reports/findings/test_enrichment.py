import numpy as np
import pytest
from simulated_studies import placements
from tiny_studies import BAM, BARE, ECA, SE

from reports.findings.enrichment import enrichments_of, jeffreys_interval


def test_counts_are_those_of_the_front_and_of_the_rest() -> None:
    found = {(each.module, each.where): each for each in enrichments_of([SE, ECA], [BARE, BAM, SE])}
    first = found["eca", "layer1.0/branch"]
    assert (first.in_front, first.num_front, first.elsewhere, first.num_elsewhere) == (1, 2, 0, 3)
    assert first.difference == pytest.approx(0.5)
    assert first.share_in_all == pytest.approx(1 / 5)
    # SE is at all nine branches or at none: one decision.
    together = [each for each in found.values() if each.module == "se"]
    assert [each.where for each in together] == ["layer1.0/branch and 8 more"]


def test_no_front_or_nothing_beside_it_gives_nothing() -> None:
    assert enrichments_of([], [SE]) == ()
    assert enrichments_of([SE, ECA], []) == ()
    assert enrichments_of([BARE], [BARE]) == ()


def test_a_front_of_one_says_little_and_is_bounded() -> None:
    low, high = jeffreys_interval(1, 1, 10, 40)
    assert -1 <= low < 0 < high <= 1


@pytest.mark.parametrize(("front", "others"), [(3, 20), (10, 200)])
@pytest.mark.parametrize(("p", "q"), [(0.3, 0.3), (0.6, 0.2), (0.5, 0.5)])
def test_the_interval_covers_the_true_difference_of_tiny_fronts(front: int, others: int, p: float, q: float) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        low, high = jeffreys_interval(int(rng.binomial(front, p)), front, int(rng.binomial(others, q)), others)
        covered.append(low <= p - q <= high)
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


def test_what_every_member_of_the_front_has_and_few_others_do_is_certain() -> None:
    rng = np.random.default_rng(0)
    everything = placements(120)
    site = "layer2.0/branch"
    having = [each for each in everything if any(s.module == "se" for s in each.placement.get(site, ()))]
    lacking = [each for each in everything if each not in having]
    front = [having[i] for i in rng.permutation(len(having))[:12]]
    (found,) = [e for e in enrichments_of(front, lacking) if (e.module, e.where) == ("se", site)]
    assert found.is_certain
    assert found.difference == 1.0
