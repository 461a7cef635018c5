"""Selectivity, bridges, colla-factors, maps and Grad-CAM against answers that are known."""

import numpy as np
import pytest
import torch
from small_networks import CPU, bright_quarters, digits, parts, placed, subject
from torch import fx, nn

from reports.analysis.analyse import analyse, choose_examples
from reports.analysis.attention_maps import attention_maps
from reports.analysis.bridge_importance import forest_importance, importances_of
from reports.analysis.colla_factors import colla_factors_of
from reports.analysis.gates import read_gates
from reports.analysis.grad_cam import grad_cam, with_probe
from reports.analysis.pictures import choose_pictures, no_tick
from reports.analysis.selectivity import selectivity_index, selectivity_of
from reports.analysis.subject import StageEnd, Subject
from search_spaces.attention.ba import BA
from search_spaces.attention.cat import CAT
from search_spaces.errors import InputError
from trials import DataConfig, load_data


def test_a_unit_of_one_class_has_selectivity_1_one_of_all_classes_0_and_a_dead_one_none() -> None:
    class_mean_KC = torch.tensor([[3.0, 2.0, 0.0, 3.0], [0.0, 2.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0]])
    index = selectivity_index(class_mean_KC)
    # The last: (3 - 1/2) / (3 + 1/2).
    assert index[[0, 1, 3]].tolist() == pytest.approx([1, 0, 2.5 / 3.5])
    assert index[2].isnan()


