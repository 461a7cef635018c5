"""The network that is picked from a study, ready to be exported."""

from pathlib import Path

from nas.export.picking import kept_training, pick_network
from nas.export.study_images import StudyImages
from nas.export.trained import Recorded, Trained, read_metadata
from nas.study.home import find_study
from nas.study.plugins import refuse_changed_plugins
from reports.front.summary import Measured
from reports.front.tables import interval_of
from reports.quality import quality_of
from reports.statistics.intervals import Interval
from reports.view import StudyView
from search_spaces.yaml_files import Document, validate
from trials import DataConfig, TrainConfig, TrialRecord


def trained_of_study(view: StudyView, study: str | Path, pick: str, data_dir: str | None = None) -> Trained:
    """Return one measured network of a study.

    Args:
        view: the study.
        study: its folder or URL, as `open_study` takes it.
        pick: `knee`, `best-accuracy`, `best-miou` (segmentation), an architecture's id, or the number of a trial of the
            search.
        data_dir: where the images are, if not where they were.

    Raises:
        InputError: nothing is measured yet, an unknown pick, weights that were not kept, a module of the user's own
            whose source changed since the search.
    """
    home = find_study(study)
    refuse_changed_plugins(home.shown, home.facts())
    item = pick_network(view, pick)
    record, weights = kept_training(home.folder, item)
    return Trained(
        architecture=item.architecture,
        weights=weights,
        record=record.to_dict(),
        rows=_rows(item, record),
        origin=f"From the study `{view.path}`: `{view.command}`.",
        recorded=_recorded(record),
        images=_images(view, record, data_dir),
        **read_metadata(weights),
    )


def _recorded(record: TrialRecord) -> Recorded:
    """Return what was measured of the weights after the last epoch: the record's own may be a mean of several."""
    last = record.history[-1]
    metric, value = ("accuracy", last.accuracy) if last.miou is None else ("miou", last.miou)
    return Recorded(metric, value, "validation", record.num_validation, record.precision, record.device)


def _images(view: StudyView, record: TrialRecord, data_dir: str | None) -> StudyImages:
    data = validate(DataConfig, Document(dict(view.experiment["data"]), "data"))
    if data_dir:
        data = data.model_copy(update={"dir": data_dir})
    train = validate(TrainConfig, Document(dict(view.experiment["train"]), "train"))
    batch_size = max(1, 2 * train.batch_size // record.accumulation)
    return StudyImages(data, record.seed, batch_size, record.precision, train.channels_last)


def _rows(item: Measured, record: TrialRecord) -> tuple[tuple[str, str], ...]:
    quality = quality_of(item.records)
    validation, test = interval_of(item, quality.value), interval_of(item, quality.test)
    reached, tested = quality.value(record), quality.test(record)
    assert validation is not None
    assert reached is not None
    chosen = f"(seed {record.seed}, the best of the kept trainings on the validation split)"
    rows = [(f"validation {quality.words}, mean of {validation.n} trainings", _interval(validation))]
    if test is not None:
        rows.append((f"test {quality.words}, mean of {test.n} trainings, never used to select", _interval(test)))
    rows.append((f"these weights: validation {quality.words}", f"{100 * reached:.2f} % {chosen}"))
    if tested is not None:
        rows.append((f"these weights: test {quality.words}", f"{100 * tested:.2f} %"))
    images = f"{record.num_train} / {record.num_validation} / {record.num_test or 'not measured'}"
    return (
        *rows,
        ("epochs", str(record.epochs)),
        ("parameters", f"{record.params:,}"),
        ("FLOPs (MACs: convolutions and matrix products, one image)", f"{record.macs:,}"),
        ("images: training / validation / test", images),
        ("trained on", f"{record.device}, {record.precision}"),
    )


def _interval(interval: Interval) -> str:
    width = interval.half_width
    return f"{100 * interval.mean:.2f} %" + ("" if width is None else f" ± {100 * width:.2f} (95 % t-interval)")
