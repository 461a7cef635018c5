"""Moving a placement to another host, by the names of its sites.

What is found on a small host with a pyramid (`neck: fpn`) is so applied to the backbone and pyramid of a detector, to a
deeper network of the same family, or to images of another size.
"""

from dataclasses import dataclass

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.fitting import ModuleSpec, check_fit
from search_spaces.hosts import HostConfig
from search_spaces.sites import find_sites
from search_spaces.sites.pyramid_sites import STAGE

Placed = dict[str, tuple[ModuleSpec, ...]]


@dataclass(frozen=True)
class Transfer:
    """A placement on another host, and what became of each of its sites."""

    architecture: Architecture
    """The other host with what could be moved."""
    moved: tuple[str, ...]
    """The sites whose modules stand at the site of the same name now, in the order of the other host."""
    left: dict[str, str]
    """From each site whose modules were left behind to the reason, in the order of the first host."""


def transfer(architecture: Architecture, host: HostConfig) -> Transfer:
    """Put what an architecture has at its sites at the sites of the same names of another host.

    Modules, knobs, `init` and sharing stay as they are; a module that depends on the size of the map is made for the
    size there. All modules of a site are moved, or none.

    Raises:
        InputError: the host has no sites to be found (see `find_sites`).
    """
    left: dict[str, str] = {}
    placed: Placed = {}
    sites = {site.name: site for site in find_sites(host)}
    shifted = _levels_left_out(host) - _levels_left_out(architecture.host)
    for name, specs in architecture.items:
        if name.startswith(f"{STAGE}/") and host.neck and shifted:
            left[name] = _other_level(name, shifted)
        elif name not in sites:
            left[name] = f"{_describe(host)} has no site of this name"
        else:
            try:
                check_fit(host, sites[name], specs)
                placed[name] = specs
            except InputError as error:
                left[name] = str(error)
    moved = _share_what_can_be(host, placed, left, architecture.description)
    order = list(architecture.placement)
    return Transfer(moved, tuple(name for name, _ in moved.items), {name: left[name] for name in order if name in left})


def _share_what_can_be(host: HostConfig, placed: Placed, left: dict[str, str], description: str) -> Architecture:
    """Return the architecture without the sites that cannot share with the first of their group; those go to `left`."""
    while True:
        try:
            return Architecture.of(host, placed, description)
        except InputError as error:
            name = next(str(key) for key in error.keys if key in placed)
            left[name] = str(error)
            del placed[name]


def _levels_left_out(host: HostConfig) -> int:
    """Return how many of the finest levels a head leaves out of the pyramid over its host."""
    if host.neck is None:
        return 0
    whole = host.model_copy(update={"head": "classify"})
    return _num_levels(whole) - _num_levels(host)


def _num_levels(host: HostConfig) -> int:
    return sum(site.place_kind == "lateral" for site in find_sites(host))


def _other_level(name: str, shifted: int) -> str:
    """Say that a level of one pyramid stands over another stage than the level of that number of the other."""
    place = name.removeprefix(f"{STAGE}/").rstrip("0123456789")
    level = int(name.removeprefix(f"{STAGE}/{place}")) - shifted
    which = f"what stands over the same stage there is {STAGE}/{place}{level}" if level > 0 else "there is none over it"
    return f"the pyramids begin at different stages: {which}"


def _describe(host: HostConfig) -> str:
    added = [each for each in (host.neck, host.head if host.head != "classify" else None) if each]
    return f"{host.name} with {' and '.join(added)}" if added else host.name
