from tiny_studies import BAM, BARE, ECA, SE, placed

from reports.front.placement import naming_of, placement_map, used_sites

SE16 = placed({"layer2.0/branch": [{"module": "se", "reduction": 16}, {"module": "eca"}]})


def test_only_knobs_that_differ_are_spelled_out() -> None:
    names = naming_of([SE, SE16, ECA])
    assert names.lines(SE16) == ["se(reduction=16) + eca: layer2.0/branch"]
    assert names.settings["se"]["reduction"] == ("4", "16")
    assert "init" not in names.settings["se"]


def test_a_place_that_is_filled_everywhere_is_written_as_a_glob() -> None:
    assert naming_of([SE]).lines(SE) == ["se: */branch"]
    assert naming_of([BAM]).lines(BAM) == ["bam: */end"]
    assert naming_of([ECA]).lines(ECA) == ["eca: layer1.0/branch"]


def test_the_bare_host_is_named_as_such() -> None:
    assert naming_of([BARE]).lines(BARE) == ["bare host"]


def test_sites_come_in_network_order() -> None:
    assert used_sites([SE16, BAM, ECA]) == ("layer1.0/branch", "layer1/end", "layer2.0/branch", "layer2/end")


def test_the_map_counts_each_module_at_each_site() -> None:
    found = placement_map([BARE, ECA], [SE16, ECA, ECA, BARE])
    assert found.modules == ("eca", "se", "none")
    assert found.sites == ("layer1.0/branch", "layer2.0/branch")
    assert [[share.count for share in row] for row in found.front] == [[1, 0, 1], [0, 0, 2]]
    # Where two modules share a site, each counts.
    assert [[share.count for share in row] for row in found.everything] == [[2, 0, 2], [1, 1, 3]]
    assert found.everything[0][0].fraction == 0.5


def test_a_map_without_modules_has_no_rows() -> None:
    assert placement_map([BARE], []).sites == ()
    assert placement_map([], []).front == ()
