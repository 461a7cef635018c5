"""A placement moves to another host by the names of its sites, and what stays behind is reported."""

from typing import Any

import torch

from search_spaces import Architecture, HostConfig, find_sites
from search_spaces.transfer import transfer

PROXY = {"name": "resnet18", "stem": "cifar", "input": 32, "classes": 10, "neck": "fpn"}


def place(placement: dict[str, Any], **host: Any) -> Architecture:
    return Architecture.from_dict({"host": host, "placement": placement})


def test_what_is_found_on_the_proxy_stands_in_the_detector() -> None:
    placement = {
        "layer2.*/branch": [{"module": "se", "init": "identity"}, {"module": "eca", "kernel_size": 5}],
        "layer1/end": {"module": "bam", "dilation": 2},
        "fpn/output*": {"module": "se", "share": "levels"},
        "fpn/merge*": {"module": "aff"},
    }
    found = place(placement, **PROXY)
    detector = HostConfig(name="resnet18", neck="fpn", head="fasterrcnn", input=64)
    result = transfer(found, detector)
    assert result.left == {}
    assert result.moved == tuple(found.placement)
    assert result.architecture == place(placement, **detector.to_dict())
    assert result.architecture.placement == found.placement


def test_sites_that_the_other_host_does_not_have_are_reported() -> None:
    gates = place({"layer3.*/branch": {"module": "se", "reduction": 4}}, name="resnet56")
    result = transfer(gates, HostConfig(name="resnet20"))
    assert result.moved == ("layer3.0/branch", "layer3.1/branch", "layer3.2/branch")
    assert result.left == {f"layer3.{i}/branch": "resnet20 has no site of this name" for i in range(3, 9)}
    back = transfer(result.architecture, HostConfig(name="resnet56"))
    assert back.left == {}
    assert back.architecture.placement == result.architecture.placement


def test_without_a_neck_what_stands_in_the_pyramid_is_reported() -> None:
    result = transfer(
        place({"fpn/merge1": {"module": "aff"}, "layer1/end": {"module": "bam"}}, **PROXY), HostConfig(name="resnet18")
    )
    assert result.moved == ("layer1/end",)
    assert result.left == {"fpn/merge1": "resnet18 has no site of this name"}


def test_modules_that_do_not_fit_are_reported_with_the_reason() -> None:
    # 64 channels there, 16 here.
    wide = place({"layer1.0/branch": {"module": "se", "reduction": 32}}, name="resnet18")
    result = transfer(wide, HostConfig(name="resnet20"))
    assert result.architecture == Architecture(HostConfig(name="resnet20"))
    assert result.left.keys() == {"layer1.0/branch"}
    assert "se does not fit layer1.0/branch" in result.left["layer1.0/branch"]


def test_all_modules_of_a_site_are_moved_or_none() -> None:
    modules = [{"module": "eca"}, {"module": "se", "reduction": 32}]
    result = transfer(place({"layer1.0/branch": modules}, name="resnet18"), HostConfig(name="resnet20"))
    assert result.moved == ()
    assert list(result.left) == ["layer1.0/branch"]


def test_a_module_is_made_for_the_size_of_the_map_there() -> None:
    small = place({"layer3.0/branch": {"module": "fca"}}, name="resnet20", input=16)
    result = transfer(small, HostConfig(name="resnet20", input=64))
    assert result.moved == ("layer3.0/branch",)
    filters = dict(result.architecture.build().named_buffers())["attention.layer3_0__branch.0.filters"]
    assert tuple(filters.shape[-2:]) == (16, 16)


def test_a_module_for_one_size_of_map_stays_behind_where_images_have_many() -> None:
    fixed = place({"fpn/lateral1": {"module": "ge", "variant": "theta", "extent": "global"}}, **PROXY)
    result = transfer(fixed, HostConfig(name="resnet18", neck="fpn", head="maskrcnn", input=64))
    assert result.moved == ()
    assert "maskrcnn reads images of many sizes" in result.left["fpn/lateral1"]


def test_sites_that_can_share_no_longer_are_reported() -> None:
    # All levels of a pyramid have one width; the widths that the lateral convolutions read are equal nowhere.
    shared = {"module": "se", "reduction": 8, "share": "all"}
    first = place({"layer3.1/out": shared, "layer4.0/conv1": {"module": "aw"}, "fpn/output*": shared}, **PROXY)
    result = transfer(first, HostConfig(name="resnet50", neck="fpn", input=64))
    # In ResNet-50 layer 3 answers 1024 channels, and the levels have 256.
    assert result.moved == ("layer3.1/out", "layer4.0/conv1")
    assert result.left.keys() == {f"fpn/output{level}" for level in (1, 2, 3, 4)}
    assert "cannot share a module (group 'all'): 256 channels against 1024" in result.left["fpn/output1"]


def test_levels_that_stand_over_other_stages_are_reported() -> None:
    proxy = place({"fpn/lateral*": {"module": "se"}, "fpn/merge3": {"module": "aff"}}, **PROXY)
    result = transfer(proxy, HostConfig(name="resnet18", neck="fpn", head="retinanet", input=64))
    assert result.moved == ()
    assert result.left["fpn/lateral2"].endswith("what stands over the same stage there is fpn/lateral1")
    assert result.left["fpn/lateral1"].endswith("there is none over it")
    assert result.left["fpn/merge3"].endswith("fpn/merge2")


def test_over_a_host_of_three_stages_all_heads_have_the_same_levels() -> None:
    proxy = place({"fpn/lateral*": {"module": "se"}}, name="resnet20", neck="fpn")
    assert transfer(proxy, HostConfig(name="resnet20", neck="fpn", head="fcos", input=32)).left == {}


def test_what_was_moved_is_built() -> None:
    proxy = place({"fpn/output*": [{"module": "cbam"}, {"module": "aw"}]}, **PROXY)
    moved = transfer(proxy, HostConfig(name="resnet18", neck="fpn", head="segment", input=64, classes=3)).architecture
    assert moved.build()(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_moving_to_the_same_host_changes_nothing() -> None:
    proxy = place({"*/branch": {"module": "ba"}, "fpn/merge*": {"module": "iaff"}}, **PROXY)
    result = transfer(proxy, proxy.host)
    assert result.architecture == proxy
    assert result.moved == tuple(site.name for site in find_sites(proxy.host) if site.name in proxy.placement)
