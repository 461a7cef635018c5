"""Placements as people make them by hand."""

from toy_search import Toy

from nas.confirm.handmade import handmade_placements
from search_spaces import Architecture, find_sites


def test_each_setting_stands_everywhere_and_in_every_run_of_stages(toy: Toy) -> None:
    (part,) = toy.tiny_space().variants
    found = dict(handmade_placements(part))
    # Two modules with two settings each; of three stages there are six runs.
    assert len(found) == 4 * 6
    for label, settings in (("se {} r=4", {"reduction": 4}), ("se {} r=8", {"reduction": 8})):
        for where, at in (("everywhere", "*"), ("in layer3", "layer3.*"), ("in layer1 to layer2", "layer[12].*")):
            placement = {f"{at}/branch": {"module": "se", **settings}}
            expected = Architecture.from_dict({"host": part.host.model_dump(), "placement": placement})
            assert found[label.format(where)] == expected


def test_a_label_names_what_is_not_the_paper_s(toy: Toy) -> None:
    (part,) = toy.tiny_space().variants
    assert {"eca everywhere", "eca everywhere k=5", "eca in layer2 k=5"} <= dict(handmade_placements(part)).keys()


def test_only_sites_that_the_space_opens_are_filled(toy: Toy) -> None:
    (part,) = toy.space.variants
    ends = {site.name for site in find_sites(part.host) if site.place == "end"}
    bam = dict(handmade_placements(part))["bam everywhere r=8 d=1"]
    assert {name for name, _ in bam.items} == ends == {"layer1/end", "layer2/end"}
