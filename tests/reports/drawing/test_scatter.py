import pytest
from tiny_studies import BARE, confirmed, searched, study

from reports.drawing.scatter import Mark, scatter_of, staircase
from reports.findings.progress import hypervolume_curve
from reports.front.summary import summarise_confirm, summarise_search
from reports.style import symbols_of


def mark(cost: float, quality: float) -> Mark:
    return Mark("x", "trial", False, quality, None, None, {"macs": cost}, (), BARE)


def test_the_line_climbs_to_the_best_quality_at_up_to_each_cost() -> None:
    marks = [mark(3, 0.8), mark(1, 0.5), mark(2, 0.4), mark(2, 0.7), mark(4, 0.8)]
    assert staircase(marks, "macs", maximise=True) == [(1, 0.5), (2, 0.7), (3, 0.8)]
    assert staircase(marks, "macs", maximise=False) == [(1, 0.5), (2, 0.4)]
    assert staircase(marks, "params", maximise=True) == []


def test_each_length_of_training_has_its_own_panel() -> None:
    view = study(searched(), confirmed())
    found = scatter_of([summarise_confirm(view), summarise_search(view)])
    assert [panel.stage for panel in found.panels] == ["confirm", "search"]
    confirm, search = found.panels
    assert all(m.low is not None for m in confirm.marks)
    assert all(m.low is None for m in search.marks)
    assert [m.look for m in search.marks] == ["host", "baseline", "front", "front"]
    assert "24 epochs" in confirm.title
    assert "8 epochs, one training each" in search.title


def test_log_loss_is_drawn_where_it_alone_is_an_objective() -> None:
    view = study(searched(("loss", "params")), objectives=("loss", "params"))
    found = scatter_of([summarise_search(view)])
    assert (found.quality.name, found.maximise) == ("loss", False)
    assert [axis.name for axis in found.costs] == ["macs", "params", "memory_bytes"]


def test_what_is_not_finished_is_not_drawn() -> None:
    found = scatter_of([summarise_confirm(study()), summarise_search(study())])
    assert found.panels == ()
    assert [axis.name for axis in found.costs] == ["macs", "params"]


def test_the_hypervolume_curve_follows_the_order_of_finishing() -> None:
    curve = hypervolume_curve(study(tuple(reversed(searched()))))
    assert curve.baselines == (True, True, False, False)
    # The worst accuracy is 0.89 of a range of 0.03, the worst MACs 200 of a range of 100.
    assert curve.reference == pytest.approx({"accuracy": 0.89 - 0.003, "macs": 210})
    assert hypervolume_curve(study()).values == ()


def test_random_placements_share_a_symbol_and_other_baselines_differ() -> None:
    symbols = symbols_of(["se everywhere", "random 1", "random 2", "42"])
    assert list(symbols) == ["se everywhere", "random", "42"]
    assert len(set(symbols.values())) == 3
