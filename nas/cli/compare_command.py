"""The command that puts several studies on one page."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli.output import AsJson, print_json, print_lines, print_table
from nas.view import open_study
from reports import wording
from reports.comparison import Group, group_studies, write_comparison


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(compare)


def compare(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY STUDY...", help="Two or more studies, as for report.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("comparison"),
    as_json: AsJson = False,
) -> None:
    """Put several studies on one page; what is not comparable stays apart."""
    views = [open_study(study) for study in studies]
    page = write_comparison(views, out)
    groups = group_studies(views)
    if as_json:
        print_json({"comparison": str(page), "groups": [_group_data(group) for group in groups]})
        return
    for number, group in enumerate(groups, 1):
        title = f"Group {number} of {len(groups)}, not comparable with the others" if len(groups) > 1 else ""
        columns = [
            "study",
            "search",
            "seed",
            "trials",
            f"hypervolume after {group.common_trials}",
            "best",
            "over first",
        ]
        print_table(title, columns, _comparison_rows(group), numeric=columns[2:5])
        print_lines("")
    print_lines(f"comparison:  {page}")


def _comparison_rows(group: Group) -> list[tuple[object, ...]]:
    winners = {winner.study.name: winner for winner in group.winners}
    rows: list[tuple[object, ...]] = []
    for study in group.studies:
        winner = winners.get(study.name)
        best = f"{winner.item.name} {wording.share(winner.quality)}" if winner else wording.NOT_MEASURED
        against = wording.NOT_MEASURED
        if winner and winner.difference:
            against = f"{wording.points(winner.difference)} {winner.difference.verdict}"
        elif winner and winner.reason:
            against = winner.reason
        volume = f"{study.volume_after(group.common_trials):.3f}"
        rows.append((study.name, study.kind, study.seed, len(study.volumes), volume, best, against))
    return rows


def _group_data(group: Group) -> dict[str, Any]:
    return {
        "conditions": dict(group.conditions),
        "common_trials": group.common_trials,
        "studies": [
            {
                "name": study.name,
                "path": study.view.path,
                "kind": study.kind,
                "seed": study.seed,
                "finished_trials": len(study.volumes),
                "hypervolume_after_common_trials": study.volume_after(group.common_trials),
            }
            for study in group.studies
        ],
        "winners": [
            {
                "study": winner.study.name,
                "architecture": winner.item.architecture.to_dict(),
                "quality": asdict(winner.quality),
                "over_first": asdict(winner.difference) if winner.difference else None,
                "reason": winner.reason,
            }
            for winner in group.winners
        ],
    }
