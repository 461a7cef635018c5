import pytest
from tiny_studies import BAM, BARE, ECA, SE, placed, searched, study

from reports.drawing.outline import Outlines, outlines_of
from reports.drawing.trial_table import STATES, trial_table
from reports.front.placement import naming_of
from reports.front.summary import summarise_search
from reports.quality import ACCURACY
from search_spaces import Architecture, find_sites

EVERY = (BARE, SE, ECA, BAM)


def outlines(*architectures: Architecture) -> Outlines:
    return outlines_of(architectures, naming_of(architectures), ())


def read_back(data: dict, number: int) -> dict[str, str]:
    """Return what the page draws of an architecture: from site to what stands there."""
    host, *pairs = data["placed"][number]
    sites = data["hosts"][host]["sites"]
    return {sites[s][0]: data["fillings"][f]["text"] for s, f in zip(pairs[::2], pairs[1::2], strict=True)}


def test_placements_can_be_read_back_from_the_numbers() -> None:
    found = outlines(*EVERY)
    data = found.data()
    for architecture in EVERY:
        expected = {site: found.names.specs(specs) for site, specs in architecture.items}
        assert read_back(data, found.number[architecture.hash]) == expected


def test_an_architecture_stands_once_in_the_table() -> None:
    assert len(outlines(SE, ECA, SE).architectures) == 2


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "googlenet", "efficientnet_b0"])
def test_every_site_of_a_host_has_its_own_slot(name: str) -> None:
    bare = Architecture.from_dict({"host": {"name": name}})
    (host,) = outlines(bare).data()["hosts"]
    assert [site[0] for site in host["sites"]] == [site.name for site in find_sites(bare.host)]
    assert len({(place, block) for _, place, block in host["sites"]}) == len(host["sites"])


def test_several_modules_at_a_site_are_parts_of_its_slot() -> None:
    both = placed({"layer1.0/branch": [{"module": "cbam"}, {"module": "se", "reduction": 4}]})
    data = outlines(both, SE, placed({"layer1.0/branch": {"module": "se", "reduction": 8}})).data()
    parts = next(filling["parts"] for filling in data["fillings"] if len(filling["parts"]) == 2)
    names = [module["name"] for module in data["modules"]]
    assert [(names[module], short) for module, short in parts] == [("cbam", "cbam"), ("se", "se 4")]


def test_modules_keep_the_colours_that_they_have_elsewhere() -> None:
    assert outlines_of(EVERY, naming_of(EVERY), ("se", "bam")).modules == ("se", "bam", "eca")


def test_the_table_of_trials_has_a_row_for_each_and_nothing_that_json_cannot_say() -> None:
    view = study(searched())
    found = trial_table(view, summarise_search(view), ACCURACY, outlines(*EVERY).number)
    assert [STATES[state] for state in found["state"]] == ["front", "complete", "front", "front", "failed"]
    assert found["quality"] == [90, 89, 92, 91, None]
    assert found["label"] == {0: "host", 1: "bam everywhere"}
    assert found["reason"] == {4: "loss is not finite: <script>alert(1)</script>"}
