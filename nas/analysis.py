"""What there is to analyse: an architecture with a file of weights, an export's folder, or the winners of a study."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.export import KNEE, kept_training, pick_network
from nas.running.weights import weights_path
from nas.study.home import ANALYSIS, StudyHome, find_study
from nas.study.plugins import refuse_changed_plugins
from nas.view import read_view
from reports.analysis import Analysis, Pictures, Subject, analyse, choose_pictures
from reports.analysis.pictures import Part, Tick, no_tick
from reports.analysis.winners import Winner, read_winner, write_winners
from reports.front.summary import Measured, Summary, best_summary
from reports.view import StudyView
from search_spaces import Architecture
from search_spaces.errors import InputError
from search_spaces.yaml_files import Document, validate
from trials import DataConfig, check_images, load_data
from trials.devices import pick_device
from trials.weights import load_weights


@dataclass(frozen=True)
class Looking:
    """How it is looked at."""

    num_images: int = 2000
    num_examples: int = 6
    classes: tuple[str, ...] = ()
    """Whose weights are drawn; none: the first four."""
    part: Part | None = None
    """None: validation where it is known which images were held out, else test."""
    device: str = "auto"


@dataclass(frozen=True)
class Trained:
    """A network with a file of its weights."""

    architecture: Architecture
    weights: Path
    title: str


@dataclass(frozen=True)
class Data:
    """The images that a network was trained on."""

    config: DataConfig
    validation: int | None
    """How many its training held out; None if that is not known."""


def analyse_files(
    network: Trained, host_weights: Path | None, data: Data, looking: Looking, tick: Tick = no_tick
) -> Analysis:
    """Analyse a network beside its bare host, if there are weights of that.

    Raises:
        InputError: a file that is missing or damaged, weights of another network, images that do not fit, an unknown
            class or device.
    """
    host = None
    if host_weights is not None:
        host = Trained(Architecture.of(network.architecture.host, {}), host_weights, "host")
    loaded, facts = _load(network, looking)
    pictures = _pictures(network, facts, data, looking)
    beside = None if host is None else _load(host, looking)[0]
    return analyse(loaded, beside, pictures, classes=looking.classes, num_examples=looking.num_examples, tick=tick)


def analyse_study(
    study: str | Path, pick: str | None, looking: Looking, data_dir: str | None = None, tick: Tick = no_tick
) -> tuple[Analysis, tuple[Winner, ...], StudyHome]:
    """Analyse one network of a study, and without a pick read the gates of all that is on its front.

    The winners' gates are written beside the report, which can show them from then on.

    Args:
        study: its folder or URL.
        pick: as `nas export` takes it; None: the knee, or where that has no attention the best of the front that has.
        looking: how.
        data_dir: where the images are, if not where they were.
        tick: told of the progress.

    Raises:
        InputError: nothing is measured yet, an unknown pick, weights that were not kept, images that are not there.
    """
    home = find_study(study)
    view = read_view(home)
    refuse_changed_plugins(home.shown, home.facts())
    item = pick_network(view, pick) if pick else _most_interesting(view)
    record, weights = kept_training(home.folder, item)
    host = _host_of(home.folder, best_summary(view), item, record.seed)
    data = _data_of(view, data_dir)
    found = analyse_files(Trained(item.architecture, weights, item.name), host, data, looking, tick)
    if pick:
        return found, (), home
    winners = _read_winners(home.folder, view, data, looking, tick)
    write_winners(home.folder / ANALYSIS, winners)
    return found, winners, home


def _load(network: Trained, looking: Looking) -> tuple[Subject, dict[str, str]]:
    """Return a network with its weights, and what their file says of them."""
    device = pick_device(looking.device)
    built = network.architecture.build()
    facts = load_weights(built, network.weights)
    told = facts.get("architecture_hash")
    if told is not None and told != network.architecture.hash:
        raise InputError(
            f"{network.weights}: these weights are of architecture {facts.get('architecture_id')}, "
            f"not of {network.architecture.id} ({network.title})"
        )
    return Subject.of(network.architecture, built, network.title, device), facts


def _pictures(network: Trained, facts: dict[str, str], data: Data, looking: Looking) -> Pictures:
    dataset = load_data(data.config)
    check_images(network.architecture.host, dataset)
    classes = tuple(json.loads(facts["classes"])) if "classes" in facts else dataset.classes
    if classes != dataset.classes:
        raise InputError(
            f"{network.weights}: trained to tell {', '.join(classes[:5])}, ... apart; these images are of "
            f"{', '.join(dataset.classes[:5])}, ..."
        )
    known = data.validation is not None and "seed" in facts
    if looking.part == "validation" and data.validation is not None and not known:
        raise InputError(
            f"{network.weights} does not say with which seed it was trained, and so not which images were held out; "
            "take --part test"
        )
    return choose_pictures(
        dataset,
        looking.part or ("validation" if known else "test"),
        looking.num_images,
        validation=data.validation,
        seed=int(facts.get("seed", 0)),
        normalisation=_normalisation(facts),
    )


def _normalisation(facts: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if "mean" not in facts or "std" not in facts:
        return None
    return tuple(json.loads(facts["mean"])), tuple(json.loads(facts["std"]))


def _most_interesting(view: StudyView) -> Measured:
    knee = pick_network(view, KNEE)
    if knee.architecture.items:
        return knee
    summary = best_summary(view)
    attended = [item for item in summary.front or summary.items if item.architecture.items]
    return max(attended, key=lambda item: item.mean(summary.quality.value) or 0.0, default=knee)


def _host_of(folder: Path, summary: Summary, item: Measured, seed: int) -> Path | None:
    """Return the weights of the bare host, of the same seed if there are such; None if none were kept."""
    bare = summary.find(Architecture.of(item.architecture.host, {}))
    if bare is None or not item.architecture.items:
        return None
    same = [record for record in bare.records if record.seed == seed]
    paths = [weights_path(folder, bare.architecture, record.seed, record.epochs) for record in (*same, *bare.records)]
    return next((path for path in paths if path.is_file()), None)


def _data_of(view: StudyView, data_dir: str | None) -> Data:
    config = validate(DataConfig, Document(dict(view.experiment["data"]), "data"))
    return Data(config.model_copy(update={"dir": data_dir}) if data_dir else config, config.validation)


def _read_winners(folder: Path, view: StudyView, data: Data, looking: Looking, tick: Tick) -> tuple[Winner, ...]:
    """Read the gates of what is on the front and has attention, as far as its weights were kept."""
    winners = []
    for item in _attended(best_summary(view).front):
        try:
            _, weights = kept_training(folder, item)
        except InputError:
            continue
        network = Trained(item.architecture, weights, item.name)
        subject, facts = _load(network, looking)
        pictures = _pictures(network, facts, data, replace(looking, classes=()))
        winners.append(read_winner(subject, pictures, tick))
    return tuple(winners)


def _attended(items: Sequence[Measured]) -> list[Measured]:
    return [item for item in items if item.architecture.items]
