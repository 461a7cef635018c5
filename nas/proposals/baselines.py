"""Baselines: what a search must beat. They are always in the study, whatever the sampler does.

Those of equal cost (`nas.confirm.controls`) come with the confirmation, when it is known what they are to be equal to.

The bare host; each module of the space with the paper's knobs at every site that the space opens to it; a few random
placements drawn uniformly from the space. Where the host is a choice, every bare host is there, and the modules stand
everywhere in each host, or, should these be too many, in the cheapest and the dearest host.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from search_spaces import Architecture, SearchSpace, Site
from search_spaces.errors import InputError
from search_spaces.fitting import ModuleSpec, check_fit, make_spec
from search_spaces.space.host_space import HostSpace

HOST = "host"
"""The label of the bare host."""

MOST_EVERYWHERE = 12
"""Modules everywhere, counted over all hosts, that are trained and confirmed as baselines."""


def make_baselines(space: SearchSpace, num_random: int, seed: int) -> list[tuple[str, Architecture]]:
    """Return the labelled baselines of a space, the bare hosts first, each network once."""
    candidates = [(label_on(space, HOST, part), Architecture.of(part.host, {})) for part in space.variants]
    candidates += [
        (label_on(space, f"{module} everywhere", part), _everywhere(part, module))
        for part in _hosts_to_fill(space)
        for module in _modules([part])
    ]
    rng = np.random.default_rng([seed, 0xBA5E])
    candidates += [(f"random {i + 1}", space.sample(rng)) for i in range(num_random)]
    unique: dict[str, tuple[str, Architecture]] = {}
    for label, architecture in candidates:
        unique.setdefault(architecture.hash, (label, architecture))
    return list(unique.values())


def label_on(space: SearchSpace, what: str, part: HostSpace) -> str:
    """Return `se everywhere`, or `se everywhere (resnet56)` where the host is a choice."""
    return f"{what} ({part.label})" if len(space.variants) > 1 else what


def _hosts_to_fill(space: SearchSpace) -> Sequence[HostSpace]:
    parts = space.variants
    if len(parts) * len(_modules(parts)) <= MOST_EVERYWHERE:
        return parts
    by_cost = sorted(parts, key=lambda part: part.cost_of_host.macs)
    return [part for part in parts if part in (by_cost[0], by_cost[-1])]


def _modules(parts: Sequence[HostSpace]) -> list[str]:
    specs = (option.spec for part in parts for decision in part.decisions for option in decision.options)
    return list(dict.fromkeys(spec.module for spec in specs if spec))


def _everywhere(part: HostSpace, module: str) -> Architecture:
    placed = {}
    for decision in part.decisions:
        option = next((option for option in decision.options if option.module == module), None)
        for site in decision.members if option else ():
            default = next((spec for spec in _default(module) if _fits(part, site, spec)), None)
            if option and (spec := option.at(site, default)):
                placed[site.name] = (spec,)
    return Architecture.of(part.host, placed)


def _default(module: str) -> Iterator[ModuleSpec]:
    """Yield the module with its paper's knobs, then with halved reductions for narrow sites."""
    spec = make_spec({"module": module})
    yield spec
    reduction = spec.knobs.get("reduction", 1)
    while reduction > 1:
        reduction //= 2
        yield make_spec({"module": module, "reduction": reduction})


def _fits(part: HostSpace, site: Site, spec: ModuleSpec) -> bool:
    try:
        check_fit(part.host, site, [spec])
    except InputError:
        return False
    return True
