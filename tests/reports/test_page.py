import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from plotly import graph_objects
from tiny_studies import BAM, BARE, ECA, SE, confirmed, searched, study, trial

from reports import OBJECTIVES, StudyView, TrialView, write_report
from reports.page import make_report, render_page
from search_spaces import Architecture

SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)


def page_of(view: StudyView) -> str:
    """Return the page without its scripts, but with its data."""
    return SCRIPT.sub("", render_page(make_report(view)))


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(study(searched(), confirmed(), description="which <b>gates</b> & why"))


def test_a_report_is_a_page_with_tables_figures_and_architectures_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    found = write_report(study(searched(), confirmed()), out)
    assert found == out / "report.html"
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    costs = ("accuracy_macs", "accuracy_params", "accuracy_memory")
    figures = {
        f"figures/{f}.{kind}" for f in (*costs, "placement_map", "hypervolume") for kind in ("png", "svg", "csv")
    }
    tables = {
        f"{table}.csv" for table in ("front", "equal_cost", "trials", "confirm", "recommended", "enrichment", "effects")
    }
    named = {f"architectures/{each.id}.yaml" for each in (BARE, ECA, SE, BAM)}  # all four were confirmed
    assert written >= {"report.html", *tables, *figures, *named}
    assert all((out / f).read_bytes().startswith(b"\x89PNG") for f in figures if f.endswith("png"))
    assert all(b"<svg" in (out / f).read_bytes() for f in figures if f.endswith("svg"))
    write_report(study(), out)  # replaces what is there
    assert not list((out / "architectures").iterdir())


def test_files_of_architectures_read_back_as_what_they_are(tmp_path: Path) -> None:
    write_report(study(searched()), tmp_path)
    found = {path.stem: Architecture.load(path) for path in (tmp_path / "architectures").iterdir()}
    # The front is the host, SE and ECA; BAM is a baseline.
    assert found == {each.id: each for each in (BARE, ECA, SE, BAM)}


