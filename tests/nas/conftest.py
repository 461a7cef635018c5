"""What the tests of `nas` share: `toy_search` and `pool_tasks` can be imported beside them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import nas
from nas.cli import main
from nas.running.progress import Watcher

sys.path.insert(0, str(Path(__file__).parent))

Run = Callable[..., tuple[int, str, str]]

if TYPE_CHECKING:
    from toy_search import Toy

EXPERIMENT = """
description: a search of seconds
space:
  host: {name: resnet20, classes: 10, input: 8, channels: 1}
  choices:
    - at: "layer3.*/branch"
      per: block
      modules: {none: {}, se: {reduction: [8, 16]}, ba: {reduction: 8}}
    - at: "layer1/end"
      modules: {none: {}, bam: {reduction: 4, dilation: [1, 2]}}
data: {source: digits, validation: 100, training: 300}
train: {epochs: 1, batch_size: 50, lr: 0.1, warmup: 0.5}
objectives: [accuracy, macs]
search: {sampler: SAMPLER, trials: 10, seed: 3, workers: 2, random_baselines: 1}
confirm: {top: 2, seeds: 2, epochs: 2, max_controls: 2}
"""


@pytest.fixture(scope="session")
def toy() -> "Toy":
    """A space of 5**3 * 5**2 = 3,125 architectures, and what drives a search through it."""
    from toy_search import BAMS, GATES, Toy

    gates = {"at": "*/branch", "per": "stage", "modules": GATES}
    return Toy(Toy.make_space([gates, {"at": "*/end", "modules": BAMS}]))


@pytest.fixture(scope="session")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real experiment of seconds for each sampler that learns and one that does not."""
    folder = tmp_path_factory.mktemp("experiments")
    for sampler in ("nsga2", "random"):
        (folder / f"{sampler}.yaml").write_text(EXPERIMENT.replace("SAMPLER", sampler))
    return folder


@pytest.fixture(scope="session")
def finished(experiments: Path, tmp_path_factory: pytest.TempPathFactory) -> nas.Outcome:
    """A real NSGA-II search on digits, run to its end by two workers."""
    study = tmp_path_factory.mktemp("studies") / "nsga2"
    return nas.search(str(experiments / "nsga2.yaml"), study, device="cpu", watcher=Watcher.quiet())


@pytest.fixture(scope="session")
def deterministic(experiments: Path) -> Path:
    """The experiment of `finished`, as reproducible on a cluster as in the local pool."""
    path = experiments / "deterministic.yaml"
    text = (experiments / "nsga2.yaml").read_text()
    path.write_text(text.replace("search: {sampler", "search: {deterministic: true, sampler"))
    return path


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder of this test."""
    folder = tmp_path / "user-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cached: Path) -> Run:
    """Run a command line; return its status, output and errors. The user's caches are those of this test."""
    assert not cached.exists()

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run
