"""Our storages beside Optuna's own, on the same data: opening a long journal, and creating a trial in a database.

- *journal*: CPU time to replay a study as `overhead.py` fills it, by Optuna's `JournalStorage`, by ours with Python's
  parser of JSON, and by ours; in turns.
- *databases*: the time to create one trial with all its parameters, by Optuna's `RDBStorage` and by ours; in turns.

    python benchmarks/storages.py [--postgresql URL]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from overhead import OBJECTIVES, fill, no_fsync

import nas.study.journal
from nas.experiment import load_space
from nas.proposals.parameters import ByKnob
from nas.study.address import DatabaseAddress, parse_address
from nas.study.database import open_database
from nas.study.home import SEARCH
from nas.study.journal import JOURNAL, open_storage, read_storage
from nas.study.json_values import parsed
from nas.study.ledger import Ledger
from search_spaces import SearchSpace

RESULTS = Path(__file__).parent / "results" / "storages.json"


def cpu_s(act: Callable[[], Any]) -> float:
    began = time.process_time()
    kept = act()
    taken = time.process_time() - began
    del kept
    return taken


def replay(space: SearchSpace, trials: int, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        storage = open_storage(folder)
        Ledger.open(storage, SEARCH, OBJECTIVES)
        with no_fsync(True):
            fill(storage, storage.get_study_id_from_name(SEARCH), space, trials)
        del storage

        def with_pythons_parser() -> Any:
            nas.study.journal.parsed = json.loads
            try:
                return read_storage(folder)
            finally:
                nas.study.journal.parsed = parsed

        ways: dict[str, Callable[[], Any]] = {
            "optuna": lambda: JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            "ours_with_json": with_pythons_parser,
            "ours": lambda: read_storage(folder),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                taken[name].append(cpu_s(way))
        megabytes = (folder / JOURNAL).stat().st_size / 1e6
    shown: dict[str, Any] = {"trials": trials, "journal_MB": round(megabytes, 1), "n": repeats}
    for name, each in taken.items():
        ratio = statistics.median(a / b for a, b in zip(each, taken["optuna"], strict=True))
        span = [round(min(each), 2), round(max(each), 2)]
        shown[name] = {"cpu_s": round(statistics.median(each), 2), "range": span, "of_optuna": round(ratio, 3)}
    return shown


def create(url: str, space: SearchSpace, count: int) -> dict[str, Any]:
    address = parse_address(url)
    assert isinstance(address, DatabaseAddress)
    ours = open_database(address, make=True)
    assert ours is not None
    storages = {"optuna": RDBStorage(address.url.render_as_string(hide_password=False)), "ours": ours}
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    studies = {name: storage.create_new_study(directions, name) for name, storage in storages.items()}
    rng, encoding = np.random.default_rng(1), ByKnob(space)
    taken: dict[str, list[float]] = {name: [] for name in storages}
    num_parameters = []
    for _ in range(count):
        trial = _trial(space, encoding, rng)
        num_parameters.append(len(trial.params))
        for name, storage in storages.items():
            began = time.perf_counter()
            storage.create_new_trial(studies[name], trial)
            taken[name].append(1e3 * (time.perf_counter() - began))
    shown: dict[str, Any] = {"n": count, "median_parameters": statistics.median(num_parameters)}
    for name, each in taken.items():
        ratio = statistics.median(a / b for a, b in zip(each, taken["optuna"], strict=True))
        low, median, high = np.percentile(each, (5, 50, 95))
        shown[name] = {"ms": round(median, 1), "p5_p95": [round(low, 1), round(high, 1)], "of_optuna": round(ratio, 3)}
    return shown


def _trial(space: SearchSpace, encoding: ByKnob, rng: np.random.Generator) -> FrozenTrial:
    params, distributions = encoding.encode(space.sample_indices(rng))
    return create_trial(state=TrialState.WAITING, params=params, distributions=distributions, user_attrs={"seed": 0})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=3000, help="of the journal")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--created", type=int, default=60, help="trials in each database")
    parser.add_argument("--postgresql", metavar="URL", help="an empty database; without it, none is measured")
    parser.add_argument("--space", default="resnet20-gates")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    space = load_space(given.space)
    facts: dict[str, Any] = {
        "command": " ".join(["python", *("URL" if "://" in word else word for word in sys.argv)]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("optuna", "orjson", "sqlalchemy", "psycopg")},
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "journal": replay(space, given.trials, given.repeats),
    }
    with tempfile.TemporaryDirectory() as scratch:
        facts["sqlite"] = create(f"sqlite:///{scratch}/study.db", space, given.created)
    if given.postgresql:
        facts["postgresql"] = create(given.postgresql, space, given.created)
    print(json.dumps(facts, indent=2))
    given.out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
