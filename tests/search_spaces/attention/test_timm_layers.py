"""timm's layers by name: only the knobs that change the network, and one network is one whatever built it."""

import copy
import pickle
from typing import Any

import pytest
import torch

from search_spaces import Architecture
from search_spaces.attention import check_knobs, create, effective, entry
from search_spaces.errors import InputError

timm = pytest.importorskip("timm")

from search_spaces.attention import timm_layers  # noqa: E402 (after the check that timm is there)

CHANNELS, SIZE = 48, (14, 14)
SIZES = {"timm/halo": (16, 16)}
"""Sizes where the default does not fit."""
NAMED = ["se", "ese", "eca", "ecam", "ceca", "ge", "gc", "gca", "cbam", "lcbam", "coord", "scoord", "ela", "strip",
         "sk", "splat", "lambda", "bottleneck", "halo", "nl", "bat"]  # fmt: skip
"""What timm's `get_attn` knows."""
VALUES: dict[str, list[Any]] = {"int": [1, 2, 3, 5, 16], "float": [0.1, 0.5, 1.0, 3.0], "true | false": [True, False]}


@pytest.fixture(params=timm_layers._layers())
def name(request: pytest.FixtureRequest) -> str:
    """Every layer that can be used."""
    if reason := timm_layers.why_unavailable(request.param):
        pytest.skip(reason)
    return str(request.param)


def make(name: str, channels: int = CHANNELS, **knobs: Any) -> torch.nn.Module:
    """Return a layer with every parameter seeded away from its start, in eval mode and in double precision."""
    module = create(name, channels=channels, resolution=SIZES.get(name, SIZE), **knobs).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return module


def images(name: str, channels: int = CHANNELS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, *SIZES.get(name, SIZE), generator=generator, dtype=torch.float64)


def said(name: str, **knobs: Any) -> dict[str, Any]:
    return effective(name, knobs, channels=CHANNELS, resolution=SIZES.get(name, SIZE))


def test_every_name_of_get_attn_is_there_or_unavailable_with_its_reason() -> None:
    refused = timm_layers.unavailable_timm_layers()
    assert {f"timm/{name}" for name in NAMED} <= {*timm_layers.timm_names(), *refused}
    assert all(reason.startswith(name) for name, reason in refused.items())


def test_other_layers_are_those_that_keep_the_shape_of_a_map() -> None:
    others = {name.removeprefix("timm/") for name in timm_layers.timm_names()} - set(NAMED)
    assert "Attention2d" in others
    assert not others & {"Attention", "AttentionPool2d", "AttentionRope", "SqueezeExcite", "NonLocalAttn"}


def test_a_layer_keeps_the_shape_and_can_be_copied_exported_and_followed_in_place(name) -> None:
    module, x = make(name), images(name)
    output = module(x)
    assert output.shape == x.shape
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), output)
    answer = module(x.requires_grad_())
    answer += 1
    answer.relu_().sum().backward()
    assert x.grad is not None


def test_a_layer_can_start_as_the_identity(name) -> None:
    module = create(name, channels=CHANNELS, resolution=SIZES.get(name, SIZE), init="identity").double()
    x = images(name)
    assert torch.equal(module(x), x)


def built(name: str, **knobs: Any) -> tuple[Any, torch.Tensor]:
    module = make(name, **knobs)
    with torch.no_grad():
        return [tuple(p.shape) for p in module.parameters()], module(images(name))


def test_two_settings_are_said_to_be_one_exactly_if_shapes_and_outputs_are_equal(name) -> None:
    if name == "timm/lambda":
        pytest.skip("takes seconds for each radius")
    before, shapes_and_output = said(name), built(name)
    for knob in entry(name).knobs.values():
        for value in VALUES[knob.type_text.split(" >")[0]]:
            try:
                now, (shapes, output) = said(name, **{knob.name: value}), built(name, **{knob.name: value})
            except InputError:
                continue
            same = shapes == shapes_and_output[0] and torch.allclose(output, shapes_and_output[1])
            assert (now == before) == same, (knob.name, value)


def test_what_is_built_depends_on_no_random_number_and_leaves_the_generator_alone(name) -> None:
    timm_layers._built.cache_clear()
    torch.manual_seed(0)
    first, after = said(name), torch.rand(3)
    timm_layers._built.cache_clear()
    torch.manual_seed(1)
    assert said(name) == first
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), after)


