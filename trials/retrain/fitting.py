"""The host for the images of a recipe: what was found on small images is trained on large ones of other classes."""

from search_spaces import Architecture, HostConfig, InputError
from search_spaces.hosts import host_entry
from search_spaces.transfer import transfer

_SMALL = 64
"""Pixels up to which a `cifar` stem stays: on larger images it would cost 16 times as much as an `imagenet` stem."""


def fitted(architecture: Architecture, num_classes: int, size: int) -> Architecture:
    """Return an architecture for images of `size` pixels, in colour, of so many classes.

    That is itself where its host is for such images (above 64 pixels, of half to twice the size); otherwise the same
    placement in the same host with those classes, that size, and above 64 pixels with the stem of its paper.

    Raises:
        InputError: the host is one for small images, or a site has no place in the other host.
    """
    own = architecture.host
    fits = own.input == size if size <= _SMALL else size / 2 <= own.input <= 2 * size
    if own.classes == num_classes and own.channels == 3 and fits:
        return architecture
    entry = host_entry(own.name)
    if size > _SMALL and entry.input <= _SMALL:
        raise InputError(
            f"the host {own.name} is for images of {entry.input} pixels, and these have {size}; `nas transfer "
            f"ARCHITECTURE --host NAME --classes {num_classes} --input {size} --out NEW.yaml` takes its placement to "
            "another host"
        )
    changed: dict[str, int | str] = {"classes": num_classes, "channels": 3, "input": own.input if fits else size}
    if size > _SMALL and own.stem == "cifar":
        changed["stem"] = entry.stems[0]
    moved = transfer(architecture, HostConfig.model_validate(own.to_dict() | changed))
    if moved.left:
        told = "; ".join(f"{site}: {reason}" for site, reason in moved.left.items())
        raise InputError(
            f"not all that {architecture.id} places has a place in the host for these images ({told}); `nas transfer "
            "--partial` goes on without it"
        )
    return moved.architecture
