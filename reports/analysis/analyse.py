"""Every analysis of one trained network, beside its bare host where that has weights; or why it does not apply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reports.analysis.attention_maps import AttentionMaps, attention_maps
from reports.analysis.bridge_importance import BridgeImportance, importances_of
from reports.analysis.colla_factors import CollaFactors, colla_factors_of
from reports.analysis.frozen import Frozen, freeze_each
from reports.analysis.gates import SiteGate, Unread, read_gates
from reports.analysis.grad_cam import GradCam, grad_cam
from reports.analysis.pictures import Pictures, Tick, no_tick
from reports.analysis.selectivity import StageSelectivity, selectivity_of
from reports.analysis.subject import Subject
from search_spaces.errors import InputError
from trials.dataset import Images, Labels

Found = TypeVar("Found")
NO_ATTENTION = "this is the bare host: no attention is placed in it"
NO_HOST = "the bare host's weights were not given (--host-weights), so there is nothing to compare with"


@dataclass(frozen=True)
class Example:
    """An image that is shown."""

    position: int
    """Among the images that are analysed."""
    label: int
    predicted: int
    predicted_by_host: int | None
    """None without the host's weights."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found of one network."""

    subject: Subject
    host: Subject | None
    pictures: Pictures
    accuracy: float
    """On these images, of the network."""
    host_accuracy: float | None
    gates: tuple[SiteGate, ...]
    unread: tuple[Unread, ...]
    frozen: tuple[Frozen, ...]
    shown_classes: tuple[int, ...]
    """Numbers of the classes that the distribution of weights shows."""
    selectivity: tuple[StageSelectivity, ...]
    """The network's stages, then the host's."""
    importances: tuple[BridgeImportance, ...]
    factors: tuple[CollaFactors, ...]
    examples: tuple[Example, ...]
    maps: tuple[AttentionMaps, ...]
    cams: tuple[GradCam, ...]
    """The host's if there is one, then the network's."""
    reasons: dict[str, str]
    """Why an analysis does not apply, by its name; and what is missing of one that does."""

    @property
    def wasted(self) -> list[SiteGate]:
        """The gates that never move."""
        return [gate for gate in self.gates if gate.is_wasted]

    @property
    def class_weights(self) -> list[SiteGate]:
        """The last gate of each stage: whose weights the distribution shows, as in the paper's figure."""
        return list({gate.stage: gate for gate in self.gates if gate.is_gate}.values())

    def example_pixels(self) -> Images:
        """Return the images that are shown, (n, C, H, W)."""
        return self.pictures.pixels([example.position for example in self.examples])


def analyse(
    subject: Subject,
    host: Subject | None,
    pictures: Pictures,
    *,
    classes: Sequence[str] = (),
    num_examples: int = 6,
    tick: Tick = no_tick,
) -> Analysis:
    """Make every analysis that applies.

    Args:
        subject: the network.
        host: its bare host with trained weights, if there are any.
        pictures: what they look at.
        classes: names of the classes whose weights are shown; by default the first four.
        num_examples: images that are shown with maps.
        tick: told of the progress.

    Raises:
        InputError: an unknown class.
    """
    shown = pictures.class_numbers(classes or pictures.classes[:4])
    reasons: dict[str, str] = {}
    answers = _predict(subject, pictures, tick)
    host_answers = None if host is None else _predict(host, pictures, tick)
    examples = choose_examples(pictures.labels, answers, host_answers, num_examples)
    positions = [example.position for example in examples]
    gates, unread = read_gates(subject, pictures, tick)
    importances = _unless_missing(lambda: importances_of(subject, pictures, tick), "importances", reasons)
    found = Analysis(
        subject=subject,
        host=host,
        pictures=pictures,
        accuracy=float((answers == pictures.labels).mean()),
        host_accuracy=None if host_answers is None else float((host_answers == pictures.labels).mean()),
        gates=gates,
        unread=unread,
        frozen=freeze_each(subject, gates, pictures, tick) if gates else (),
        shown_classes=tuple(shown),
        selectivity=_selectivity(subject, host, pictures, tick, reasons),
        importances=importances or (),
        factors=colla_factors_of(subject),
        examples=examples,
        maps=attention_maps(subject, gates, pictures, positions),
        cams=_cams(subject, host, pictures, positions, reasons, tick),
        reasons=reasons,
    )
    _explain_what_is_missing(found)
    return found


