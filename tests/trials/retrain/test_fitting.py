"""The host for a recipe's images."""

import pytest

from search_spaces import Architecture, InputError
from trials.retrain.fitting import fitted


def made(placement: dict[str, object], **host: object) -> Architecture:
    return Architecture.from_dict({"host": host, "placement": placement})


def test_a_host_for_such_images_stays_as_it_is() -> None:
    architecture = made({"*/branch": {"module": "se"}}, name="resnet18", classes=100, input=256)
    assert fitted(architecture, 100, 224) is architecture


def test_what_was_found_on_small_images_gets_the_stem_of_its_paper_on_large_ones() -> None:
    proxy = made({"*/branch": {"module": "se"}}, name="resnet18", classes=10, input=32, stem="cifar")
    assert fitted(proxy, 1000, 224) == made({"*/branch": {"module": "se"}}, name="resnet18")


def test_small_images_of_other_classes_leave_the_stem() -> None:
    proxy = made({"layer1/end": {"module": "bam"}}, name="resnet18", classes=10, input=32, stem="cifar")
    expected = made({"layer1/end": {"module": "bam"}}, name="resnet18", classes=200, input=64, stem="cifar")
    assert fitted(proxy, 200, 64) == expected


def test_a_host_for_small_images_alone_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"resnet20 is for images of 32 pixels, and these have 224; `nas transfer "):
        fitted(made({}, name="resnet20", classes=10), 1000, 224)
