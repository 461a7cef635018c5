"""A real search whose workers, drivers and nodes are killed at random moments, and what must hold all the same.

Short real trainings are searched by `nas search` in processes of its own, which is started again with the same command
whenever it was ended. Meanwhile, at random moments:

- `worker`: a process of the pool, or of a Ray trial, is killed (SIGKILL);
- `driver`: the driver is killed (SIGKILL); `torn`: and half a line appended to the journal;
- `interrupt`: the driver gets Ctrl-C;
- `second`: another driver is started on the same study; `take-over`: with `--take-over`;
- `node`: with Ray, a node of the cluster is taken away without warning and a new one added.

One trial is met by at most two kills of workers or nodes, since the third failure in a row is promised to fail it. At
the end the study itself is asked whether everything holds (`chaos_checks`), and compared with the same search without
faults. Exit code 1: something does not hold.

    python benchmarks/chaos.py [--trials 200] [--minutes 15] [--executor both] [--storage folder]
"""

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from chaos_run import KINDS, Chaos, Found, any_faults

RESULTS = Path(__file__).parent / "results" / "chaos.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="proposals of each search")
    parser.add_argument("--minutes", type=float, default=15.0, help="in all; then a search is left alone to its end")
    parser.add_argument("--seed", type=int, default=0, help="of the search and of what is killed when")
    parser.add_argument("--executor", choices=["local", "ray", "both"], default="both")
    parser.add_argument("--storage", choices=["folder", "sqlite"], default="folder")
    parser.add_argument("--no-compare", action="store_true", help="skip the same search without faults")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that everything is put in order
    executors = ["local", "ray"] if given.executor == "both" else [given.executor]
    found: list[Found] = []
    try:
        for executor in executors:
            print(f"--- {executor}, {given.storage}, {given.trials} trials", flush=True)
            found.append(_run(executor, given, 60 * given.minutes / len(executors)))
            _print(found[-1])
            _write(given.out, found[-1], given)
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing is left running")
    sys.exit(0 if all(invariant.ok for each in found for invariant in each.invariants) else 1)


def _run(executor: str, given: argparse.Namespace, seconds: float) -> Found:
    faults = any_faults(random.Random(f"{given.seed} {executor}"), executor, given.storage)
    with tempfile.TemporaryDirectory(prefix="nas-chaos-") as folder:
        chaos = Chaos(Path(folder), executor, given.storage, given.trials, given.seed, say=_say)
        return chaos.run(faults, seconds, compare=not given.no_compare)


def _say(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {line}", flush=True)


def _print(found: Found) -> None:
    rows = [("invariant", "expected", "found", "ok")]
    rows += [(i.name, i.expected, i.found, "yes" if i.ok else "NO") for i in found.invariants]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for row in rows:
        print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    done = ", ".join(f"{kind} {found.faults[kind]}" for kind in KINDS if found.faults[kind])
    print(
        f"\nfaults: {done or 'none'}; {found.starts} drivers; {found.looks} looks; {found.wall_s:.0f} s\n", flush=True
    )


def _write(out: Path, found: Found, given: argparse.Namespace) -> None:
    """Write a search's row in place of the one of that executor and storage that the file has."""
    rows = json.loads(out.read_text()) if out.is_file() else []
    rows = [row for row in rows if (row["executor"], row["storage"]) != (found.executor, found.storage)]
    command = f"python benchmarks/chaos.py --trials {given.trials} --minutes {given.minutes:g} --seed {given.seed}"
    command += f" --executor {given.executor} --storage {given.storage}{' --no-compare' * given.no_compare}"
    facts = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("optuna", "ray", "torch")},
        },
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
    invariants = [{**asdict(invariant), "ok": invariant.ok} for invariant in found.invariants]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([*rows, {**asdict(found), **facts, "invariants": invariants}], indent=2) + "\n")


if __name__ == "__main__":
    main()
