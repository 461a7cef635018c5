"""Measure what each attention module costs in a network, and whether it is as fast as timm's of the same name.

    python benchmarks/modules.py                        # everything, on the device at hand
    python benchmarks/modules.py --modules se cbam --hosts resnet20 --rounds 5 --skip timm

In a host: forward and backward pass and peak memory of the host with the module in every block, over those of the
bare host. Gates and bridges stand at `branch`, recurrent modules there too, one per stage; merges at `merge`;
modules that stand for a convolution in the place of every 3x3 convolution of a block (`aa` where the map has 16x16
positions or fewer); BAM also at `end`, where its paper has it.

Alone: forward and backward pass of one module over those of timm's with as many parameters, at the widths and
resolutions of the hosts' blocks. How time and memory are measured: measuring.py.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from measuring import Ratio, Setting, Step, about, compare, installed, peak_memory
from torch import Tensor, nn
from torch.nn import functional

from search_spaces import Architecture, HostConfig, InputError, Site, find_sites
from search_spaces.attention import create, entry, names
from search_spaces.fitting import check_fit, make_spec
from trials.devices import pick_device, pick_precision

HOSTS = ("resnet20", "resnet18", "resnet50")
GOAL = 1.05
MOST_POSITIONS = {"aa": 16 * 16}
"""Where a module stands on no larger map. Attention among 32x32 positions in all of ResNet-20's first stage takes
130 times the bare network's time and 13 GB."""


