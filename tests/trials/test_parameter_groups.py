from search_spaces import Architecture
from trials.parameter_groups import FACTOR, parameter_groups, placed_parameters

SE = {"module": "se", "reduction": 4}
ARCHITECTURE = Architecture.from_dict(
    {"host": {"name": "resnet20"}, "placement": {"layer1.0/branch": SE, "layer2.0/conv1": {"module": "aw"}}}
)


def test_placed_parameters_are_those_that_the_bare_host_does_not_have() -> None:
    model = ARCHITECTURE.build()
    bare = {name for name, _ in Architecture(ARCHITECTURE.host).build().named_parameters()}
    names = {name for name, _ in model.named_parameters()}
    placed = placed_parameters(ARCHITECTURE, model)
    assert placed | bare == names
    assert not placed & bare
    assert any(name.startswith("attention.layer1_0__branch") for name in placed)
    assert any(name.startswith("layer2.0.conv1.") for name in placed)
    assert "layer2.0.conv1.weight" in bare


def test_every_parameter_is_in_the_group_of_its_rate_and_decay() -> None:
    model = ARCHITECTURE.build()
    placed = placed_parameters(ARCHITECTURE, model)
    groups = parameter_groups(model, placed, weight_decay=0.01, norm_weight_decay=False, attention_lr=3.0)
    found = {id(value): (group[FACTOR], group["weight_decay"]) for group in groups for value in group["params"]}
    for name, value in model.named_parameters():
        is_norm_or_bias = name.endswith(".bias") or value.ndim == 1
        assert found[id(value)] == (3.0 if name in placed else 1.0, 0.0 if is_norm_or_bias else 0.01)
    assert len(found) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_by_default_there_is_one_group_in_the_order_of_the_network() -> None:
    model = ARCHITECTURE.build()
    placed = placed_parameters(ARCHITECTURE, model)
    (group,) = parameter_groups(model, placed, weight_decay=0.01, norm_weight_decay=True, attention_lr=1.0)
    assert [id(value) for value in group["params"]] == [id(value) for value in model.parameters()]
    assert (group[FACTOR], group["weight_decay"]) == (1.0, 0.01)
