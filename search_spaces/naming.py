"""By what name a tensor is known, when one tensor has several.

Modules at one tensor are one list in an architecture's canonical form, in seeds and in parameter names, so that a
network has one of each however it is written. A block's `out` may be its stage's `end`; and where the host's own
attention is replaced or removed, what it read and what it answered are one tensor.
"""

from collections.abc import Iterable, Mapping, Sequence

from search_spaces.attention import bridge_from, entry
from search_spaces.fitting import ModuleSpec, bridged
from search_spaces.sites.site_type import Site


def tensor_names(sites: Mapping[str, Site], items: Sequence[tuple[str, Sequence[ModuleSpec]]]) -> dict[str, str]:
    """Return from every site's name that by which its tensor is known, given the occupied sites."""
    names = {name: site.known_as for name, site in sites.items()}
    replaced = [sites[name] for name, specs in items if specs and sites[name].replaces_from]
    read = set(_bridged_nodes(sites, items)) if replaced else set()
    for own in replaced:
        joined = {own.same_after}
        if own.replaces_from not in read:
            joined.add(own.same_before)
        names |= {other: own.name for other, known_as in names.items() if known_as in joined - {""}}
    return names


def are_one_without_own(own: Site, other: Site) -> bool:
    """Return whether two sites are one tensor where the host's own attention at the first is replaced or removed."""
    return bool(own.replaces_from) and other.known_as in {own.same_before, own.same_after}


def _bridged_nodes(sites: Mapping[str, Site], items: Iterable[tuple[str, Sequence[ModuleSpec]]]) -> Iterable[str]:
    """Yield the nodes that bridges read as they are after editing."""
    for name, specs in items:
        for spec in specs:
            if entry(spec.module).kind == "bridge" and bridge_from(spec.module, spec.knobs) != "previous_conv":
                yield from (source.node for source in bridged(sites[name], spec))