def test_figures_have_their_numbers_beside_them(tmp_path: Path) -> None:
    write_report(study(searched()), tmp_path)
    with (tmp_path / "figures" / "accuracy_macs.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert (rows[SE.id]["mark"], float(rows[SE.id]["macs"]), float(rows[SE.id]["accuracy"])) == ("front", 120, 0.92)
    with (tmp_path / "figures" / "placement_map.csv").open() as file:
        share = next(r for r in csv.DictReader(file) if (r["site"], r["module"]) == ("layer1.0/branch", "eca"))
    assert (share["front_count"], share["front_total"], share["search_count"], share["search_total"]) == (
        "1",
        "3",
        "1",
        "2",
    )


def test_the_page_loads_nothing_from_anywhere(page: str) -> None:
    assert not re.search(r"<(?:link|img|iframe|object|embed|base)\b|\bsrc\s*=|@import|url\(", page)
    assert not re.search(r"https?://", page)
    assert set(re.findall(r'href="([^"]*)"', page)) == {
        f"#{name}" for name in ("answer", "quality", "where", "sure", "search", "trials", "failures", "how")
    }


def test_what_the_page_s_data_links_to_is_beside_it(tmp_path: Path) -> None:
    page = write_report(study(searched(), confirmed()), tmp_path).read_text(encoding="utf-8")
    files = data_of(page)["files"].values()
    assert len(files) == 4
    assert all((tmp_path / file).is_file() for file in files)


def test_the_script_that_draws_is_inlined_once() -> None:
    whole = render_page(make_report(study(searched())))
    assert whole.count("* plotly.js v") == 1


def test_every_trial_is_on_the_page(page: str) -> None:
    for each in searched():
        assert each.architecture.id in page


def test_texts_of_a_study_are_escaped(page: str) -> None:
    assert "which &lt;b&gt;gates&lt;/b&gt; &amp; why" in page
    assert "loss is not finite: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_labels_are_escaped_in_what_plotly_draws() -> None:
    evil = "</script><img onerror=alert(1)>"
    baseline = trial(1, searched()[1].architecture, 0.8, label=evil)
    page = page_of(study((searched()[0], baseline)))
    assert "<img" not in page
    groups = data_of(page)["scatter"]["panels"][0]["groups"]
    assert any("&lt;img" in name for group in groups for name in group["names"])
    assert not any("<img" in text for group in groups for text in [group["name"], *group["names"]])


def test_the_confirmed_table_says_better_worse_and_not_distinguishable(page: str) -> None:
    assert "▲ better" in page
    assert "▼ worse" in page
    assert "≈ not distinguishable" in page
    assert "measured once, never used for selection" in page
    assert "Of 3 architectures compared with the bare host in accuracy, 1 is better, 1 worse, and 1 cannot" in page


def test_single_trainings_are_called_that() -> None:
    page = page_of(study(searched()))
    assert "These are single trainings and nothing is confirmed" in page
    assert "▲ better" not in page


def test_the_page_says_what_one_validation_image_is_worth(page: str) -> None:
    # 1,000 images: a step of 0.1 points; the median accuracy of the 16 finished trainings is 0.9315.
    accuracies = sorted(t.record.accuracy for t in (*searched(), *confirmed()) if t.record and t.record.accuracy)
    middle = (accuracies[7] + accuracies[8]) / 2
    assert len(accuracies) == 16
    assert "With 1,000 validation images, one image more or less is a step of 0.10 points" in page
    assert f"{100 * (middle * (1 - middle) / 1000) ** 0.5:.2f} points (binomial standard error)" in page
    assert "element-wise work" in page


def test_the_page_names_the_next_commands_and_quotes_paths() -> None:
    page = page_of(study(searched(), path="my studies/a b"))
    assert "nas export &#39;my studies/a b&#39; --pick knee" in page
    assert "nas export" not in page_of(study())


def test_numbers_that_are_not_comparable_are_pointed_out() -> None:
    first, second = searched()[:2]
    assert second.record is not None
    other = replace(second, record=replace(second.record, data_sha256="cd" * 32))
    assert "Not comparable" in page_of(study((first, other)))
    assert "Not comparable" not in page_of(study((first, second)))


@pytest.mark.parametrize(
    "objectives", [("loss", "params"), ("macs",), ("accuracy",), (*tuple(OBJECTIVES)[:4], "memory_bytes")]
)
def test_any_objectives_give_a_page(objectives: tuple[str, ...], tmp_path: Path) -> None:
    view = study(searched(objectives), confirmed(objectives), objectives=objectives)
    page = write_report(view, tmp_path).read_text(encoding="utf-8")
    assert "On the front" in page


def running() -> TrialView:
    return replace(searched()[2], record=None, state="running", values=None, finished_at=None)


@pytest.mark.parametrize(
    "search",
    [(), (running(),), searched()[4:], (replace(searched()[4], record=None),), searched()[:1], searched()[2:3]],
    ids=["none", "running", "failed", "lost worker", "host alone", "no host"],
)
def test_studies_with_little_in_them_give_a_page(search: tuple[TrialView, ...], tmp_path: Path) -> None:
    page = write_report(study(search), tmp_path).read_text(encoding="utf-8")
    assert ("No trial has finished yet" in page) == (not any(t.measured for t in search))


def test_a_confirmation_that_is_under_way_shows_what_it_has() -> None:
    unfinished = replace(confirmed()[2], record=None, state="running", values=None)
    page = page_of(study(searched(), (*confirmed()[:2], unfinished, confirmed()[3])))
    assert "The confirmation is under way: 1 training is running." in page
    assert "1 architecture has fewer seeds than the others" in page


def test_what_the_page_draws_is_what_plotly_knows(page: str) -> None:
    for panel in data_of(page)["scatter"]["panels"]:
        for group in panel["groups"]:
            sizes = {
                len(group["y"]),
                len(group["facts"]),
                len(group["placed"]),
                len(group["half"]),
                *map(len, group["x"].values()),
            }
            assert len(sizes) == 1
            graph_objects.Scatter(x=group["x"]["macs"], y=group["y"], marker={"symbol": group["symbol"]})
