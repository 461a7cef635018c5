"""A search over a user's own modules: in workers, when resumed, and in what is exported."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import main
from nas.cli.main import app
from nas.export import export_study
from nas.running.progress import Watcher
from nas.running.work import Task, run_task
from search_spaces import Architecture, InputError, load_plugins, plugins
from search_spaces.attention import registry
from search_spaces.plugins import plugins_of

GATE = '''
import torch
from torch import nn

from search_spaces.attention import register
from searched_helper import START


@register("searched", kind="gate", paper="nobody")
class Searched(nn.Module):
    """Weigh each channel by a learned number."""

    def __init__(self, channels: int, *, size: int = 1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, size, 1), START))

    def forward(self, x):
        return x * self.scale.mean(1, keepdim=True)
'''
PACKAGED = '''
from torch import nn


class Packaged(nn.Module):
    """A 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return self.conv(x)
'''
EXPERIMENT = """
space:
  host: {name: resnet20, classes: 10, input: 8, channels: 1}
  choices:
    - at: "layer3/../*"
      per: host
      modules: {none: {}, searched: {size: [1, 2]}, "packed.gates:Packaged": {}}
data: {source: digits, validation: 100, training: 200}
train: {epochs: 1, batch_size: 50, lr: 0.1, warmup: 0.5}
objectives: [accuracy, params]
search: {sampler: random, trials: 1, seed: 3, workers: 2, random_baselines: 0}
confirm: {top: 0}
""".replace("layer3/../*", "layer3.*/branch")


def forget(patch: pytest.MonkeyPatch) -> None:
    """Make this process one that has loaded no plugin yet."""
    patch.setattr(plugins, "_LOADED", {})
    shipped = {name: entry for name, entry in registry._ENTRIES.items() if "search_spaces" in entry.origin}
    patch.setattr(registry, "_ENTRIES", shipped)
    for name in [name for name in sys.modules if name.split(".")[0] in ("searched_gates", "searched_helper", "packed")]:
        del sys.modules[name]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    forget(monkeypatch)
    yield monkeypatch
    forget(monkeypatch)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of plugins, an experiment and its study, searched by two workers."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "packed").mkdir()
    files = {
        "searched_gates.py": GATE,
        "searched_helper.py": "START = 1.0\n",
        "packed/__init__.py": "",
        "packed/gates.py": PACKAGED,
        "own.yaml": EXPERIMENT,
    }
    for path, text in files.items():
        (folder / path).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        forget(patch)
        load_plugins(["searched_gates.py", "packed"])
        nas.search("own.yaml", device="cpu", watcher=Watcher.quiet())
        forget(patch)
    return folder


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(fresh: pytest.MonkeyPatch, searched: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in the folder, as a process would that has loaded nothing; return status, output, errors."""
    fresh.chdir(searched)

    def run(*arguments: object) -> tuple[int, str, str]:
        forget(fresh)
        fresh.setattr(sys, "argv", ["nas", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


OWN = ("--plugins", "searched_gates.py", "--plugins", "packed")


def test_workers_have_the_plugins(run: Run) -> None:
    status, text, errors = run("status", "studies/own", *OWN)
    assert status == 0, errors
    assert "searched everywhere" in text
    assert "packed.gates:Packaged everywhere" in text
    assert "failed:" not in text


@pytest.mark.parametrize("command", ["status", "report", "export"])
def test_a_study_says_which_plugins_it_needs(run: Run, command: str) -> None:
    status, _, errors = run(command, "studies/own")
    assert status == 2
    assert (
        "studies/own was searched with modules of your own; add --plugins searched_gates.py --plugins packed" in errors
    )
    assert "add --plugins packed" in run(command, "studies/own", "--plugins", "searched_gates.py")[2]


def test_the_option_stands_before_or_after_the_command(run: Run, searched: Path) -> None:
    (searched / "a.yaml").write_text("host: {name: resnet20}\nplacement: {'*/branch': {module: searched}}\n")
    option = ["--plugins", "searched_gates.py"]
    after, before = run("show", "a.yaml", *option), run(*option, "show", "a.yaml")
    assert after == before
    assert "searched(size=1)" in after[1]
    assert "one of your own needs --plugins" in run("show", "a.yaml")[2]


def test_every_command_has_the_option(run: Run) -> None:
    names = [info.name or info.callback.__name__ for info in app.registered_commands if info.callback]
    assert {"search", "status", "report", "export", "show", "cost", "space", "modules"} <= set(names)
    for name in names:
        assert "--plugins" in run(name, "--help")[1], name


def test_modules_of_a_plugin_are_listed(run: Run) -> None:
    assert "searched (gate): Weigh each channel" in run("modules", "--plugins", "searched_gates")[1]


def test_a_search_is_not_resumed_without_its_plugins_or_with_changed_ones(run: Run, searched: Path) -> None:
    status, _, errors = run("search", "own.yaml")
    assert status == 2
    assert "add --plugins searched_gates.py --plugins packed" in errors
    helper = searched / "searched_helper.py"
    helper.write_text("START = 2.0\n")
    try:
        status, _, errors = run("search", "own.yaml", *OWN)
        assert status == 2
        assert "changed since:\n  searched_helper: its SHA-256 was" in errors
        assert "another source of your own modules" in run("export", "studies/own", *OWN)[2]
        assert run("status", "studies/own", *OWN)[0] == 0, "what was measured can be looked at"
    finally:
        helper.write_text("START = 1.0\n")
    status, _, errors = run("search", "own.yaml", *OWN)
    assert status == 0, errors


def test_a_plugin_that_is_gone_is_said_to_be(run: Run, searched: Path) -> None:
    (searched / "searched_gates.py").rename(searched / "moved.py")
    try:
        assert f"no longer there: {searched / 'searched_gates.py'}" in run("status", "studies/own")[2]
    finally:
        (searched / "moved.py").rename(searched / "searched_gates.py")


def pick(view: Any, module: str) -> str:
    """Return the id of a measured network that has the module."""
    return next(
        trial.architecture.id
        for trial in view.search
        if any(spec.module == module for _, specs in trial.architecture.items for spec in specs)
    )


def test_an_export_brings_the_files_of_its_modules(fresh: pytest.MonkeyPatch, searched: Path, tmp_path: Path) -> None:
    fresh.chdir(searched)
    load_plugins(["searched_gates.py", "packed"])
    view = nas.open_study("studies/own")
    out = export_study(view, Path("studies/own"), pick(view, "searched"), tmp_path / "out").folder
    assert {path.name for path in (out / "plugins").iterdir()} == {"searched_gates.py", "searched_helper.py"}
    assert "--plugins plugins/searched_gates.py" in (out / "README.md").read_text()
    away = tmp_path / "away"
    away.mkdir()
    shown = subprocess.run([sys.executable, out / "model.py"], cwd=away, capture_output=True, text=True, check=True)
    assert "tensor" in shown.stdout


def test_an_export_says_which_package_it_needs(fresh: pytest.MonkeyPatch, searched: Path, tmp_path: Path) -> None:
    fresh.chdir(searched)
    load_plugins(["searched_gates.py", "packed"])
    view = nas.open_study("studies/own")
    out = export_study(view, Path("studies/own"), pick(view, "packed.gates:Packaged"), tmp_path / "out").folder
    assert not (out / "plugins").exists()
    assert "package `packed`, which is **not** in this folder" in (out / "README.md").read_text()
    assert 'PLUGINS = ["packed"]' in (out / "model.py").read_text()


def test_a_worker_refuses_a_plugin_that_changed_after_the_search_began(
    fresh: pytest.MonkeyPatch, searched: Path
) -> None:
    fresh.chdir(searched)
    load_plugins(["searched_gates.py"])
    placement = {"*/branch": {"module": "searched"}}
    architecture = Architecture.from_dict({"host": {"name": "resnet20"}, "placement": placement}).to_dict()
    plugin = plugins_of(["searched"])[0].to_dict()
    changed = plugin | {"sources": plugin["sources"] | {"searched_gates": "0" * 64}}
    with pytest.raises(InputError, match=r"the plugin searched_gates.py changed after it was loaded: searched_gates"):
        run_task(Task(architecture, {}, 0, folder=".", weights="weights", plugins=(changed,)), lambda _: None)


def test_a_module_that_workers_cannot_find_is_refused_before_anything_is_written(
    fresh: pytest.MonkeyPatch, searched: Path, tmp_path: Path
) -> None:
    fresh.chdir(searched)
    load_plugins(["searched_gates.py", "packed"])
    registry.entry("packed.gates:Packaged")
    fresh.setattr(plugins, "_LOADED", {"packed": plugins._LOADED["packed"]})
    with pytest.raises(
        InputError, match=r"the module searched was registered by searched_gates, which other processes"
    ):
        nas.search("own.yaml", tmp_path / "study", watcher=Watcher.quiet())
    assert not (tmp_path / "study").exists()
