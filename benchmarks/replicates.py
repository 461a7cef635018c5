"""Time training K seeds of one architecture together against training them one after the other.

    python benchmarks/replicates.py                     # on CUDA if there is any, else on a CPU

A row is one network and one K. `one after the other` is a step of each of K networks as the trainer makes it:
channels_last, autocast, cross-entropy, backward pass, fused SGD. Each form does the same for all K at once, with images
of its own for each seed:

- `vmap`: `torch.vmap` of a functional call over the stacked weights and buffers. Running statistics are stacked too, so
  that batch norm updates each replicate's own. `torch.func.stack_module_state` does not stack networks that torch.fx
  has built (each has a class of its own), so the stacking is done here. Modules ask for memory layouts, which vmap
  does not answer, and have backward passes without a rule for vmap; they are given the plain expressions that a
  compiler gets.
- `graphed`, on CUDA only: still one after the other, each step replayed as a CUDA graph (`train: {cuda_graphs: true}`).
  What is bound by launches has this other way out.
- `grouped`: one network with K times the channels, the convolutions in K groups, linear layers as grouped 1x1
  convolutions. For bare CIFAR ResNets only: what mixes channels in another way (a channel's mean over all channels, a
  softmax) would mix the replicates.

Both forms are checked first: after one step in float32, losses, weights and running statistics are those of the seeds
trained alone (`deviation`: the largest difference, of the largest weight of the same tensor). A ratio is the time
together over the time one after the other; how it is timed: `measuring.py`.
"""

import argparse
import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from measuring import Setting, about, compare
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from search_spaces import Architecture
from trials.devices import pick_device, pick_precision
from trials.graphed_step import GraphedStep, Learn, Record, capture

ATTENTION = {"*/branch": {"module": "se", "reduction": 4}, "*/end": {"module": "bam", "reduction": 4}}
IMAGES = {"name": "resnet20", "classes": 10, "input": 32, "channels": 3}
DIGITS = {"name": "resnet20", "classes": 10, "input": 8, "channels": 1}
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet20": {"host": IMAGES},
    "resnet20-se-bam": {"host": IMAGES, "placement": ATTENTION},
    "digits": {"host": DIGITS},
    "digits-se-bam": {"host": DIGITS, "placement": ATTENTION},
}
State = dict[str, Tensor]


