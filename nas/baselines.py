"""Baselines: what a search must beat. They are always in the study, whatever the sampler does.

The bare host; each module of the space with the paper's knobs at every site that the space opens to it; a few random
placements drawn uniformly from the space.
"""

from collections.abc import Iterator

import numpy as np

from search_spaces import Architecture, SearchSpace, Site
from search_spaces.errors import InputError
from search_spaces.fitting import ModuleSpec, check_fit, make_spec

HOST = "host"
"""The label of the bare host."""


def make_baselines(space: SearchSpace, num_random: int, seed: int) -> list[tuple[str, Architecture]]:
    """Return the labelled baselines of a space, the bare host first, each network once."""
    candidates = [(HOST, Architecture.of(space.host, {}))]
    candidates += [(f"{module} everywhere", _everywhere(space, module)) for module in _modules(space)]
    rng = np.random.default_rng([seed, 0xBA5E])
    candidates += [(f"random {i + 1}", space.sample(rng)) for i in range(num_random)]
    unique: dict[str, tuple[str, Architecture]] = {}
    for label, architecture in candidates:
        unique.setdefault(architecture.hash, (label, architecture))
    return list(unique.values())


def _modules(space: SearchSpace) -> list[str]:
    specs = (option.spec for decision in space.decisions for option in decision.options)
    return list(dict.fromkeys(spec.module for spec in specs if spec))


def _everywhere(space: SearchSpace, module: str) -> Architecture:
    placed = {}
    for decision in space.decisions:
        option = next((option for option in decision.options if option.module == module), None)
        for site in decision.members if option else ():
            default = next((spec for spec in _default(module) if _fits(space, site, spec)), None)
            if option and (spec := option.at(site, default)):
                placed[site.name] = (spec,)
    return Architecture.of(space.host, placed)


def _default(module: str) -> Iterator[ModuleSpec]:
    """Yield the module with its paper's knobs, then with halved reductions for narrow sites."""
    spec = make_spec({"module": module})
    yield spec
    reduction = spec.knobs.get("reduction", 1)
    while reduction > 1:
        reduction //= 2
        yield make_spec({"module": module, "reduction": reduction})


def _fits(space: SearchSpace, site: Site, spec: ModuleSpec) -> bool:
    try:
        check_fit(space.host, site, [spec])
    except InputError:
        return False
    return True
