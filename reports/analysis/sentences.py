"""What an analysis says in words: which gates are wasted, and what that rests on."""

from collections.abc import Sequence

from reports import wording
from reports.analysis.analyse import Analysis
from reports.analysis.gates import WASTED_BELOW, SiteGate

THRESHOLD = (
    f"A gate is called wasted if it moves by less than {WASTED_BELOW:.0%} of its size, over the images and over the "
    "positions of a map together (root of the summed squares of both spreads, over the root mean square of the "
    "channels' means). Then it is the same number whatever is seen: a fixed scale for each channel, which the "
    "convolutions and norms around it can hold themselves. Holding the gate of one map at its mean changes that map by "
    "just that share of its root mean square, if gate and map are independent; what that is worth to the answers is "
    "measured in the column of predictions that change."
)


def gate_sentences(found: Analysis) -> list[str]:
    """Return what the gates come to, the most important first."""
    gates, wasted = [gate for gate in found.gates if gate.is_gate], found.wasted
    if not gates:
        return []
    told = []
    if wasted:
        told.append(
            f"Attention is wasted at {wording.plural(len(wasted), 'site')} of {len(gates)}, whose gate never moves: "
            f"{_listed(wasted)}."
        )
    else:
        least = min(gates, key=lambda gate: gate.movement)
        told.append(
            f"Every gate moves by more than {WASTED_BELOW:.0%} of its size; the least at {least.site} "
            f"({100 * least.movement:.1f} %)."
        )
    told += _held_sentences(found)
    strange = [gate for gate in found.gates if not gate.is_gate]
    if strange:
        told.append(
            f"What stands at {_listed(strange)} adds to its input, or changes its sign: it is no gate, and its numbers "
            "here (output over input) are to be read with care."
        )
    return told


def _held_sentences(found: Analysis) -> list[str]:
    idle = {held.site for held in found.frozen if not held.num_changed} & {
        gate.site for gate in found.gates if gate.is_gate and not gate.is_wasted
    }
    if not found.frozen:
        return []
    num = found.frozen[0].num_images
    busiest = max(found.frozen, key=lambda held: held.num_changed)
    told = []
    if idle:
        told.append(
            f"{wording.plural(len(idle), 'gate moves', 'gates move')}, but with one at a time held at its mean not "
            f"one of {num:,} predictions changes: {', '.join(sorted(idle))}."
        )
    if busiest.num_changed:
        told.append(
            f"Holding a gate at its mean changes most at {busiest.site}: {busiest.num_changed:,} of {num:,} "
            "predictions."
        )
    return told


def _listed(gates: Sequence[SiteGate]) -> str:
    return ", ".join(f"{gate.site} ({gate.module.split('(')[0]})" for gate in gates)


def selectivity_sentences(found: Analysis) -> list[str]:
    """Return how the means of the network and of its host compare at each stage."""
    host = {each.stage: each.mean for each in found.selectivity if found.host and each.network == found.host.title}
    told = []
    for each in found.selectivity:
        if each.network == found.subject.title and each.mean is not None:
            beside = host.get(each.stage)
            told.append(f"{each.stage}: {each.mean:.3f}" + ("" if beside is None else f" (host {beside:.3f})"))
    return told