class Alone:
    """Networks that are trained one after the other; if a record is given, by replaying it."""

    def __init__(self, networks: Sequence[nn.Module], setting: Setting, record: Record | None = None) -> None:
        self._networks, self._setting = networks, setting
        self._steps: list[Learn] = []
        for network in networks:
            optimizer = optimize(network.parameters())
            learn = partial(self._learn, network, optimizer)
            self._steps.append(learn if record is None else GraphedStep(learn, network, optimizer, record))

    def _learn(
        self, network: nn.Module, optimizer: torch.optim.SGD, x_BCHW: Tensor, wanted: Tensor, _: Tensor | None
    ) -> Tensor:
        with self._setting.autocast():
            logits = network(x_BCHW)
        loss = functional.cross_entropy(logits.float(), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def step(self, x_KBCHW: Tensor, labels_KB: Tensor) -> Tensor:
        """Return the losses, (K,)."""
        losses = [step(*batch, None) for step, *batch in zip(self._steps, x_KBCHW, labels_KB, strict=True)]
        return torch.stack(losses)

    def states(self) -> list[State]:
        return [network.state_dict() for network in self._networks]


class Together:
    """Networks of one architecture that are trained in one step; subclasses say how the K outputs are computed."""

    def __init__(self, parameters: Sequence[Tensor], setting: Setting) -> None:
        self._setting, self._optimizer = setting, optimize(parameters)

    def logits(self, x_KBCHW: Tensor) -> Tensor:
        """Return (K, B, classes)."""
        raise NotImplementedError

    def states(self) -> list[State]:
        """Return the state of each network, as that of the network alone."""
        raise NotImplementedError

    def step(self, x_KBCHW: Tensor, labels_KB: Tensor) -> Tensor:
        """Return the losses, (K,). The gradient of their sum is, for each network, that of its own."""
        with self._setting.autocast():
            logits = self.logits(x_KBCHW)
        losses = functional.cross_entropy(logits.float().flatten(0, 1), labels_KB.flatten(), reduction="none")
        losses_K = losses.reshape(labels_KB.shape).mean(1)
        self._optimizer.zero_grad()
        losses_K.sum().backward()
        self._optimizer.step()
        return losses_K.detach()


class Mapped(Together):
    """`vmap` over stacked weights and buffers."""

    def __init__(self, networks: Sequence[nn.Module], setting: Setting) -> None:
        states = [dict(network.named_parameters()) for network in networks]
        self._weights = {name: stack([state[name] for state in states]).requires_grad_() for name in states[0]}
        states = [dict(network.named_buffers()) for network in networks]
        self._buffers = {name: stack([state[name] for state in states]) for name in states[0]}
        self._network = copy.deepcopy(networks[0]).to("meta")
        super().__init__(list(self._weights.values()), setting)

    def logits(self, x_KBCHW: Tensor) -> Tensor:
        def call(weights: State, buffers: State, x_BCHW: Tensor) -> Tensor:
            logits: Tensor = functional_call(self._network, (weights, buffers), (x_BCHW,))
            return logits

        with mock.patch("torch.compiler.is_compiling", return_value=True):
            return vmap(call, randomness="different")(self._weights, self._buffers, x_KBCHW)

    def states(self) -> list[State]:
        both = self._weights | self._buffers
        return [
            {name: value[number].detach() for name, value in both.items()}
            for number in range(len(next(iter(both.values()))))
        ]


class Grouped(Together):
    """One network with K times the channels."""

    def __init__(self, networks: Sequence[nn.Module], setting: Setting) -> None:
        self._num = len(networks)
        self._network = group(networks)
        super().__init__(list(self._network.parameters()), setting)

    def logits(self, x_KBCHW: Tensor) -> Tensor:
        x_BCHW = x_KBCHW.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return self._network(x_BCHW).unflatten(1, (self._num, -1)).transpose(0, 1)

    def states(self) -> list[State]:
        state = self._network.state_dict()
        chunks = {
            name: [value] * self._num if value.ndim == 0 else value.chunk(self._num) for name, value in state.items()
        }
        return [
            {name.replace("fc.conv.", "fc."): chunk[number] for name, chunk in chunks.items()}
            for number in range(self._num)
        ]


FORMS: dict[str, Callable[[Sequence[nn.Module], Setting], Alone | Together]] = {
    "vmap": Mapped,
    "grouped": Grouped,
    "graphed": partial(Alone, record=capture),
}


def forms_for(network: str, device: torch.device) -> list[str]:
    grouped = [] if "placement" in NETWORKS[network] else ["grouped"]
    return ["vmap", *grouped, *(["graphed"] if device.type == "cuda" else [])]


class GroupedLinear(nn.Module):
    """Linear layers side by side: (B, K in) -> (B, K out)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        first = layers[0]
        self.conv = nn.Conv2d(len(layers) * first.in_features, len(layers) * first.out_features, 1, groups=len(layers))

    def forward(self, x_BC: Tensor) -> Tensor:
        return self.conv(x_BC[:, :, None, None]).flatten(1)


def group(networks: Sequence[nn.Module]) -> nn.Module:
    """Return one network, built by torch.fx, for K bare CIFAR ResNets; their weights follow each other."""
    num, grouped = len(networks), copy.deepcopy(networks[0])
    assert isinstance(grouped, torch.fx.GraphModule)
    for name, _ in list(grouped.named_modules()):
        layers: list[Any] = [network.get_submodule(name) for network in networks]
        if isinstance(first := layers[0], nn.Conv2d):
            wide: nn.Module = nn.Conv2d(
                num * first.in_channels,
                num * first.out_channels,
                first.kernel_size,
                first.stride,
                first.padding,
                groups=num,
                bias=first.bias is not None,
            )
        elif isinstance(first, nn.BatchNorm2d):
            wide = nn.BatchNorm2d(num * first.num_features)
        elif isinstance(first, nn.Linear):
            wide = GroupedLinear(layers)
        else:
            continue
        wide = wide.to(next(networks[0].parameters()).device)
        join_weights(wide.conv if isinstance(wide, GroupedLinear) else wide, layers)
        grouped.set_submodule(name, wide)
    for node in grouped.graph.nodes:
        if node.op == "call_function" and node.target is functional.pad:
            with grouped.graph.inserting_before(node):
                node.replace_all_uses_with(grouped.graph.call_function(pad_each, (*node.args, num)))
            grouped.graph.erase_node(node)
    grouped.recompile()
    return grouped.to(memory_format=torch.channels_last).train()


def join_weights(wide: nn.Module, layers: Sequence[nn.Module]) -> None:
    """Copy the layers' weights and buffers into one layer, one after the other."""
    for name, value in wide.state_dict().items():
        if value.ndim:
            parts = torch.cat([layer.state_dict()[name] for layer in layers])
            value.copy_(parts.reshape(value.shape))


def pad_each(x_BCHW: Tensor, padding: Sequence[int], num: int) -> Tensor:
    """Pad the channels of each of the networks whose channels follow each other."""
    return functional.pad(x_BCHW.unflatten(1, (num, -1)), tuple(padding)).flatten(1, 2)


def stack(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.detach() for value in values])


