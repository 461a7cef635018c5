import csv
import re
from pathlib import Path

import numpy as np
import pytest
from simulated_studies import confirmation, placements
from tiny_studies import BAM, BARE, ECA, SE, confirmed, searched, study, trial

from reports import StudyView, front_rows, paired_difference, write_report
from reports.findings.recommend import Recommended, over_best_handmade, recommended_of
from reports.front.summary import best_summary
from reports.front.tables import naming
from reports.page import make_report, render_page
from search_spaces import Architecture
from trials.retrain import recipe_names


def recommended(view: StudyView) -> Recommended:
    return recommended_of(view, best_summary(view), front_rows(view), naming(view))


def roles(view: StudyView) -> dict[str, tuple[str, ...]]:
    return {each.row.architecture.id: each.roles for each in recommended(view).items}


def test_one_architecture_that_fills_several_roles_is_one_recommendation() -> None:
    # SE is better than the host by all seeds, but costs 120 MACs to 100; on a front of two the first is the knee.
    found = recommended(study(searched(), confirmed()))
    assert roles(study(searched(), confirmed())) == {SE.id: ("best", "cheapest"), BARE.id: ("knee",)}
    assert found.missing == ("No measured placement costs at most 1% more MACs and parameters than its bare host.",)


def test_the_cheapest_as_good_is_the_cheapest_that_cannot_be_told_from_the_best() -> None:
    values = {BARE: (0.90, 0.91, 0.92), ECA: (0.93, 0.95, 0.94), SE: (0.94, 0.94, 0.95)}
    trials = [trial(i, a, v, seed=i, epochs=24) for a, each in values.items() for i, v in enumerate(each)]
    found = roles(study(searched(), trials))
    # SE over ECA: +1, -1, +1 points; over the host 3 to 4 points at 1000 images.
    assert "best" in found[SE.id]
    assert "cheapest" in found[ECA.id]


def test_the_host_s_cost_has_a_tolerance_of_a_hundredth_in_both_costs() -> None:
    def at(macs: int, params: int) -> dict[str, tuple[str, ...]]:
        bare = trial(0, BARE, 0.9, label="host", macs=1000, params=1000)
        return roles(study((bare, trial(1, ECA, 0.91, macs=macs, params=params))))

    assert "host-cost" in at(1010, 1010)[ECA.id]
    assert all("host-cost" not in each for each in at(1011, 1000).values())
    assert all("host-cost" not in each for each in at(1000, 1011).values())


def test_differences_to_the_best_hand_made_placement_are_paired() -> None:
    found = recommended(study(searched(), confirmed()))
    se = next(each for each in found.items if each.row.architecture == SE)
    assert se.handmade == "bam everywhere"
    assert se.over_handmade is not None
    assert se.over_handmade.mean == pytest.approx((0.020 + 0.021 + 0.022) / 3)
    assert found.num_handmade == 1
    assert found.num_compared == 3  # the host, SE and ECA


def test_better_than_the_best_hand_made_is_better_than_each_and_worse_counts_each() -> None:
    truth = np.array([0.90, 0.90, 0.902, 0.904, 0.92, 0.88])
    summary = confirmation(placements(6), truth, 6, np.random.default_rng(0))
    handmade = summary.items[1:4]
    against = over_best_handmade(summary, handmade)
    assert against.best is not None

    def p_value(i: int, j: int) -> float:
        ours, theirs = (summary.items[k].by_seed(lambda r: r.accuracy) for k in (i, j))
        found = paired_difference(ours, theirs, step=1e-9).p_value
        assert found is not None
        return found

    best = summary.items.index(against.best)
    good, bad = (against.differences[summary.items[i].architecture.hash] for i in (4, 5))
    assert good.p_value == pytest.approx(max(p_value(4, j) for j in (1, 2, 3)))
    assert bad.p_value == pytest.approx(3 * p_value(5, best))
    assert (good.verdict, bad.verdict) == ("better", "worse")


