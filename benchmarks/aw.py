"""Time the forms of the AW-convolution against the plain convolution, and networks with AW against bare ones.

    python benchmarks/aw.py                          # every section, one after the other
    python benchmarks/aw.py --sections networks --rounds 9

A row of `float32` and `bfloat16` is forward + backward of one 3x3 convolution of C -> C channels in each form, over
that of the plain one, and says which form the module chooses and whether it is the fastest. A row of `networks` is a
training step without the optimizer, in bf16 autocast if the device computes in it (a CPU that does not takes over ten
times as long in bf16), with AW in place of every 3x3 convolution of every block, over that of the bare network.
How it is timed: `measuring.py`. Sections that are not asked for are kept as they are.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import Setting, about, compare
from torch import Tensor, nn
from torch.nn import functional

from search_spaces import Architecture
from search_spaces.attention.ops.aw_forms import Geometry, choose_form, convolve
from trials.devices import pick_precision

SHAPES = [(16, 32), (32, 16), (32, 8), (64, 8), (64, 32), (128, 16), (256, 8), (512, 4)]
FORMS = ("grouped", "columns", "taps")
HOSTS: dict[str, dict[str, Any]] = {"resnet20": {"name": "resnet20"}, "resnet18": {"name": "resnet18", "stem": "cifar"}}
GEOMETRY = Geometry(padding=(1, 1))


def time_forms(setting: Setting, channels: int, size: int) -> dict[str, Any]:
    """Time one convolution, channels_last; bfloat16 is under autocast, with weights in float32."""
    torch.manual_seed(0)
    draw = partial(torch.rand, device=setting.device)
    last = {"memory_format": torch.channels_last}
    x = draw(setting.batch_size, channels, size, size).to(torch.bfloat16 if setting.bf16 else torch.float32, **last)
    weight = draw(channels, channels, 3, 3).to(**last) - 0.5
    scale = 1 + draw(setting.batch_size, channels, 1, 3, 3)
    wanted = torch.ones_like(x)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, scale)]

    def step(run: Callable[[], Tensor]) -> None:
        with setting.autocast():
            output = run()
        torch.autograd.grad(output, leaves, wanted, allow_unused=True)

    plain = partial(step, lambda: functional.conv2d(x, weight, padding=1))
    over_plain = {
        form: compare(setting, plain, partial(step, partial(convolve, x, weight, scale, GEOMETRY, form)))
        for form in FORMS
    }
    fastest = min(FORMS, key=lambda form: over_plain[form].median)
    chosen = choose_form(x, weight, scale, GEOMETRY)
    return {
        "channels": channels,
        "size": size,
        "batch_size": setting.batch_size,
        "over_plain": {form: asdict(ratio) for form, ratio in over_plain.items()},
        "chosen": chosen,
        "fastest": fastest,
        "chosen_over_fastest": round(over_plain[chosen].median / over_plain[fastest].median, 3),
    }


def time_network(setting: Setting, host: str) -> dict[str, Any]:
    """Time a network with AW over the bare one."""
    torch.manual_seed(0)
    images = torch.rand(setting.batch_size, 3, 32, 32, device=setting.device).to(memory_format=torch.channels_last)
    labels = torch.zeros(setting.batch_size, dtype=torch.long, device=setting.device)

    def build(**placement: Any) -> nn.Module:
        network = Architecture.from_dict({"host": HOSTS[host] | {"classes": 10, "input": 32}} | placement).build()
        return network.to(setting.device, memory_format=torch.channels_last).train()

    def step(network: nn.Module) -> None:
        with setting.autocast():
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()
        network.zero_grad(set_to_none=True)

    with_aw = build(placement={"*/conv*": {"module": "aw"}})
    ratio = compare(setting, partial(step, build()), partial(step, with_aw))
    return {"host": host, "batch_size": setting.batch_size, "over_bare": asdict(ratio)}


def measure_forms(setting: Setting) -> list[dict[str, Any]]:
    """Return and print a row for each batch size and shape."""
    rows = []
    for batch_size in (32, 128):
        for channels, size in SHAPES:
            row = time_forms(replace(setting, batch_size=batch_size), channels, size)
            shown = "  ".join(f"{form} {row['over_plain'][form]['median']:5.2f}" for form in FORMS)
            print(
                f"batch {batch_size:3}, {channels:3} channels on {size:2}x{size:<2}: {shown}, "
                f"chosen {row['chosen']}, {row['chosen_over_fastest']:.2f} of the fastest",
                flush=True,
            )
            rows.append(row)
    return rows


def measure_networks(setting: Setting) -> list[dict[str, Any]]:
    """Return and print a row for each host."""
    rows = [time_network(setting, host) for host in HOSTS]
    for row in rows:
        ratio = row["over_bare"]
        print(f"{row['host']}: {ratio['median']:.2f} [{ratio['p25']:.2f}, {ratio['p75']:.2f}] of the bare time")
    return rows


SECTIONS = {"float32": measure_forms, "bfloat16": measure_forms, "networks": measure_networks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=9, help="ratios per median, at most")
    parser.add_argument("--seconds", type=float, default=20, help="per median; at least 3 rounds are made")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="of a CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/aw.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for section in arguments.sections:
        device = torch.device(arguments.device)
        setting = Setting(
            device=device,
            bf16=section == "bfloat16" or (section == "networks" and pick_precision("auto", device) == "bf16"),
            batch_size=128,
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            clock=arguments.clock,
        )
        rows = SECTIONS[section](setting)
        found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        found[section] = about(setting) | {"rows": rows}
        del found[section]["batch_size"]  # Each row has its own.
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