def test_a_knob_that_changes_nothing_is_answered_with_the_reason() -> None:
    with pytest.raises(
        InputError, match=r"knob 'kernel_size' of timm/eca: it changes nothing: timm .* builds the same"
    ):
        check_knobs("timm/eca", {"kernel_size": 5})
    assert "init_last_zero" not in entry("timm/gc").knobs  # kept by the layer, never read
    assert "use_mlp: true" in entry("timm/eca").knobs["rd_ratio"].description
    with pytest.raises(InputError, match=r"knob 'act_layer' of timm/se: .* are left to timm"):
        check_knobs("timm/se", {"act_layer": "relu"})


def test_a_layer_that_crashes_in_the_installed_release_is_refused_with_the_reason() -> None:
    if not timm_layers.why_unavailable("timm/ge"):
        pytest.skip("this release has mended it")
    with pytest.raises(InputError, match=r"timm/ge at 64 channels: TypeError: .*; it cannot be used in timm"):
        entry("timm/ge")


@pytest.mark.parametrize(
    ("name", "knobs", "reason"),
    [
        ("timm/cbam", {"spatial_kernel_size": 4}, "timm/cbam with spatial_kernel_size=4 at 48 channels: "),
        ("timm/halo", {"num_heads": 5, "qkv_bias": True}, "timm/halo with num_heads=5 at 48x16x16: AssertionError"),
        ("timm/halo", {"block_size": 5}, "with block_size=5 at 48x16x16: "),
        ("timm/se", {"rd_ratio": 0.0}, "knob 'rd_ratio' of timm/se: .*greater than 0"),
        ("timm/se", {"rd_channels": 4.0}, "knob 'rd_channels' of timm/se: .*valid integer"),
    ],
)
def test_a_value_that_cannot_be_built_is_refused_naming_layer_knob_and_value(name, knobs, reason) -> None:
    with pytest.raises(InputError, match=reason):
        create(name, channels=CHANNELS, resolution=SIZES.get(name, SIZE), **knobs)


def test_an_unknown_layer_is_answered_with_the_near_name() -> None:
    with pytest.raises(InputError, match=r"unknown layer of timm's 'timm/lambd'; .*did you mean 'timm/lambda'"):
        entry("timm/lambd")


def test_the_size_of_the_map_is_asked_for_where_a_layer_depends_on_it() -> None:
    sized = {name for name in timm_layers.timm_names() if "resolution" in entry(name).positional}
    assert {"timm/bottleneck", "timm/halo", "timm/bat"} <= sized
    assert "timm/se" not in sized
    assert said("timm/bottleneck") != effective("timm/bottleneck", {}, channels=CHANNELS, resolution=(7, 7))
    with pytest.raises(InputError, match=r"timm/halo at 48x14x14: .*block_size"):
        create("timm/halo", channels=CHANNELS, resolution=(14, 14))


def test_a_width_that_timm_rounds_is_what_counts_so_that_a_space_refuses_the_choice(space_of) -> None:
    # 64/8, 64/16 and 64/32 channels, made divisible by 8, are all 8.
    hidden = {make("timm/se", 64, rd_ratio=1 / r).fc1.out_channels for r in (8, 16, 32)}
    assert hidden == {8}
    with pytest.raises(InputError, match=r"rd_ratio 0.0625 has no effect: at every site it builds what 0.125 builds"):
        space_of("layer3.*/branch", "timm/se", {"rd_ratio": [0.125, 0.0625, 0.03125]})
    assert space_of("layer3.*/branch", "timm/se", {"rd_ratio": [0.125, 0.25]}).size == 3**3


@pytest.fixture
def space_of():
    from search_spaces import SearchSpace

    def space_of(at: str, module: str, knobs: dict[str, Any]) -> SearchSpace:
        host = {"name": "resnet20", "classes": 10, "input": 32}
        return SearchSpace.from_dict({"host": host, "choices": [{"at": at, "modules": {"none": {}, module: knobs}}]})

    return space_of


def test_a_layer_stands_in_a_network() -> None:
    placement = {"layer3.*/branch": {"module": "timm/gc", "rd_channels": 4}}
    architecture = Architecture.from_dict({"host": {"name": "resnet20"}, "placement": placement})
    assert Architecture.from_dict(architecture.to_dict()).id == architecture.id
    assert architecture.build()(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_without_timm_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(timm_layers.importlib, "import_module", missing)
    timm_layers.timm_entry.cache_clear()
    timm_layers._layers.cache_clear()
    with pytest.raises(InputError, match=r"need the package timm: pip install 'attention-placement-search\[timm\]'"):
        entry("timm/se")
