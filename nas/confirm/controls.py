"""Controls of equal cost: what an architecture is compared with to tell attention from just more compute.

Three kinds: the hand-made placement nearest in parameters and MACs; a random placement of the same cost; the host made
wider. They are chosen when the search has ended, from the space and the search's seed alone, and trained in the
confirmation. How far apart two costs are is a share of the architecture's own parameters or MACs, whichever is more.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from nas.confirm.handmade import handmade_placements
from nas.proposals.baselines import label_on
from reports.view import Control, ControlKind
from search_spaces import Architecture, SearchSpace, measure_cost
from search_spaces.cost import Cost, host_cost
from search_spaces.hosts import HostConfig, host_entry
from search_spaces.space.host_space import HostSpace
from search_spaces.space.limits import Band

Labelled = tuple[str, Architecture]

SAME = 0.001
"""A hand-made placement that is trained anyway is taken if it is as near as that, even if another one is nearer."""

FARTHEST_HANDMADE = 0.05
"""The nearest hand-made placement is no control if it is further away."""

BANDS = (0.001, 0.005, 0.02)
"""Random placements are drawn from the first of these bands around the architecture's cost that yields one."""

FARTHEST_WIDER = 0.15
"""A wider host is no control if it costs more than that beyond the architecture. It is more than for the others since
widths come in steps: ResNet-20's next one costs 13 % more. It errs on the side against attention."""

_DRAWS = 100_000
"""Proposals in each band before a wider one is tried."""

_WIDTH_STEP, _MOST_STEPS = 64, 128
"""Widths are multiples of 1/64 where a host takes any, and at most so many are tried."""


@dataclass(frozen=True)
class ControlRules:
    """Which controls are chosen."""

    kinds: tuple[ControlKind, ...]
    most: int
    """Further trainings' architectures in all; those that are trained anyway do not count."""
    seed: int
    """Of the random placements."""


def plan_controls(
    space: SearchSpace, architectures: Sequence[Architecture], trained: Sequence[Labelled], rules: ControlRules
) -> list[Control]:
    """Return a control of each kind for each architecture, or why it has none.

    Args:
        architectures: what they are for, the most important first; when `rules.most` is used up, the later ones have
            only controls that are trained anyway.
        trained: the baselines that are trained anyway, by label.
    """
    labels = {each.hash: each.id for each in architectures} | {each.hash: label for label, each in trained}
    most = len(labels) + rules.most
    planned = []
    for architecture in architectures:
        part = next(part for part in space.variants if part.host == architecture.host)
        for kind in rules.kinds:
            found = _FINDERS[kind](part, architecture, trained, rules.seed)
            if not isinstance(found, str) and found[1].hash not in labels and len(labels) == most:
                found = f"left out: `confirm.max_controls` is {rules.most}"
            if isinstance(found, str):
                planned.append(Control(architecture.hash, kind, None, reason=found))
                continue
            label, control = found
            label = labels.setdefault(control.hash, label if kind == "random" else label_on(space, label, part))
            planned.append(Control(architecture.hash, kind, control, label))
    return planned


def nearest_handmade(part: HostSpace, architecture: Architecture, trained: Iterable[Labelled] = ()) -> Labelled | str:
    """Return the hand-made placement on the same host that is nearest in cost, or why there is none.

    One of `trained` that costs the same to a thousandth is preferred.
    """
    wanted = measure_cost(architecture)
    here = [each for each in trained if each[1].host == architecture.host and " everywhere" in each[0]]
    if found := _nearest(here, architecture, wanted, SAME):
        return found
    if found := _nearest([*here, *handmade_placements(part)], architecture, wanted, FARTHEST_HANDMADE):
        return found
    return f"no hand-made placement within {FARTHEST_HANDMADE:.0%} of its cost"


def _nearest(candidates: Iterable[Labelled], own: Architecture, wanted: Cost, most: float) -> Labelled | None:
    """Return the first of the nearest candidates, if it is near enough."""
    others = [each for each in candidates if each[1].hash != own.hash]
    found = min(others, key=lambda each: measure_cost(each[1]).distance(wanted), default=None)
    return found if found and measure_cost(found[1]).distance(wanted) <= most else None


def random_of_equal_cost(part: HostSpace, architecture: Architecture, seed: int) -> Labelled | str:
    """Return another placement of the space, drawn uniformly from a narrow band of costs, or why there is none."""
    wanted, own = measure_cost(architecture), part.encode(architecture)
    rng = np.random.default_rng([seed, 0xC057, int(architecture.hash[:15], 16)])
    for share in BANDS:
        drawn = part.sample_in(Band.around(wanted, share), rng, without=() if own is None else (own,), max_draws=_DRAWS)
        if drawn is not None:
            return f"random like {architecture.id}", part.decode(drawn)
    return f"no other placement found within {BANDS[-1]:.0%} of its cost"


def wider_host(architecture: Architecture) -> Labelled | str:
    """Return the narrowest bare host of a greater width that costs no less, or why there is none near enough."""
    host = architecture.host
    if host.pretrained:
        return "pretrained weights are published for one width only"
    if not host_entry(host.name).widths:
        return f"{host.name} has no other widths"
    wanted = measure_cost(architecture)
    for wider in _wider(host):
        cost = host_cost(wider)
        if cost.params >= wanted.params and cost.macs >= wanted.macs:
            if cost.distance(wanted) <= FARTHEST_WIDER:
                return f"host width {wider.width:.3g}", Architecture.of(wider, {})
            return f"the next wider host (width {wider.width:.3g}) costs {cost.distance(wanted):.0%} more"
    return "no wider host costs as much"


def _wider(host: HostConfig) -> Iterator[HostConfig]:
    """Yield the host with the widths above its own, the next one first."""
    per_one = host_entry(host.name).width_divisor or _WIDTH_STEP
    first = int(host.width * per_one + 1e-9) + 1
    for step in range(first, first + _MOST_STEPS):
        try:
            yield HostConfig.model_validate(host.model_dump() | {"width": step / per_one})
        except ValidationError:  # beyond the widest
            return


_FINDERS: dict[ControlKind, Callable[[HostSpace, Architecture, Sequence[Labelled], int], Labelled | str]] = {
    "handmade": lambda part, architecture, trained, _: nearest_handmade(part, architecture, trained),
    "random": lambda part, architecture, _, seed: random_of_equal_cost(part, architecture, seed),
    "wider": lambda _part, architecture, _trained, _seed: wider_host(architecture),
}


def to_dict(control: Control) -> dict[str, Any]:
    """Return a control as JSON-able data."""
    built = control.architecture.to_dict() if control.architecture else None
    written = {"of": control.of, "kind": control.kind, "label": control.label, "reason": control.reason}
    return written | {"architecture": built}


def from_dict(data: dict[str, Any]) -> Control:
    """Return the control of what `to_dict` gave."""
    built = data["architecture"] and Architecture.from_dict(data["architecture"])
    return Control(data["of"], data["kind"], built, data["label"], data["reason"])
