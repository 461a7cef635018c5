"""Placements as people make them by hand: one module with one setting, everywhere or in some stages in a row."""

from collections.abc import Iterator, Sequence

from search_spaces import Architecture
from search_spaces.fitting import ModuleSpec, make_spec
from search_spaces.space.combinations import Setting
from search_spaces.space.host_space import HostSpace

_SHORT = {"reduction": "r", "kernel_size": "k", "dilation": "d"}
"""The knobs that most papers give letters."""


def handmade_placements(part: HostSpace) -> Iterator[tuple[str, Architecture]]:
    """Yield each module of a space with each setting that it offers, at all sites that it opens to it in some stages.

    The stages are all of them, or any run of them; with labels such as `se everywhere r=8` and `se in layer3 r=8`.
    Where two of them build the same network both are yielded; limits are not looked at.
    """
    settings = dict.fromkeys(setting for decision in part.decisions for setting in decision.every)
    for setting in settings:
        placed = _sites_of(part, setting)
        stages = list(dict.fromkeys(stage for stage, _, _ in placed))
        for first in range(len(stages)):
            for end in range(first + 1, len(stages) + 1):
                run = stages[first:end]
                specs = {name: (spec,) for stage, name, spec in placed if stage in run}
                label = _label(placed[0][2], run, everywhere=len(run) == len(stages))
                yield label, Architecture.of(part.host, specs)


def _sites_of(part: HostSpace, setting: Setting) -> list[tuple[str, str, ModuleSpec]]:
    """Return the stage and name of each site that is open to a module with this setting, and what stands there."""
    found = []
    for decision in part.decisions:
        option = decision.every.get(setting)
        for site in decision.members if option else ():
            if option and (spec := option.at(site)):
                found.append((site.stage, site.name, spec))
    return found


def _label(spec: ModuleSpec, stages: Sequence[str], *, everywhere: bool) -> str:
    where = "everywhere" if everywhere else f"in {stages[0]}" + (f" to {stages[-1]}" if len(stages) > 1 else "")
    usual = make_spec({"module": spec.module}).knobs
    knobs = [f"{_SHORT.get(knob, knob)}={value}" for knob, value in spec.settings if value != usual[knob]]
    return " ".join([spec.module, where, *knobs, *([] if spec.init == "paper" else [f"init={spec.init}"])])
