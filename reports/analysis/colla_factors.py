"""The shares in which CAT weighs channels against positions, and its poolings against each other, over the depth.

Wu et al., 2023, CAT, arXiv:2212.06335, section 4.5 and figure 5 (exterior factors); the interior ones are shown alike.
"""

from dataclasses import dataclass

from reports.analysis.subject import Subject
from search_spaces.attention.cat import CAT
from search_spaces.attention.identity import IdentityStart

EXTERIOR = ("C_w", "S_w")
INTERIOR = ("C_alpha", "C_beta", "C_gamma", "S_alpha", "S_beta", "S_gamma")


@dataclass(frozen=True)
class CollaFactors:
    """The factors of one CAT module, as they act."""

    site: str
    depth: int
    """Number of the module in network order, from 1."""
    factors: dict[str, float]
    """From `EXTERIOR` and `INTERIOR`; those that the module does not have are left out."""


def colla_factors_of(subject: Subject) -> tuple[CollaFactors, ...]:
    """Return the factors of every CAT module in network order; empty without any."""
    found: list[CollaFactors] = []
    for placed in subject.placed:
        module = subject.module(placed)
        module = module.module if isinstance(module, IdentityStart) else module
        if isinstance(module, CAT):
            found.append(CollaFactors(placed.site, len(found) + 1, module.colla_factors()))
    return tuple(found)
