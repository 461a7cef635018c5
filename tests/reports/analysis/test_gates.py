"""Gates are read as they act, and what never moves is called wasted."""

from typing import Any

import pytest
import torch
from small_networks import digits, parts, subject
from torch import nn

from reports.analysis.frozen import freeze_each
from reports.analysis.gates import WASTED_BELOW, read_gates
from reports.analysis.pictures import no_tick
from reports.analysis.subject import Subject
from search_spaces.attention.ba import BA
from search_spaces.attention.bam import BAM
from search_spaces.attention.se import SE

MODULES: dict[str, dict[str, Any]] = {
    "layer1.0/branch": {"module": "se", "reduction": 4},
    "layer1.1/branch": {"module": "ba", "reduction": 4},
    "layer1/end": {"module": "bam", "reduction": 4},
    "layer2.0/merge": {"module": "aff"},
    "layer2.1/conv1": {"module": "aw"},
    "layer2.2/branch": {"module": "cbam", "reduction": 4},
}


def constant(of: Subject, logit: float) -> None:
    """Let every SE answer sigmoid(logit), whatever it reads."""
    for se in parts(of, SE):
        nn.init.zeros_(se.excite.weight)
        nn.init.constant_(se.excite.bias, logit)


def test_a_gate_that_is_the_same_for_every_image_is_wasted_and_its_mean_is_that_constant() -> None:
    network = subject({"layer1.0/branch": {"module": "se", "reduction": 4}})
    constant(network, 1.0)
    (gate,), unread = read_gates(network, digits(), no_tick)
    assert unread == ()
    assert gate.is_gate
    assert gate.is_wasted
    assert gate.mean == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=1e-6)
    assert gate.movement == pytest.approx(0, abs=1e-6)
    assert gate.between_classes is None or gate.over_images < 1e-6


def test_a_gate_that_differs_by_channel_alone_is_wasted_too() -> None:
    network = subject({"layer1.0/branch": {"module": "se", "reduction": 4}})
    constant(network, 0.0)
    (se,) = parts(network, SE)
    se.excite.bias.data[:8] = 2.0
    (gate,), _ = read_gates(network, digits(), no_tick)
    # Half of the channels at sigmoid(2), half at 1/2: each is away from the mean by half of the difference.
    assert gate.over_channels == pytest.approx((torch.tensor(2.0).sigmoid().item() - 0.5) / 2, abs=1e-6)
    assert gate.is_wasted


def test_a_gate_that_follows_the_image_is_not_wasted_and_its_numbers_are_those_of_its_weights() -> None:
    network, pictures = subject({"layer1.0/branch": {"module": "se", "reduction": 4}}), digits()
    (se,) = parts(network, SE)
    se.squeeze.weight.data *= 5
    seen: list[torch.Tensor] = []
    hook = se.gate.register_forward_hook(lambda _, __, answer: seen.append(answer.detach()))
    network.look(pictures.normalised(range(len(pictures)), network.device), {})
    hook.remove()
    (gate,), _ = read_gates(network, pictures, no_tick)
    weights_BC = seen[0].double()
    assert gate.mean == pytest.approx(weights_BC.mean().item(), rel=1e-5)
    assert gate.over_images == pytest.approx(weights_BC.var(0, correction=0).mean().sqrt().item(), rel=1e-4)
    assert gate.channel_means == pytest.approx(weights_BC.mean(0).tolist(), rel=1e-5)
    assert gate.movement > WASTED_BELOW


def test_means_by_class_are_means_over_the_images_of_the_class() -> None:
    network, pictures = subject({"layer1.0/branch": {"module": "se", "reduction": 4}}), digits()
    (se,) = parts(network, SE)
    seen: list[torch.Tensor] = []
    hook = se.gate.register_forward_hook(lambda _, __, answer: seen.append(answer.detach()))
    network.look(pictures.normalised(range(len(pictures)), network.device), {})
    hook.remove()
    (gate,), _ = read_gates(network, pictures, no_tick)
    of_threes = seen[0][torch.from_numpy(pictures.labels == 3)]
    assert gate.class_means[3] == pytest.approx(of_threes.mean(0).tolist(), rel=1e-4)


def test_every_kind_of_module_is_read_at_its_site_in_network_order() -> None:
    gates, unread = read_gates(subject(MODULES), digits(20), no_tick)
    assert unread == ()
    assert [gate.site for gate in gates] == list(MODULES)
    assert all(gate.is_gate for gate in gates)
    by_site = {gate.site: gate for gate in gates}
    assert 1 < by_site["layer1/end"].mean < 2  # x + x M with M in (0, 1)
    assert by_site["layer1/end"].is_spatial
    assert 0 < by_site["layer2.0/merge"].mean < 1
    assert by_site["layer2.0/merge"].read_from == "the output of its part weights"
    assert not by_site["layer1.0/branch"].is_spatial


