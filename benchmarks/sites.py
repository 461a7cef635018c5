"""Time finding the sites of a host against building it, the first time and again.

    python benchmarks/sites.py

A row is one host: `find_sites` with nothing kept from earlier calls (the network is built on the meta device, traced,
its shapes are found, and its sites) over building the host with drawn weights; and the second call, which finds what
the first one kept, over the same. How it is timed: `measuring.py`.
"""

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import Setting, about, compare

from search_spaces import HostConfig, find_sites
from search_spaces.hosts import build_host
from search_spaces.networks import trace_anew
from search_spaces.sites import sites_of_graph

HOSTS = ("resnet50", "efficientnet_b0", "timm/hrnet_w18")


def measure(setting: Setting, name: str) -> dict[str, Any]:
    """Return the row of a host."""
    host = HostConfig(name=name)
    build = partial(build_host, host)
    first = compare(setting, build, lambda: sites_of_graph(trace_anew(host)))
    again = compare(setting, build, partial(find_sites, host))
    return {
        "host": name,
        "sites": len(find_sites(host)),
        "over_build": asdict(first),
        "again_over_build": asdict(again),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", nargs="+", default=list(HOSTS))
    parser.add_argument("--rounds", type=int, default=15, help="ratios per median, at most")
    parser.add_argument("--seconds", type=float, default=20, help="per median; at least 3 rounds are made")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sites.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    setting = Setting(
        device=torch.device("cpu"),
        bf16=False,
        batch_size=1,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        clock=arguments.clock,
    )
    rows = []
    for name in arguments.hosts:
        row = measure(setting, name)
        first, again = row["over_build"], row["again_over_build"]
        print(
            f"{name}: {row['sites']} sites in {first['median']:.2f} [{first['p25']:.2f}, {first['p75']:.2f}] "
            f"of the time to build it ({first['base_ms']:.0f} ms), again in {again['median']:.4f}",
            flush=True,
        )
        rows.append(row)
    found = about(setting) | {"rows": rows}
    for key in ("precision", "memory_format", "batch_size"):
        del found[key]  # Nothing is computed.
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
