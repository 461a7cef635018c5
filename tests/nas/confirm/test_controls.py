"""Controls of equal cost: which are chosen, and how many."""

import pytest
from toy_search import HOST, Toy

from nas.confirm.controls import (
    BANDS,
    FARTHEST_WIDER,
    ControlRules,
    from_dict,
    nearest_handmade,
    plan_controls,
    random_of_equal_cost,
    to_dict,
    wider_host,
)
from nas.proposals.baselines import make_baselines
from reports.view import Control
from search_spaces import Architecture, SearchSpace, measure_cost
from search_spaces.cost import Cost

ALL = ("handmade", "random", "wider")


def of(placement: dict[str, object], **host: object) -> Architecture:
    return Architecture.from_dict({"host": {**HOST, **host}, "placement": placement})


MIXED = of({"layer1.*/branch": {"module": "se", "reduction": 4}, "layer3.*/branch": {"module": "eca"}})


def test_the_distance_of_two_costs_is_the_larger_share_of_the_other() -> None:
    assert Cost(110, 1010).distance(Cost(100, 1000)) == pytest.approx(0.1)
    assert Cost(100, 800).distance(Cost(100, 1000)) == pytest.approx(0.2)


def test_the_nearest_hand_made_placement_is_the_nearest_of_all(toy: Toy) -> None:
    (part,) = toy.tiny_space().variants
    found = nearest_handmade(part, MIXED)
    assert not isinstance(found, str)
    # SE at r=4 in the three blocks of layer1, 16 channels and 4 hidden with biases: 148 weights each; ECA has 3.
    wanted = measure_cost(MIXED)
    assert wanted.params - measure_cost(toy.bare_host()).params == 3 * (16 * 4 + 4 + 4 * 16 + 16) + 3 * 3
    candidates = {
        Architecture.from_dict({"host": HOST, "placement": {f"{at}/branch": {"module": module, **knobs}}})
        for at in ("*", "layer1.*", "layer2.*", "layer3.*", "layer[12].*", "layer[23].*")
        for module, knobs in (
            ("se", {"reduction": 4}),
            ("se", {"reduction": 8}),
            ("eca", {"kernel_size": 3}),
            ("eca", {"kernel_size": 5}),
        )
    }
    nearest = min(measure_cost(each).distance(wanted) for each in candidates)
    assert found[1] in candidates
    assert measure_cost(found[1]).distance(wanted) == nearest


def test_what_is_trained_anyway_is_preferred_where_it_costs_the_same(toy: Toy) -> None:
    (part,) = toy.tiny_space().variants
    like = of({"*/branch": {"module": "eca"}, "layer1.0/branch": {"module": "eca", "kernel_size": 5}})
    trained = make_baselines(toy.tiny_space(), 1, 0)
    assert nearest_handmade(part, like, trained) == ("eca everywhere", dict(trained)["eca everywhere"])


def test_an_architecture_is_not_its_own_control(toy: Toy) -> None:
    (part,) = toy.tiny_space().variants
    everywhere = of({"*/branch": {"module": "se", "reduction": 4}})
    found = nearest_handmade(part, everywhere)
    assert isinstance(found, str) or found[1].hash != everywhere.hash


def test_a_random_placement_costs_the_same_and_is_settled_by_seed_and_architecture(toy: Toy) -> None:
    (part,) = toy.space.variants
    architecture = part.decode((1, 2, 3, 1, 2))
    found = random_of_equal_cost(part, architecture, 0)
    assert not isinstance(found, str)
    assert found[0] == f"random like {architecture.id}"
    assert found[1].hash != architecture.hash
    assert measure_cost(found[1]).distance(measure_cost(architecture)) <= BANDS[-1]
    assert random_of_equal_cost(part, architecture, 0) == found
    assert len({str(random_of_equal_cost(part, architecture, seed)) for seed in range(8)}) > 1


def test_there_may_be_no_other_placement_of_that_cost(toy: Toy) -> None:
    aff = {"at": "*/merge", "per": "host", "modules": {"none": {}, "aff": {"reduction": 1}}}
    (part,) = toy.make_space([aff]).variants
    assert random_of_equal_cost(part, part.decode((1,)), 0) == "no other placement found within 2% of its cost"


def test_the_wider_host_is_the_narrowest_that_costs_no_less() -> None:
    found = wider_host(MIXED)
    assert not isinstance(found, str)
    assert found == ("host width 1.06", of({}, width=17 / 16))
    wanted, cost = measure_cost(MIXED), measure_cost(found[1])
    assert cost.params >= wanted.params
    assert cost.macs >= wanted.macs
    assert cost.distance(wanted) <= FARTHEST_WIDER
    aff = of({"*/merge": {"module": "aff", "reduction": 1}})  # costs more than 17/16, whichever is next
    wider = wider_host(aff)
    assert "1.06" not in str(wider)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (of({"layer1.0/branch": {"module": "eca"}}, width=0.5), "the next wider host (width 0.562) costs 26% more"),
        (Architecture.from_dict({"host": {"name": "vgg11", "input": 32}}), "vgg11 has no other widths"),
        (
            Architecture.from_dict({"host": {"name": "resnet18", "pretrained": True}}),
            "pretrained weights are published for one width only",
        ),
    ],
)
def test_without_a_wider_host_of_that_cost_it_is_said_why(architecture: Architecture, reason: str) -> None:
    assert wider_host(architecture) == reason


def test_each_architecture_gets_each_kind_until_the_cap_is_reached(toy: Toy) -> None:
    space = toy.space
    front = [space.decode((1, 2, 3, 1, 2)), space.decode((2, 0, 4, 3, 0)), space.decode((0, 1, 0, 0, 4))]
    trained = make_baselines(space, 1, 0)
    everything = plan_controls(space, front, trained, ControlRules(ALL, 9, 0))
    assert [(each.of, each.kind) for each in everything] == [(a.hash, kind) for a in front for kind in ALL]
    # All three are narrower than 17/16: they share the training of that host.
    wider = {each.architecture for each in everything if each.kind == "wider"}
    assert wider == {of({}, width=17 / 16)}
    few = plan_controls(space, front, trained, ControlRules(ALL, 3, 0))
    assert few[:3] == everything[:3]
    known = {each.hash for _, each in trained}
    assert len({each.architecture.hash for each in few if each.architecture} - known) <= 3
    left_out = [each for each in few if each.reason]
    assert left_out
    assert {each.reason for each in left_out} == {"left out: `confirm.max_controls` is 3"}
    assert plan_controls(space, front, trained, ControlRules((), 9, 0)) == []


def test_of_several_hosts_the_labels_say_which() -> None:
    space = SearchSpace.from_dict(
        {
            "host": {**HOST, "name": ["resnet20", "resnet32"]},
            "choices": [{"at": "*/branch", "per": "stage", "modules": {"none": {}, "se": {"reduction": [4, 8]}}}],
        }
    )
    deep = space.variants[1]
    planned = plan_controls(space, [deep.decode((1, 0, 1))], [], ControlRules(ALL, 9, 0))
    labels = {each.kind: each.label for each in planned}
    assert labels["wider"] == "host width 1.06 (resnet32)"
    assert labels["handmade"].endswith("(resnet32)")
    assert all(each.architecture and each.architecture.host.name == "resnet32" for each in planned)


def test_controls_are_kept_as_plain_data() -> None:
    for control in (Control("ab", "wider", MIXED, "host"), Control("ab", "random", None, reason="none")):
        assert from_dict(to_dict(control)) == control
