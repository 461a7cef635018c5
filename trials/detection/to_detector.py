"""An architecture with the head that a recipe trains: the placement kept, pyramid and head added."""

from typing import Any

from search_spaces import Architecture, HostConfig, InputError
from search_spaces.hosts.config import Head
from search_spaces.transfer import transfer
from trials.retrain.task import Setting

_COLOURS = 3


def with_head(
    setting: Setting, head: Head, classes: int, size: int, *, partial: bool = False
) -> tuple[Architecture, dict[str, str]]:
    """Return an architecture with a pyramid and this head, and the sites that it cannot have, each with the reason.

    Host and placement stay; a host that has a pyramid already keeps what stands in it. One with the head itself keeps
    its classes, which the caller compares with the data. Published weights are left out if there is a backbone's.

    Args:
        setting: holds the architecture, on any host.
        head: to be trained.
        classes: as the host counts them, with the background.
        size: to which the shorter side of an image is brought.
        partial: go on without the sites that do not move.

    Raises:
        InputError: the host has another head than a classifier's, or not everything moves and `partial` is not given.
    """
    architecture, given = setting.architecture, setting.architecture.host
    if given.head not in ("classify", head):
        raise InputError(
            f"{given.name} has `head: {given.head}`, the recipe trains {head}; take a recipe for {given.head}, or move "
            f"the placement: nas transfer ARCHITECTURE --host {given.name} --neck fpn --head {head}"
        )
    if given.channels != _COLOURS:
        raise InputError(f"images are read in RGB, the host has `channels: {given.channels}`; give one with 3")
    changed: dict[str, Any] = {"neck": "fpn", "head": head, "input": size}
    if given.head != head:
        changed["classes"] = classes
    if setting.backbone is not None:
        changed["pretrained"] = False
    host = HostConfig.model_validate({**given.model_dump(), **changed})
    moved = transfer(architecture, host)
    if moved.left and not partial:
        name, why = next(iter(moved.left.items()))
        raise InputError(
            f"{len(moved.left)} of the {len(architecture.items)} sites do not fit {host.name} with {head}, such as "
            f"{name}: {why}; `partial: true` in the recipe goes on without them"
        )
    return moved.architecture, moved.left