def train_step(setting: Setting, network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Do a forward and a backward pass."""
    with setting.autocast():
        logits = network(images)
    functional.cross_entropy(logits.float(), labels).backward()
    network.zero_grad()


def host_config(name: str) -> HostConfig:
    return HostConfig(name=name, classes=10, input=32, stem="cifar")


def usual_sites(host: HostConfig, module: str) -> list[Site]:
    """Return where a module stands; see the file's caption."""
    kind = entry(module).kind
    most = MOST_POSITIONS.get(module, host.input**2)
    sites = [site for site in find_sites(host) if site.resolution[0] * site.resolution[1] <= most]
    if kind == "weights":
        return [site for site in sites if site.conv and site.conv.kernel_size == (3, 3)]
    place = "merge" if kind == "merge" else "branch"
    return [site for site in sites if site.place == place]


def placements(host: HostConfig, module: str) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Yield what a module's placements are called, and the placements."""
    kind = entry(module).kind
    sites = usual_sites(host, module)
    names_of = {"weights": "3x3 convolutions", "merge": "merge"}
    ends = [site for site in find_sites(host) if site.place == "end"]
    for where, chosen in ((names_of.get(kind, "branch"), sites), *([("end", ends)] if module == "bam" else [])):
        share = {site.name: {"share": site.stage} if kind == "recurrent" else {} for site in chosen}
        fitting = [site.name for site in chosen if fits(host, site, module)]
        yield where, {name: {"module": module, **share[name]} for name in fitting}


def fits(host: HostConfig, site: Site, module: str) -> bool:
    try:
        check_fit(host, site, [make_spec({"module": module})])
    except InputError:
        return False
    return True


def build(setting: Setting, host: HostConfig, placement: dict[str, Any]) -> nn.Module:
    network = Architecture.from_dict({"host": host.model_dump(), "placement": placement}).build()
    return network.to(setting.device, memory_format=torch.channels_last).train()


def measure_in_host(setting: Setting, name: str, modules: list[str], done: Callable[[dict[str, Any]], None]) -> None:
    """Measure every module in a host; hand over each record as it is done."""
    host = host_config(name)
    images = torch.randn(setting.batch_size, 3, host.input, host.input, device=setting.device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(host.classes, (setting.batch_size,), device=setting.device)

    def prepare(placement: dict[str, Any]) -> tuple[Step, int, int]:
        network = build(setting, host, placement)
        step = partial(train_step, setting, network, images, labels)
        num_params = sum(parameter.numel() for parameter in network.parameters())
        held = (images, *network.parameters(), *network.buffers())
        return step, peak_memory(setting, step, held), num_params

    bare, bare_bytes, bare_params = prepare({})
    for module in modules:
        for where, placement in placements(host, module):
            record: dict[str, Any] = {"host": name, "module": module, "place": where, "sites": len(placement)}
            if placement:
                step, peak_bytes, num_params = prepare(placement)
                record["time"] = asdict(compare(setting, bare, step))
                record["memory"] = round(peak_bytes / bare_bytes, 4)
                record["peak_memory_bytes"], record["bare_peak_memory_bytes"] = peak_bytes, bare_bytes
                record["params"] = round(num_params / bare_params, 5)
                del step
            done(record)


@dataclass(frozen=True)
class Rival:
    """What timm has of the same definition."""

    path: str
    """Module and class within `timm.layers`."""
    arguments: Callable[[int], dict[str, Any]]
    """From the channels: what makes it the same as ours."""
    knobs: tuple[tuple[str, Any], ...] = ()
    """What makes ours the same."""


RIVALS = {
    "se": Rival("squeeze_excite.SEModule", lambda channels: {"channels": channels, "rd_channels": channels // 16}),
    # Given the channels, timm's takes the kernel size from them.
    "eca": Rival("eca.EcaModule", lambda _: {"kernel_size": 3}),
    "cbam": Rival(
        "cbam.CbamModule", lambda channels: {"channels": channels, "rd_channels": channels // 16, "mlp_bias": True}
    ),
    "gc": Rival(
        "global_context.GlobalContext",
        lambda channels: {"channels": channels, "rd_channels": channels // 16, "fuse_add": True, "fuse_scale": False},
    ),
    # With parameters in the gathering timm's cannot be built (1.0.31).
    "ge": Rival(
        "gather_excite.GatherExcite",
        lambda channels: {"channels": channels, "use_mlp": False},
        (("variant", "theta_minus"),),
    ),
    "coord": Rival(
        "coord_attn.CoordAttn",
        lambda channels: {"channels": channels, "rd_channels": max(8, channels // 32), "bias": True},
    ),
    "sk": Rival(
        "selective_kernel.SelectiveKernel",
        lambda channels: {"in_channels": channels, "rd_channels": max(32, channels // 16), "split_input": False},
    ),
}


def shapes(hosts: list[str], module: str) -> list[tuple[int, tuple[int, int]]]:
    """Return the channels and resolutions at which a module stands in the hosts, the widest map first."""
    sites = [site for host in hosts for site in usual_sites(host_config(host), module)]
    found = {(site.channels, site.resolution) for site in sites}
    return sorted(found, key=lambda shape: (-shape[1][0], shape[0]))


def measure_against_timm(
    setting: Setting, hosts: list[str], modules: list[str], done: Callable[[dict[str, Any]], None]
) -> None:
    """Measure ours over timm's, alone, at every shape in the hosts; hand over each record as it is done."""
    for module in (name for name in modules if name in RIVALS):
        for channels, resolution in shapes(hosts, module):
            ours, theirs = both(module, channels, resolution)
            params = [sum(parameter.numel() for parameter in net.parameters()) for net in (ours, theirs)]
            assert params[0] == params[1], f"{module} at {channels}: {params[0]} parameters, timm's has {params[1]}"
            steps = [alone(setting, net, channels, resolution) for net in (theirs, ours)]
            record: dict[str, Any] = {"module": module, "timm": RIVALS[module].path, "knobs": RIVALS[module].knobs}
            record |= {"channels": channels, "resolution": resolution, "params": params[0]}
            done(record | {"time": asdict(compare(setting, *steps))})


def both(module: str, channels: int, resolution: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    """Return ours and timm's."""
    rival = RIVALS[module]
    given: dict[str, Any] = {"channels": channels}
    if entry(module).kind == "weights":
        given = {"conv": nn.Conv2d(channels, channels, 3, padding=1, bias=False)}
    ours = create(module, resolution=resolution, **given, **dict(rival.knobs))
    file, _, cls = rival.path.partition(".")
    return ours, getattr(import_module(f"timm.layers.{file}"), cls)(**rival.arguments(channels))


def alone(setting: Setting, module: nn.Module, channels: int, resolution: tuple[int, int]) -> Step:
    """Return a step of one module in training: from a map and the gradient of its answer to all gradients."""
    dtype = torch.bfloat16 if setting.bf16 else torch.float32
    module.to(setting.device, memory_format=torch.channels_last).train()

    def draw() -> Tensor:
        drawn = torch.randn(setting.batch_size, channels, *resolution, device=setting.device, dtype=dtype)
        return drawn.to(memory_format=torch.channels_last)

    x_BCHW, gradient_BCHW = draw().requires_grad_(), draw()

    def step() -> None:
        with setting.autocast():
            answer_BCHW = module(x_BCHW)
        torch.autograd.grad(answer_BCHW, (x_BCHW, *module.parameters()), gradient_BCHW.to(answer_BCHW.dtype))

    return step


class Results:
    """The file and the table, written as the records come."""

    def __init__(self, out: Path, about: dict[str, Any], num_expected: int) -> None:
        self._out, self._num_expected, self._num_done, self._begin = out, num_expected, 0, time.perf_counter()
        self._written: dict[str, Any] = about | {"in_hosts": [], "against_timm": []}
        out.parent.mkdir(parents=True, exist_ok=True)

    def in_host(self, record: dict[str, Any]) -> None:
        self._add("in_hosts", record)
        what = f"{record['host']:9s} {record['module']:9s} {record['place']:16s}"
        if "time" in record:
            costs = f"memory {record['memory']:5.2f}  parameters {record['params']:6.3f}  {record['sites']} sites"
            self._show(f"{what} time {Ratio(**record['time'])}  {costs}")
        else:
            self._show(f"{what} fits nowhere")

    def against_timm(self, record: dict[str, Any]) -> None:
        self._add("against_timm", record)
        ratio, size = Ratio(**record["time"]), "x".join(map(str, record["resolution"]))
        verdict = "" if ratio.median <= GOAL else f"  above {GOAL}"
        self._show(f"{record['module']:6s} {record['channels']:5d} x {size:7s} ours / timm's {ratio}{verdict}")

    def _add(self, part: str, record: dict[str, Any]) -> None:
        self._num_done += 1
        self._written[part].append(record)
        self._out.write_text(json.dumps(self._written, indent=1) + "\n")

    def _show(self, line: str) -> None:
        minutes = (time.perf_counter() - self._begin) / 60
        print(f"[{self._num_done:3d}/{self._num_expected} {minutes:5.1f} min] {line}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", choices=names(), default=names(), metavar="MODULE")
    parser.add_argument("--hosts", nargs="+", choices=HOSTS, default=list(HOSTS), metavar="HOST")
    parser.add_argument("--skip", nargs="+", choices=["hosts", "timm"], default=[], help="leave out one of the parts")
    parser.add_argument("--rounds", type=int, default=11, help="ratios per median, at most")
    parser.add_argument("--seconds", type=float, default=120, help="per median; at least 3 rounds are made")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="auto: bf16 if it can")
    parser.add_argument("--threads", type=int, default=1, help="of torch on a CPU; a trial has one")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="what times a CPU")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/modules-<device>.json")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    bf16 = pick_precision(arguments.precision, device) == "bf16"
    setting = Setting(device, bf16, arguments.batch_size, arguments.rounds, arguments.seconds, arguments.clock)
    slug = "cpu" if device.type == "cpu" else "-".join(torch.cuda.get_device_name(device).lower().split())
    parts = {"hosts", "timm"} - set(arguments.skip) - ({"timm"} if installed("timm") is None else set())
    hosts, modules = arguments.hosts, arguments.modules
    per_host = len(modules) + ("bam" in modules)
    num_shapes = sum(len(shapes(hosts, name)) for name in modules if name in RIVALS)
    expected = len(hosts) * per_host * ("hosts" in parts) + num_shapes * ("timm" in parts)
    out = arguments.out or Path(f"benchmarks/results/modules-{slug}.json")
    results = Results(out, about(setting), expected)
    if "hosts" in parts:
        for host in hosts:
            measure_in_host(setting, host, modules, results.in_host)
    if "timm" in parts:
        measure_against_timm(setting, hosts, modules, results.against_timm)
    print(f"written: {out}")


if __name__ == "__main__":
    main()
