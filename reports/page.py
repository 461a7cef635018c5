"""The report: one self-contained page, and beside it figures, tables as CSV and the architectures as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports import style, wording
from reports.analysis.winners import Winner, read_winners
from reports.drawing.figures import write_figures
from reports.drawing.outline import Outlines, outlines_of
from reports.drawing.plots import hypervolume_data, retrained_data, scatter_data
from reports.drawing.scatter import Scatter, scatter_of
from reports.drawing.trial_table import trial_table
from reports.files import architecture_files
from reports.files.csv_files import EQUAL_COST_CSV, FRONT_CSV, MIOU_FRONT_CSV, MIOU_TRIALS_CSV, TRIALS_CSV, write_csv
from reports.findings import early_stopping
from reports.findings.all_findings import Findings, findings_of, hypervolume_extras, write_findings
from reports.findings.progress import HypervolumeCurve, hypervolume_curve
from reports.findings.provenance import Provenance, provenance_of
from reports.findings.sure import luck_in_words
from reports.front import tables
from reports.front.answer import answer_of
from reports.front.equal_cost import EqualCostRow, equal_cost_rows
from reports.front.placement import Naming, PlacementMap, placement_map, sites_there, used_sites
from reports.front.summary import Summary, summarise_confirm, summarise_search
from reports.front.tables import FailureRow, FrontRow
from reports.objectives import OBJECTIVES
from reports.quality import MIOU, Quality
from reports.rendering import plotly_js, template
from reports.view import StudyView
from search_spaces import Architecture
from search_spaces.yaml_files import dump_yaml

_MAX_COLUMNS = 12


@dataclass(frozen=True)
class Report:
    """Everything that the page, the figures and the CSV files show."""

    view: StudyView
    search: Summary
    shown: Summary
    """The confirmation if anything of it has finished, else the search."""
    names: Naming
    rows: tuple[FrontRow, ...]
    answer: tuple[str, ...]
    scatter: Scatter
    placements: PlacementMap
    outlines: Outlines
    architectures: dict[str, Architecture]
    """By id, those that are written as files."""
    curve: HypervolumeCurve
    stopping: tuple[str, ...]
    """What early stopping did, in sentences; none where there was none."""
    failures: tuple[FailureRow, ...]
    equal_cost: tuple[EqualCostRow, ...]
    provenance: Provenance
    findings: Findings
    winners: tuple[Winner, ...]
    """The gates of the winners' networks, if they were analysed."""

    @property
    def equal_cost_groups(self) -> list[tuple[FrontRow, list[EqualCostRow]]]:
        """The comparisons at equal cost by architecture, in the order of the rows."""
        groups = [(row, [each for each in self.equal_cost if each.of is row]) for row in self.rows]
        return [(row, members) for row, members in groups if members]

    @property
    def quality(self) -> Quality:
        """What the tables show of each architecture first."""
        return self.shown.quality


def write_report(view: StudyView, out: Path, analysis: Path | None = None) -> Path:
    """Write report.html, its tables as CSV, figures/ and architectures/ into `out`; return the page's path.

    The folder is made if it is missing; files of an earlier report are replaced. `analysis` is where `nas analyze`
    wrote what it found in the study's winners, if it did.
    """
    report = make_report(view, read_winners(analysis) if analysis else ())
    out.mkdir(parents=True, exist_ok=True)
    of_pixels = report.quality is MIOU
    write_csv(out / "front.csv", report.rows, {**FRONT_CSV, **(MIOU_FRONT_CSV if of_pixels else {})})
    write_csv(out / "equal_cost.csv", report.equal_cost, EQUAL_COST_CSV)
    write_findings(out, report.findings)
    for name, trials in (("trials.csv", view.search), ("confirm.csv", view.confirm)):
        write_csv(out / name, trials, {**TRIALS_CSV, **(MIOU_TRIALS_CSV if of_pixels else {})})
    write_figures(out / "figures", report.scatter, report.placements, report.curve, report.findings.retrained)
    architecture_files.write_architectures(out / architecture_files.FOLDER, report.architectures)
    page = out / "report.html"
    page.write_text(render_page(report), encoding="utf-8")
    return page


