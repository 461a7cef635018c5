"""`nas sites`: a host as a tree, and the mistakes that can be made with hosts."""

import json
from collections.abc import Callable

import pytest
from rich.console import Console

from search_spaces import HostConfig, find_sites

Run = Callable[..., tuple[int, str, str]]


def places(text: str) -> str:
    """Return what is printed with one space between words, without the lines of the tree."""
    return " ".join(text.replace("│", " ").replace("├──", " ").replace("└──", " ").split())


def test_json_has_every_site_with_what_goes_there(run: Run) -> None:
    data = json.loads(run("sites", "resnet20", "--json")[1])
    sites = find_sites("resnet20")
    assert [site["name"] for site in data["sites"]] == [site.name for site in sites]
    assert HostConfig.model_validate(data["host"]) == HostConfig(name="resnet20")
    branch = next(site for site in data["sites"] if site["name"] == "layer2.0/branch")
    # The second of three stages: 32 channels on a map of half the height and width.
    assert (branch["place"], branch["block"], branch["stage"]) == ("branch", "layer2.0", "layer2")
    assert (branch["channels"], branch["resolution"]) == (32, [16, 16])
    assert branch["sources"] == [{"channels": 32, "resolution": [16, 16]}]
    assert set(branch["kinds"]) == {"gate", "bridge", "recurrent"}


def test_blocks_that_are_alike_are_drawn_once_unless_all_are_wanted(run: Run) -> None:
    folded, whole = run("sites", "resnet50")[1], run("sites", "resnet50", "--all")[1]
    assert "layer1.0 ... layer1.2 3 blocks alike" in places(folded)
    # The first convolution of a later stage stands before the stride.
    assert "layer3.0 conv1 256x28x28" in places(folded)
    assert "layer3.1 ... layer3.5 5 blocks alike" in places(folded)
    assert "alike" not in whole
    assert all(f"layer3.{block} conv1" in places(whole) for block in range(6))


def test_dense_blocks_are_drawn_once_with_the_range_of_their_channels(run: Run) -> None:
    text = places(run("sites", "densenet_bc_100_12")[1])
    # 16 layers of 12 channels each, from 24.
    assert "16 blocks alike but for their channels" in text
    assert f"concat 36...{24 + 16 * 12}x32x32" in text


def test_a_row_says_what_a_bridge_reads_and_which_kinds_go_there(run: Run) -> None:
    lines = [places(line) for line in run("sites", "resnet50")[1].splitlines()]
    assert "conv1, conv2 64x56x56; conv3 256x56x56 weights" in lines
    assert "branch 256x56x56 reads 64 + 64 gate, bridge, recurrent" in lines
    assert "branch 512x28x28 reads 128x56x56 + 128 gate, bridge, recurrent" in lines
    assert "merge 256x56x56 merge" in lines
    assert "end 256x56x56 gate, recurrent" in lines


def test_the_attention_that_a_host_has_is_named(run: Run) -> None:
    text = places(run("sites", "mobilenet_v3_small", "--place", "own")[1])
    # Nine of the eleven blocks have squeeze-excitation (Howard et al., 2019, table 2).
    assert "9 sites: 9 own" in text
    assert "own 16x56x56 (SqueezeExcitation)" in text
    assert "removal" in text


def test_one_stage_s_name_may_be_that_of_its_last_block(run: Run) -> None:
    text = places(run("sites", "efficientnet_b0", "--all")[1])
    assert "features.5.2 112x14x14 features.4.0 conv1" in text
    assert "features.5.2 conv1, conv2 672x14x14" in text


def test_a_pyramid_is_a_stage(run: Run) -> None:
    text = places(run("sites", "resnet18", "--stem", "cifar", "--input", 32, "--neck", "fpn", "--head", "segment")[1])
    assert "neck fpn, head segment" in text
    assert "fpn lateral4 512x4x4; lateral3 256x8x8; lateral2 128x16x16;" in text
    assert "merge3 256x8x8; merge2 256x16x16; merge1 256x32x32 merge" in text


def test_torchvision_s_names_of_detectors_are_hosts(run: Run) -> None:
    status, text, errors = run("sites", "retinanet_resnet50_fpn", "--input", 256, "--place", "output", "--json")
    assert status == 0, errors
    data = json.loads(text)
    assert (data["host"]["name"], data["host"]["neck"], data["host"]["head"]) == ("resnet50", "fpn", "retinanet")
    assert {site["place"].rstrip("0123456789") for site in data["sites"]} == {"output"}


@pytest.mark.parametrize(("place", "number"), [("conv", 18), ("conv1", 9), ("end", 2)])
def test_a_place_is_named_with_or_without_its_number(run: Run, place: str, number: int) -> None:
    assert len(json.loads(run("sites", "resnet20", "--place", place, "--json")[1])["sites"]) == number
    assert f"{number} sites: {number} {place.rstrip('1')}" in run("sites", "resnet20", "--place", place)[1]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("host", ["resnet50", "efficientnet_b0"])
def test_the_tree_fits_a_terminal(run: Run, host: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.cli.site_tree.console", lambda: Console(width=width))
    text = run("sites", host)[1]
    tree = text[text.index(f"\n{host}\n") : text.index("\nA site's name")]
    assert max(map(len, tree.splitlines())) <= width
    rows = [line for line in tree.splitlines() if line.endswith(("gate, recurrent", "weights", "merge"))]
    assert len({line.rindex("  ") for line in rows}) == 1, "the kinds of modules stand in one column"


def test_the_options_choose_the_host(run: Run) -> None:
    options = ["--input", 64, "--channels", 1, "--classes", 7, "--stem", "cifar", "--width", 0.5]
    status, text, errors = run("sites", "resnet18", *options, "--json")
    assert status == 0, errors
    host = json.loads(text)["host"]
    assert [host[key] for key in ("input", "channels", "classes", "stem", "width")] == [64, 1, 7, "cifar", 0.5]
    assert "width 0.5" in run("sites", "resnet18", *options)[1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["resnet21"], "unknown host 'resnet21'"),
        (["resnet20", "--place", "brunch"], "did you mean 'branch'"),
        (["resnet20", "--stem", "imagenet"], "no imagenet stem"),
        (["resnet20", "--neck", "pan"], "neck"),
        (["resnet20", "--head", "segment"], "add neck: fpn"),
        (["vit_b_16"], "vit_b_16"),
    ],
)
def test_a_mistake_with_a_host_is_a_message_and_status_2(run: Run, command: list[str], message: str) -> None:
    status, text, errors = run("sites", *command)
    assert (status, text) == (2, "")
    assert message in errors
    assert "Traceback" not in errors


def test_a_vision_transformer_of_timm_s_has_no_sites(run: Run) -> None:
    pytest.importorskip("timm")
    status, text, errors = run("sites", "timm/vit_base_patch16_224")
    assert (status, text) == (2, "")
    assert "has no sites of these kinds" in errors
