"""How the numbers of a report were measured, and what they are therefore worth."""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from reports import wording
from reports.front.summary import Summary
from reports.quality import MIOU, quality_of
from reports.statistics.intervals import binomial_error
from reports.view import StudyView, TrialView
from trials.record import TrialRecord

Fact = tuple[str, str]

_WORTH_OF_MIOU = (
    "mIoU comes from one count over all pixels of the {}, and pixels of an image are not independent: a single "
    "training gives no interval. The intervals here are those of the spread over seeds, each with its own split."
)


@dataclass(frozen=True)
class Provenance:
    """What stands in the report's last section."""

    facts: tuple[Fact, ...]
    """What is called what, in the order in which it is shown."""
    precision: tuple[str, ...]
    """Sentences on what one validation image is worth."""
    warnings: tuple[str, ...]
    """Sentences on numbers that are not comparable though they should be."""
    commands: tuple[tuple[str, str], ...]
    """A command and what it is good for."""


def provenance_of(view: StudyView, shown: Summary) -> Provenance:
    """Return how the study was measured; a study without any record tells only what was planned.

    Args:
        view: The study.
        shown: What the report's table shows.
    """
    records = [trial.record for trial in (*view.search, *view.confirm) if trial.record is not None]
    facts = (*_data(view, records), *_training(view), *_machine(records), *_latency(records))
    return Provenance(
        tuple(fact for fact in facts if fact[1]), _worth(records), _warnings(view), _commands(view, shown)
    )


def _data(view: StudyView, records: Sequence[TrialRecord]) -> list[Fact]:
    source = str((view.experiment.get("data") or {}).get("source", ""))
    sizes = _each(
        records, lambda r: f"{r.num_train:,} to train on, {r.num_validation:,} for validation, {r.num_test:,} to test"
    )
    of_pixels = quality_of(records) is MIOU
    share = "each image as likely as any other" if of_pixels else "the same share of every class"
    return [
        ("Data", source),
        ("Images", sizes),
        ("SHA-256 of the data", _each(records, lambda r: r.data_sha256)),
        ("Split", f"validation images are drawn by seed, {share}; the test images are apart"),
    ]


def _training(view: StudyView) -> list[Fact]:
    stages = (("Search", view.search), ("Confirmation", view.confirm))
    facts = []
    for name, trials in stages:
        records = [trial.record for trial in trials if trial.record is not None]
        if records:
            seeds = sorted({record.seed for record in records})
            shown = ", ".join(map(str, seeds[:12])) + (", ..." if len(seeds) > 12 else "")
            epochs = _each(records, lambda record: str(record.epochs))
            wall_s = sum(record.wall_s for record in records)
            facts.append(
                (
                    name,
                    f"{wording.plural(len(records), 'training')} of {epochs} epochs, "
                    f"{'seed' if len(seeds) == 1 else 'seeds'} {shown}; {wording.duration(wall_s)} of training and "
                    f"measuring in all, {wording.duration(median(r.wall_s for r in records))} in the median",
                )
            )
    return facts


def _machine(records: Sequence[TrialRecord]) -> list[Fact]:
    versions = _each(records, lambda r: ", ".join(f"{name} {version}" for name, version in sorted(r.versions.items())))
    started = sorted(record.started_at for record in records)
    return [
        ("Device", _each(records, lambda record: record.device)),
        ("Precision", _each(records, lambda record: record.precision)),
        ("Compiling", _each(records, lambda record: record.compiling or "")),
        ("Memory", _each([r for r in records if r.memory_bytes is not None], lambda record: record.memory_method)),
        ("Versions", versions),
        ("First and last start (UTC)", f"{started[0]}, {started[-1]}" if started else ""),
    ]


def _latency(records: Sequence[TrialRecord]) -> list[Fact]:
    measured = [record.latency for record in records if record.latency is not None]
    how = dict.fromkeys(
        f"median of {latency.repeats} repeats at batch {latency.batch_size} on {latency.device}, "
        f"{wording.plural(latency.threads, 'thread')}"
        for latency in measured
    )
    return [("Latency", "; ".join(how))]


def _worth(records: Sequence[TrialRecord]) -> tuple[str, ...]:
    sizes = [record.num_validation for record in records if record.num_validation > 0]
    accuracies = [r.accuracy for r in records if r.accuracy is not None and math.isfinite(r.accuracy)]
    if not sizes or not accuracies:
        return ()
    if quality_of(records) is MIOU:
        return (_WORTH_OF_MIOU.format(wording.plural(min(sizes), "validation image")),)
    num, typical = min(sizes), median(accuracies)
    error = binomial_error(min(max(typical, 0.0), 1.0), num)
    return (
        f"With {wording.plural(num, 'validation image')}, one image more or less is a step of {100 / num:.2f} points: "
        "accuracies can only differ by multiples of that within one training.",
        f"Around the typical accuracy here, {wording.percent(typical, 1)}, chance in which images were kept for "
        f"validation moves a single accuracy by about {100 * error:.2f} points (binomial standard error): differences "
        "below about that cannot be told apart by one trial.",
    )


def _warnings(view: StudyView) -> tuple[str, ...]:
    """Name what differs between trials that the tables compare."""
    checks: tuple[tuple[str, Callable[[TrialRecord], str]], ...] = (
        ("data", lambda record: record.data_sha256[:12]),
        ("numbers of training images", lambda record: str(record.num_train)),
        ("numbers of validation images", lambda record: str(record.num_validation)),
        ("precisions", lambda record: record.precision),
    )
    found = []
    stages: tuple[tuple[str, tuple[TrialView, ...]], ...] = (("search", view.search), ("confirmation", view.confirm))
    for stage, trials in stages:
        records = [trial.record for trial in trials if trial.measured and trial.record is not None]
        for what, read in checks:
            values = dict.fromkeys(read(record) for record in records)
            if len(values) > 1:
                found.append(f"Trials of the {stage} were measured with different {what}: {', '.join(values)}.")
    return tuple(found)


def _commands(view: StudyView, shown: Summary) -> tuple[tuple[str, str], ...]:
    study = shlex.quote(view.path)
    commands = []
    if shown.knee:
        commands.append(
            (f"nas export {study} --pick knee", "the front's best compromise: weights, and code to load it")
        )
    if shown.items:
        pick = f"nas export {study} --pick best-{shown.quality.name}"
        commands.append((pick, f"the network with the highest {shown.quality.words}"))
    keeps_weights = (view.experiment.get("keep") or {}).get("weights") != "none"
    if shown.items and keeps_weights and shown.quality is not MIOU:
        commands.append((f"nas analyze {study}", "what the winners' attention does; this page then tells of it too"))
    commands.append((view.command, "run the study, or go on with it"))
    commands.append((f"nas report {study}", "this page again, with whatever has finished since"))
    return tuple(commands)


def _each(records: Sequence[TrialRecord], read: Callable[[TrialRecord], str]) -> str:
    """Return the different answers of the records, `; ` between them."""
    return "; ".join(dict.fromkeys(read(record) for record in records))
