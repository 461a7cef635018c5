"""Confirmations over real architectures whose true accuracies are known."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from tiny_studies import HOST, MACS, placed, record

from reports.front.summary import Measured, Summary
from search_spaces import Architecture, HostConfig, find_sites

SEED_SD, REST_SD = 0.003, 0.0025
MODULES = ("se", "eca", "cbam")


@lru_cache
def placements(num: int, seed: int = 0) -> tuple[Architecture, ...]:
    """Draw placements of three modules at the branches of a ResNet-20, the first of them the bare host."""
    rng = np.random.default_rng(seed)
    sites = [site.name for site in find_sites(HostConfig(**HOST)) if site.place == "branch"]
    found = {(bare := placed({})).hash: bare}
    while len(found) < num:
        chosen = rng.integers(-2, len(MODULES), size=len(sites))
        each = placed({site: {"module": MODULES[k]} for site, k in zip(sites, chosen, strict=True) if k >= 0})
        found[each.hash] = each
    for each in found.values():
        MACS.setdefault(each, 100 + len(each.items))
    return tuple(found.values())


def confirmation(
    architectures: Sequence[Architecture], truth: Sequence[float], num_seeds: int, rng: np.random.Generator
) -> Summary:
    """Return a confirmation; after the bare host come three hand-made placements."""
    noise = rng.normal(0, SEED_SD, num_seeds) + rng.normal(0, REST_SD, (len(truth), num_seeds))
    values = np.asarray(truth)[:, None] + noise
    rows = [
        tuple(record(each, float(values[i, seed]), seed=seed, num_validation=10**9) for seed in range(num_seeds))
        for i, each in enumerate(architectures)
    ]
    items = []
    for i, each in enumerate(architectures):
        label = "host" if i == 0 else f"module {i} everywhere" if i < 4 else None
        means = (float(values[i].mean()), float(MACS[each]))
        role = "baseline" if label else "proposal"
        items.append(Measured(each, i, role, label, rows[i], means, peers=tuple(rows), is_bare_host=i == 0))
    return Summary("confirm", 24, ("accuracy", "macs"), tuple(items))