def test_where_all_are_equal_hardly_anything_is_called_better_than_the_best_hand_made() -> None:
    rng = np.random.default_rng(0)
    said = []
    for _ in range(200):
        summary = confirmation(placements(10), np.full(10, 0.93), 3, rng)
        differences = over_best_handmade(summary, summary.items[1:4]).differences.values()
        said.append(any(each.verdict != "not distinguishable" for each in differences))
    assert np.mean(said) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_single_trainings_get_recommendations_but_no_verdicts() -> None:
    view = study(searched())
    found = recommended(view)
    assert found.items
    assert all(each.over_handmade is None or each.over_handmade.p_value is None for each in found.items)
    page = render_page(make_report(view))
    assert "one training each: no verdict" in page


def test_what_is_recommended_is_exported_by_its_id_from_a_quoted_path() -> None:
    found = recommended(study(searched(), path="my studies/a b"))
    assert [each.export for each in found.items] == [
        f"nas export 'my studies/a b' --pick {each.row.id}" for each in found.items
    ]


def test_what_has_no_weights_gets_no_command() -> None:
    def commands(view: StudyView) -> dict[str, int]:
        return {each.row.architecture.id: int(each.export is not None) for each in recommended(view).items}

    # BAM is behind the front, and the best at the host's cost.
    trials = (
        trial(0, BARE, 0.9, label="host", macs=1000, params=1000),
        trial(1, BAM, 0.88, macs=1005, params=1000),
        trial(2, ECA, 0.95, macs=2000, params=2000),
    )
    assert commands(study(trials))[BAM.id] == 0
    assert commands(study(trials))[ECA.id] == 1
    assert "Its weights were not kept" in render_page(make_report(study(trials)))
    for kept, count in (("all", 1), ("none", 0)):
        kept_all = study(trials, experiment={"keep": {"weights": kept}})
        assert set(commands(kept_all).values()) == {count}


@pytest.mark.parametrize(
    ("host", "source", "recipe"),
    [
        ({"name": "resnet20"}, "cifar10", "cifar10-resnet"),
        ({"name": "resnet20", "input": 16}, "cifar10", "cifar10-resnet"),
        ({"name": "resnet20", "channels": 1}, "digits", None),
        ({"name": "resnet18", "classes": 10, "input": 32, "stem": "cifar"}, "cifar10", "imagenet-16-epochs"),
    ],
)
def test_a_card_names_a_shipped_recipe_that_is_for_its_host(host: dict, source: str, recipe: str | None) -> None:
    bare = Architecture.from_dict({"host": host, "placement": {}})
    view = study((trial(0, bare, 0.9, label="host", macs=1, params=1),), experiment={"data": {"source": source}})
    (card,) = recommended(view).items
    assert card.retrain == (recipe and f"nas retrain studies/tiny {recipe} --pick {bare.id}")
    assert recipe is None or recipe in recipe_names()


def test_there_is_nothing_to_recommend_without_a_finished_trial() -> None:
    assert recommended(study()).items == ()
    assert recommended(study(searched()[4:])).items == ()
    assert "What to take" not in render_page(make_report(study(searched()[4:])))


def test_a_single_architecture_and_ties_are_recommended_once() -> None:
    assert len(recommended(study(searched()[:1])).items) == 1
    tied = [trial(i, each, 0.9) for i, each in enumerate((BARE, SE, BAM))]
    found = recommended(study(tied))
    assert [each.row.architecture for each in found.items] == [BARE]  # of equal ones the cheapest


def test_names_are_escaped_on_the_cards() -> None:
    evil = trial(1, SE, 0.95, label="<script>alert(2)</script> everywhere")
    page = render_page(make_report(study((searched()[0], evil, *searched()[2:4]))))
    assert "<script>alert(2)" not in page
    assert re.search(r'class="card".*?&lt;script&gt;alert\(2\)', page, re.DOTALL)


def test_the_recommendations_are_a_table_too(tmp_path: Path) -> None:
    view = study(searched(), confirmed())
    write_report(view, tmp_path)
    with (tmp_path / "recommended.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [each.row.id for each in recommended(view).items]
    assert all(row["export"].startswith("nas export studies/tiny --pick ") for row in rows)