def test_two_modules_at_one_site_and_a_shared_one_are_told_apart() -> None:
    both = [{"module": "se", "reduction": 4}, {"module": "eca"}]
    shared = {"module": "dia", "share": "a"}
    gates, _ = read_gates(
        subject({"layer1.0/branch": both, "layer2.1/branch": shared, "layer2.2/branch": shared}), digits(20), no_tick
    )
    assert [gate.site for gate in gates] == [
        "layer1.0/branch", "layer1.0/branch #2", "layer2.1/branch", "layer2.2/branch",
    ]  # fmt: skip
    assert gates[2].mean != gates[3].mean


def test_bridged_attention_weights_are_read_where_the_module_was_taken_apart() -> None:
    ba = {"module": "ba", "reduction": 4}
    network = subject({"layer1.0/branch": ba, "layer1.1/branch": {**ba, "bridges": "previous_attention"}})
    gates, _ = read_gates(network, digits(20), no_tick)
    assert len(parts(network, BA)) == len(gates) == 2
    assert all(0 < gate.mean < 1 for gate in gates)


def test_what_adds_is_no_gate() -> None:
    network = subject({"layer1.0/branch": {"module": "gc", "reduction": 4}})
    for name, parameter in network.network.named_parameters():
        if name.endswith("add.3.bias"):
            nn.init.constant_(parameter, -3.0)
    (gate,), _ = read_gates(network, digits(20), no_tick)
    assert not gate.is_gate
    assert not gate.is_wasted


def test_what_has_no_gate_that_can_be_read_is_listed_with_the_reason() -> None:
    gates, unread = read_gates(
        subject({"layer1.0/merge": {"module": "concat"}, "layer2.1/conv1": {"module": "sk"}}), digits(20), no_tick
    )
    assert gates == ()
    assert {each.site for each in unread} == {"layer1.0/merge", "layer2.1/conv1"}
    assert all("gate_part" in each.reason for each in unread)


def test_numbers_do_not_depend_on_the_size_of_the_batches() -> None:
    network, pictures = subject(MODULES), digits(30)
    from dataclasses import replace

    whole = read_gates(network, replace(pictures, batch_size=30), no_tick)[0]
    small = read_gates(network, replace(pictures, batch_size=7), no_tick)[0]
    for one, other in zip(whole, small, strict=True):
        assert one.movement == pytest.approx(other.movement, rel=1e-4)
        assert one.class_means[3] == pytest.approx(other.class_means[3], rel=1e-4)


def test_holding_a_constant_gate_changes_no_prediction() -> None:
    network, pictures = subject({"layer1/end": {"module": "bam", "reduction": 4}}), digits()
    (bam,) = parts(network, BAM)
    nn.init.zeros_(bam.channel[-1].weight)
    nn.init.zeros_(bam.channel[-1].bias)
    nn.init.zeros_(bam.spatial[-1].weight)
    nn.init.zeros_(bam.spatial[-1].bias)
    gates, _ = read_gates(network, pictures, no_tick)
    assert gates[0].mean == pytest.approx(1.5, abs=1e-5)
    (held,) = freeze_each(network, gates, pictures, no_tick)
    assert (held.num_changed, held.num_right) == (0, held.num_right_before)


def test_holding_a_gate_on_which_the_answer_depends_changes_predictions() -> None:
    network, pictures = subject({"layer3.2/out": {"module": "se", "reduction": 4}}), digits()
    (se,) = parts(network, SE)
    se.excite.weight.data *= 100  # nearly on or off, by the image
    logits = network.look(pictures.normalised(range(len(pictures)), network.device), {})
    head = next(m for m in network.network.modules() if isinstance(m, nn.Linear) and m.out_features == 10)
    head.bias.data -= logits.mean(0)  # so that an untrained network does not answer the same for all
    gates, _ = read_gates(network, pictures, no_tick)
    (held,) = freeze_each(network, gates, pictures, no_tick)
    assert held.num_changed > 0


@pytest.mark.parametrize("site", ["layer2.0/merge", "layer2.1/conv1"])
def test_a_part_that_is_read_is_held_where_it_answers(site: str) -> None:
    network, pictures = subject({site: MODULES[site]}), digits()
    gates, _ = read_gates(network, pictures, no_tick)
    before = network.look(pictures.normalised(range(20), network.device), {})
    (held,) = freeze_each(network, gates, pictures, no_tick)
    after = network.look(pictures.normalised(range(20), network.device), {})
    assert held.num_images == len(pictures)
    assert torch.equal(before, after), "nothing stays held"
