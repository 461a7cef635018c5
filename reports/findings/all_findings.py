"""What a report says beyond its tables of trials: what to take, where attention stands, how sure, how it was found."""

from dataclasses import dataclass
from pathlib import Path

from reports.files.csv_files import write_csv
from reports.findings.csv_columns import EFFECTS_CSV, ENRICHMENT_CSV, RECOMMENDED_CSV, RETRAINED_CSV
from reports.findings.enrichment import Enrichment, enrichments_of
from reports.findings.importance import Effect, Effects, effects_of
from reports.findings.random_search import RandomSearch, random_search_of
from reports.findings.recommend import Recommended, recommended_of
from reports.findings.retrained import RetrainedGroup, retrained_of
from reports.findings.search_time import SearchTime, search_time_of
from reports.findings.sure import Sure, sure_of
from reports.front.placement import Naming
from reports.front.summary import Summary
from reports.front.tables import FrontRow
from reports.view import StudyView, TrialView

_MOST_SHOWN = 12


@dataclass(frozen=True)
class Trouble:
    """What trainings got over: a warning, or batches that were trained in parts."""

    what: str
    trials: tuple[TrialView, ...]


@dataclass(frozen=True)
class Findings:
    """Everything of it."""

    recommended: Recommended
    enrichment: tuple[Enrichment, ...]
    num_front: int
    effects: Effects
    sure: Sure
    time: SearchTime | None
    random: RandomSearch | str
    troubles: tuple[Trouble, ...]
    num_distinct: int
    """Architectures of which a training began."""
    num_trainings: int
    retrained: tuple[RetrainedGroup, ...]
    """What was trained in full, a group for each recipe."""

    @property
    def most_enriched(self) -> tuple[Enrichment, ...]:
        """What differs most between the front and the rest, for its uncertainty; the most certain first."""
        return tuple(sorted(self.enrichment, key=_clearness, reverse=True)[:_MOST_SHOWN])

    @property
    def num_enriched(self) -> int:
        """How many differ beyond their interval."""
        return sum(each.is_certain for each in self.enrichment)

    @property
    def clearest_decisions(self) -> tuple[Effect, ...]:
        """The single decisions whose effects are clearest."""
        rows = sorted(self.effects.of("decision"), key=lambda row: -abs(row.mean) / max(row.high - row.low, 1e-12))
        return tuple(rows[:_MOST_SHOWN])


def findings_of(
    view: StudyView, search: Summary, shown: Summary, rows: tuple[FrontRow, ...], names: Naming
) -> Findings:
    """Return the findings of a study; one without a finished trial has none, and says so in its parts."""
    sure = sure_of(view, search, shown)
    front = {item.architecture.hash: item.architecture for item in shown.front}
    others = [item.architecture for item in search.items if item.architecture.hash not in front]
    begun = [trial.architecture.hash for trial in view.search]
    return Findings(
        recommended=recommended_of(view, shown, rows, names, sure.best),
        enrichment=enrichments_of(list(front.values()), others),
        num_front=len(front),
        effects=effects_of(view),
        sure=sure,
        time=search_time_of(view),
        random=random_search_of(view),
        troubles=troubles_of(view),
        num_distinct=len(set(begun)),
        num_trainings=len(begun),
        retrained=retrained_of(view, shown, rows),
    )


def write_findings(out: Path, findings: Findings) -> None:
    """Write recommended.csv, enrichment.csv and effects.csv, and retrained.csv where something was."""
    write_csv(out / "recommended.csv", findings.recommended.items, RECOMMENDED_CSV)
    write_csv(out / "enrichment.csv", findings.enrichment, ENRICHMENT_CSV)
    write_csv(out / "effects.csv", findings.effects.rows, EFFECTS_CSV)
    if findings.retrained:
        pairs = [(group, row) for group in findings.retrained for row in group.rows]
        write_csv(out / "retrained.csv", pairs, RETRAINED_CSV)


def troubles_of(view: StudyView) -> tuple[Trouble, ...]:
    """Return warnings of trainings, and those that were trained in parts, the most frequent first."""
    asked = int((view.experiment.get("train") or {}).get("accumulation") or 1)
    groups: dict[str, list[TrialView]] = {}
    for trial in (*view.search, *view.confirm):
        said = list(dict.fromkeys(trial.record.warnings)) if trial.record else []
        if trial.record and trial.record.accumulation > 1 and not said:
            why = ", as asked for" if trial.record.accumulation == asked else ", since memory ran out"
            said = [f"each batch was trained in {trial.record.accumulation} parts{why}"]
        for what in said:
            groups.setdefault(what, []).append(trial)
    return tuple(Trouble(what, tuple(trials)) for what, trials in sorted(groups.items(), key=lambda g: -len(g[1])))


def hypervolume_extras(findings: Findings, busy_s: tuple[float, ...]) -> dict[str, object]:
    """Return what the page draws beside the hypervolume over trials: hours, and the band of random search."""
    band = findings.random
    known = isinstance(band, RandomSearch)
    return {
        "hours": [round(seconds / 3600, 6) for seconds in busy_s],
        "random": {key: [round(float(value), 5) for value in getattr(band, key)] for key in ("low", "middle", "high")}
        if known
        else None,
    }


def _clearness(each: Enrichment) -> float:
    low, high = each.interval
    return abs(low + high) / max(high - low, 1e-12)