def make_report(view: StudyView, winners: tuple[Winner, ...] = ()) -> Report:
    """Compute what a report shows, beside what was found in the winners' networks."""
    search, confirm = summarise_search(view), summarise_confirm(view)
    shown = confirm if confirm.items else search
    names = tables.naming(view)
    rows = tables.rows_of(shown, names)
    equal_cost = equal_cost_rows(view, shown, rows)
    proposals = [item.architecture for item in search.items if item.role == "proposal"]
    placements = placement_map([item.architecture for item in shown.front], proposals)
    every = [trial.architecture for trial in (*view.search, *view.confirm)]
    return Report(
        view=view,
        search=search,
        shown=shown,
        names=names,
        rows=tuple(rows),
        answer=tuple(answer_of(view, shown, rows, equal_cost)),
        scatter=scatter_of([confirm, search], [trial for trial in view.search if trial.state == "stopped"]),
        placements=placements,
        outlines=outlines_of(every, names, placements.modules[:-1]),
        architectures=architecture_files.named(search, confirm),
        curve=hypervolume_curve(view),
        stopping=early_stopping.sentences(stopping) if (stopping := early_stopping.stopping_of(view, search)) else (),
        failures=tuple(tables.failure_rows(view)),
        equal_cost=tuple(equal_cost),
        provenance=provenance_of(view, shown),
        findings=findings_of(view, search, shown, tuple(rows), names),
        winners=winners,
    )


def render_page(report: Report) -> str:
    """Return the page as HTML. Everything from the study is escaped; nothing is loaded from elsewhere."""
    page = template("report.html", wording=wording, tables=tables, luck_in_words=luck_in_words)
    return page.render(
        report=report,
        view=report.view,
        groups=_groups(report.rows),
        grid=_grid(report),
        data=_data(report),
        reference=_reference(report.curve),
        objectives=[OBJECTIVES[name] for name in report.view.objectives],
        experiment=dump_yaml(report.view.experiment),
        plotly=plotly_js(),
    )


def _groups(rows: Sequence[FrontRow]) -> list[tuple[str, list[FrontRow]]]:
    titles = (
        ("front", "On the front"),
        ("baseline", "Baselines behind the front"),
        ("other", "Confirmed, but behind the front"),
    )
    groups = [(title, [row for row in rows if row.group == group]) for group, title in titles]
    return [(title, members) for title, members in groups if members]


def _grid(report: Report) -> dict[str, Any]:
    """Return the front's architectures as columns over the sites they use."""
    rows = [row for row in report.rows if row.group == "front"]
    shown = rows[:_MAX_COLUMNS]
    colours = {m: style.module_colour(report.placements.modules, m) for m in report.placements.modules[:-1]}
    lines = []
    for site in used_sites([row.architecture for row in shown]):
        lines.append((site, [_cell(report, row.architecture, site, colours) for row in shown]))
    return {"columns": shown, "lines": lines, "num_hidden": len(rows) - len(shown), "colours": colours}


def _cell(report: Report, architecture: Architecture, site: str, colours: dict[str, str]) -> tuple[str, str | None]:
    """Return what stands at a site and its colour; without a colour where the host has no such site."""
    specs = architecture.placement.get(site)
    if specs:
        return report.names.specs(specs), colours[specs[0].module]
    return "", "" if sites_there(architecture, [site]) else None


def _reference(curve: HypervolumeCurve) -> list[str]:
    """Return the reference point in words."""
    return [f"{OBJECTIVES[name].title} {wording.value_of(name, value)}" for name, value in curve.reference.items()]


def _data(report: Report) -> dict[str, Any]:
    """Return what the page's scripts draw from."""
    numbers = report.outlines.number
    first = report.shown.knee or next(iter(reversed(report.shown.front)), None)
    return {
        "scatter": scatter_data(report.scatter, numbers),
        "hypervolume": {**hypervolume_data(report.curve), **hypervolume_extras(report.findings, report.curve.busy_s)},
        "outlines": report.outlines.data(),
        "retrained": retrained_data(report.findings.retrained),
        "trials": trial_table(report.view, report.search, report.quality, numbers),
        "study": report.view.path,
        "files": {
            numbers[a.hash]: f"{architecture_files.FOLDER}/{key}.yaml" for key, a in report.architectures.items()
        },
        "first": numbers[first.architecture.hash] if first else None,
    }