def optimize(parameters: Any) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)


def build(network: str, num: int, device: torch.device) -> list[nn.Module]:
    architecture = Architecture.from_dict(NETWORKS[network])
    built = [architecture.build(seed=seed).to(device, memory_format=torch.channels_last) for seed in range(num)]
    return [network.train() for network in built]


def draw(network: str, num: int, setting: Setting) -> tuple[Tensor, Tensor]:
    """Return images (K, B, C, H, W) and labels (K, B), other ones for each seed."""
    host, generator = NETWORKS[network]["host"], torch.Generator().manual_seed(0)
    shape = (num, setting.batch_size, host["channels"], host["input"], host["input"])
    labels_KB = torch.randint(host["classes"], shape[:2], generator=generator)
    return torch.randn(shape, generator=generator).to(setting.device), labels_KB.to(setting.device)


def deviation(network: str, num: int, form: str, setting: Setting) -> float:
    """Return the largest difference to the seeds trained alone after one step in float32, see the file's caption."""
    setting = replace(setting, bf16=False, batch_size=16)
    x_KBCHW, labels_KB = draw(network, num, setting)
    together = FORMS[form](build(network, num, setting.device), setting)
    alone = Alone(build(network, num, setting.device), setting)
    found, expected = together.step(x_KBCHW, labels_KB), alone.step(x_KBCHW, labels_KB)
    differences = [((found - expected).abs() / expected).max().item()]
    for mine, theirs in zip(together.states(), alone.states(), strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            difference = (mine[name].reshape(value.shape) - value).abs().max() / value.abs().max().clamp(min=1e-3)
            differences.append(difference.item())
    return max(differences)


def measure(network: str, num: int, form: str, setting: Setting) -> dict[str, Any]:
    """Return a row."""
    difference = deviation(network, num, form, setting)
    if difference > 0.05:
        raise RuntimeError(f"{form} does not train {network} as it is trained alone: {difference:.2g} off")
    load = os.getloadavg()[0]
    x_KBCHW, labels_KB = draw(network, num, setting)
    alone = Alone(build(network, num, setting.device), setting)
    together = FORMS[form](build(network, num, setting.device), setting)
    ratio = compare(setting, *(partial(each.step, x_KBCHW, labels_KB) for each in (alone, together)))
    return {
        "network": network,
        "replicates": num,
        "form": form,
        "command": about(setting)["command"],
        "over_one_after_the_other": asdict(ratio),
        "deviation": float(f"{difference:.2g}"),
        "load_before": round(load, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--replicates", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--rounds", type=int, default=15, help="ratios per median, at most")
    parser.add_argument("--seconds", type=float, default=15, help="per median; at least 3 rounds are made")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="of a CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/replicates.json"))
    parser.add_argument("--add", action="store_true", help="keep the rows of other networks that the file has")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    bf16 = pick_precision("auto", device) == "bf16"
    setting = Setting(device, bf16, arguments.batch_size, arguments.rounds, arguments.seconds, arguments.clock)
    found = about(setting)
    del found["command"]  # Each row has its own.
    kept = json.loads(arguments.out.read_text())["rows"] if arguments.add and arguments.out.exists() else []
    found["rows"] = [row for row in kept if row["network"] not in arguments.networks]
    for network in arguments.networks:
        for num in arguments.replicates:
            for form in forms_for(network, device):
                row = measure(network, num, form, setting)
                ratio = row["over_one_after_the_other"]
                print(
                    f"{network}: {num} by {form}: {ratio['median']:.2f} [{ratio['p25']:.2f}, {ratio['p75']:.2f}] "
                    f"of the time one after the other, n = {ratio['n']}",
                    flush=True,
                )
                found["rows"].append(row)
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