def choose_examples(labels: Labels, answers: Labels, host_answers: Labels | None, num: int) -> tuple[Example, ...]:
    """Return the images to show: up to half are such that network and host answer differently, the others are any.

    Always the same for the same answers; the order of the images does not follow their classes.
    """
    order = np.random.default_rng(1).permutation(len(labels))
    differ = [] if host_answers is None else [int(i) for i in order if answers[i] != host_answers[i]]
    chosen = differ[: num // 2]
    known = set(differ)
    alike = [int(i) for i in order if int(i) not in known]
    chosen = [*chosen, *alike, *differ[len(chosen) :]][:num]
    return tuple(
        Example(i, int(labels[i]), int(answers[i]), None if host_answers is None else int(host_answers[i]))
        for i in chosen
    )


def _predict(subject: Subject, pictures: Pictures, tick: Tick) -> Labels:
    """Return the predicted classes, (N,)."""
    answers = np.empty(len(pictures), dtype=np.int64)
    for start in range(0, len(pictures), pictures.batch_size):
        tick(f"predictions of {subject.title}", start, len(pictures))
        batch = np.arange(start, min(start + pictures.batch_size, len(pictures)))
        answers[batch] = subject.look(pictures.normalised(batch, subject.device), {}).argmax(1).cpu().numpy()
    return answers


def _unless_missing(make: Callable[[], Found], name: str, reasons: dict[str, str]) -> Found | None:
    """Return what `make` makes; where a package is missing, note that and return None."""
    try:
        return make()
    except InputError as error:
        reasons[name] = str(error)
        return None


def _cams(
    subject: Subject,
    host: Subject | None,
    pictures: Pictures,
    positions: list[int],
    reasons: dict[str, str],
    tick: Tick,
) -> tuple[GradCam, ...]:
    if not subject.stages:
        reasons["cams"] = "the host has no stages"
        return ()
    if not positions:
        reasons["cams"] = "no images are to be shown"
        return ()
    networks = [each for each in (host, subject) if each is not None]
    made = _unless_missing(lambda: tuple(grad_cam(each, pictures, positions) for each in networks), "cams", reasons)
    tick("Grad-CAM", 1, 1)
    return made or ()


def _selectivity(
    subject: Subject, host: Subject | None, pictures: Pictures, tick: Tick, reasons: dict[str, str]
) -> tuple[StageSelectivity, ...]:
    if len(set(pictures.labels.tolist())) < 2:
        reasons["selectivity"] = "the images are all of one class"
        return ()
    if not subject.stages:
        reasons["selectivity"] = "the host has no stages"
        return ()
    of_host = () if host is None else selectivity_of(host, pictures, tick)
    return (*selectivity_of(subject, pictures, tick), *of_host)


def _explain_what_is_missing(found: Analysis) -> None:
    reasons, bare = found.reasons, not found.subject.placed
    if not found.gates:
        reasons["gates"] = NO_ATTENTION if bare else "no module here has a gate that can be read"
    if not found.class_weights:
        reasons.setdefault("class_weights", reasons.get("gates", "no module here multiplies what it reads"))
    if not found.importances:
        reasons.setdefault("importances", "no bridge attention (ba) is placed in this network")
    if not found.factors:
        reasons["factors"] = "no cat is placed in this network"
    if not found.maps:
        reasons["maps"] = "no gate of this network tells positions apart"
        if bare:
            reasons["maps"] = NO_ATTENTION
        elif not found.examples:
            reasons["maps"] = "no images are to be shown"
    if found.host is None and found.subject.placed:
        reasons["host"] = NO_HOST