class _Quarters(nn.Module):
    """Two channels that are bright where the image is, at the upper left and at the lower right, and one at both."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        mask = torch.zeros(3, 8, 8)
        mask[0, :4, :4] = mask[1, 4:, 4:] = mask[2] = 1
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        map_BCHW = torch.relu(x) * self.scale * self.mask
        return map_BCHW[:, :2].mean((2, 3))


class _Known(Subject):
    """A subject with a stage that was not found, but said."""

    @property
    def stages(self) -> tuple[StageEnd, ...]:  # type: ignore[override]
        return (StageEnd("only", "mul_1", 3, (8, 8)),)


def quarters() -> Subject:
    """Return a network that answers by which quarter of the image is bright."""
    return _Known(placed({}), fx.symbolic_trace(_Quarters()).eval(), "quarters")


def test_selectivity_is_taken_at_the_end_of_the_stage() -> None:
    (stage,) = selectivity_of(quarters(), bright_quarters(), no_tick)
    assert stage.index == pytest.approx((1, 1, 0), abs=1e-6)
    assert stage.mean == pytest.approx(2 / 3)
    assert stage.num_dead == 0


def test_grad_cam_is_bright_where_the_evidence_was_planted() -> None:
    pytest.importorskip("captum")
    pictures = bright_quarters()
    found = grad_cam(quarters(), pictures, [0, 1, 2, 3])
    assert found.predicted == tuple(pictures.labels[:4])
    for heat, label in zip(found.maps, found.predicted, strict=True):
        inside = heat[:4, :4] if label == 0 else heat[4:, 4:]
        assert inside.min() > 0
        assert heat.sum() == pytest.approx(inside.sum())


def test_a_probe_changes_nothing_and_answers_what_its_node_does() -> None:
    network, pictures = subject({"layer1/end": {"module": "bam", "reduction": 4}}), digits(8)
    end = network.stages[0]
    assert end.name == "layer1"
    assert "attention" in end.node, "the stage ends behind the attention there"
    x_BCHW = pictures.normalised(range(8), network.device)
    probed, probe = with_probe(network.network, end.node)
    kept: list[torch.Tensor] = []
    probe.register_forward_hook(lambda _, __, answer: kept.append(answer))
    seen: list[torch.Tensor] = []
    expected = network.look(x_BCHW, {end.node: lambda _, answer: seen.append(answer)})
    with torch.no_grad():
        assert torch.equal(probed(x_BCHW), expected)
    assert torch.equal(kept[0], seen[0])


def test_stages_end_at_a_merge_that_was_replaced_too() -> None:
    network = subject({"layer1.2/merge": {"module": "aff"}, "*/out": {"module": "eca"}})
    assert [(end.name, end.channels, end.resolution) for end in network.stages] == [
        ("layer1", 16, (8, 8)), ("layer2", 32, (4, 4)), ("layer3", 64, (2, 2)),
    ]  # fmt: skip
    nodes = {node.name for node in network.network.graph.nodes}
    assert {end.node for end in network.stages} <= nodes


def test_the_planted_group_of_features_is_found_by_the_forest() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=(200, 3)) for _ in range(3)]
    targets = np.tanh(groups[1] @ rng.normal(size=(3, 12)))
    gini = forest_importance(groups, targets)
    assert sum(gini) == pytest.approx(1)
    assert gini[1] > 0.8


def test_targets_that_do_not_vary_have_no_importances() -> None:
    assert forest_importance([np.random.default_rng(0).normal(size=(50, 3))], np.full((50, 4), 0.5)) == ()


def test_the_bridge_that_alone_moves_the_weights_is_the_important_one() -> None:
    network = subject({"layer2.1/branch": {"module": "ba", "reduction": 8}})
    (ba,) = parts(network, BA)
    nn.init.zeros_(ba.weigh.own[1].weight)
    (found,) = importances_of(network, digits(120), no_tick)
    assert found.features == ("after_conv1", "own output")
    assert found.gini == pytest.approx((1, 0))
    assert found.relative == pytest.approx((1, 0))


def test_colla_factors_are_the_parameters() -> None:
    network = subject({"layer1.0/branch": {"module": "cat", "reduction": 4}, "layer3.0/branch": {"module": "cat"}})
    first, second = parts(network, CAT)
    first.channel.factors.values.data = torch.tensor([0.5, -1.0, 2.0])
    second.exterior.values.data = torch.tensor([0.0, float(np.log(3))])
    found = colla_factors_of(network)
    assert [(each.site, each.depth) for each in found] == [("layer1.0/branch", 1), ("layer3.0/branch", 2)]
    assert [found[0].factors[name] for name in ("C_alpha", "C_beta", "C_gamma")] == [0.5, -1.0, 2.0]
    # A softmax of (0, log 3).
    assert [found[1].factors[name] for name in ("C_w", "S_w")] == pytest.approx([0.25, 0.75])


def test_maps_are_those_of_the_last_spatial_gate_of_each_stage() -> None:
    gates_at = {
        "layer1.0/branch": {"module": "cbam", "reduction": 4, "kernel_size": 3},
        "layer1/end": {"module": "bam", "reduction": 4},
        "layer2.0/branch": {"module": "se", "reduction": 4},
    }
    network, pictures = subject(gates_at), digits(20)
    gates, _ = read_gates(network, pictures, no_tick)
    (found,) = attention_maps(network, gates, pictures, [0, 5])
    assert (found.site, found.maps.shape) == ("layer1/end", (2, 8, 8))
    assert 1 < found.low < found.high < 2


def test_images_that_two_networks_answer_differently_come_first_up_to_half() -> None:
    labels = np.zeros(100, dtype=np.int64)
    host = labels.copy()
    host[[10, 20, 30, 40, 50]] = 1
    chosen = choose_examples(labels, labels, host, 6)
    assert len(chosen) == len({each.position for each in chosen}) == 6
    assert sum(each.predicted != each.predicted_by_host for each in chosen) == 3
    assert chosen == choose_examples(labels, labels, host, 6)
    assert len(choose_examples(labels, labels, labels + 1, 6)) == 6, "where all differ, all shown do"


def test_what_does_not_apply_says_why() -> None:
    found = analyse(subject({}), None, digits(20), num_examples=0)
    assert found.gates == found.importances == found.factors == found.maps == found.cams == ()
    assert "bare host" in found.reasons["gates"]
    assert "(ba)" in found.reasons["importances"]
    assert "no cat" in found.reasons["factors"]
    assert len(found.selectivity) == 3


def test_without_captum_all_the_rest_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "captum.attr", None)
    found = analyse(subject({"layer1.0/branch": {"module": "eca"}}), None, digits(20))
    assert "pip install" in found.reasons["cams"]
    assert found.gates


def test_an_unknown_class_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown class 'seven'"):
        analyse(subject({}), None, digits(20), classes=["seven"])


def test_validation_images_are_those_that_the_training_with_that_seed_held_out() -> None:
    dataset = load_data(DataConfig(source="digits", validation=1))
    from trials import split

    pictures = choose_pictures(dataset, "validation", 10_000, validation=100, seed=3)
    assert pictures.index.tolist() == split(dataset, 100, None, 3)[1].tolist()
    assert pictures.in_words == "all 100 validation images"
    few = choose_pictures(dataset, "validation", 20, validation=100, seed=3)
    assert np.bincount(few.labels).tolist() == [2] * 10
    with pytest.raises(InputError, match="--part test"):
        choose_pictures(dataset, "validation", 10)
    assert CPU.type == "cpu"
