"""`nas hosts`: which hosts there are, with figures that are measured once."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from few_hosts import FAILS, GROWS, UNTRACEABLE, with_hosts
from rich.console import Console

from nas.host_figures import HostFigures, measure_host
from search_spaces.hosts import SHORTHANDS, host_names

Run = Callable[..., tuple[int, str, str]]


def test_names_alone_are_printed_one_a_line_and_measure_nothing(run: Run, cached: Path) -> None:
    status, text, errors = run("hosts", "--names")
    assert (status, errors) == (0, "")
    assert text.split("\n")[:-1] == [*host_names(), *SHORTHANDS]
    assert json.loads(run("hosts", "--names", "--json")[1]) == [*host_names(), *SHORTHANDS]
    assert not cached.exists()


def test_a_pattern_is_a_glob_or_a_part_of_a_name(run: Run) -> None:
    assert run("hosts", "resnet[23][02]", "--names")[1].split() == ["resnet20", "resnet32"]
    assert run("hosts", "esnet20", "--names")[1].split() == [name for name in host_names() if "esnet20" in name]


def test_figures_are_measured_once_and_said_so_on_standard_error(run: Run, cached: Path) -> None:
    status, text, errors = run("hosts", "resnet2[0]", "--json")
    assert status == 0
    assert "measuring 1 host," in errors
    (host,) = json.loads(text)
    figures = measure_host("resnet20")
    assert isinstance(figures, HostFigures)
    assert (host["params"], host["macs"], host["sites"]) == (figures.params, figures.macs, figures.sites)
    assert (host["classes"], host["input"], host["stems"], host["has_weights"]) == (10, 32, ["cifar"], False)
    assert len(list(cached.rglob("*.json"))) == 1
    assert run("hosts", "resnet2[0]", "--json") == (0, text, "")


def test_a_host_without_figures_has_its_reason_on_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with_hosts(monkeypatch)
    status, text, _ = run("hosts", "tiny")
    assert status == 0
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("tiny")}
    assert set(lines) == {GROWS, UNTRACEABLE, FAILS}
    assert "division by zero" in lines[FAILS]
    assert "few_hosts.py" in lines[UNTRACEABLE]
    listed = {each["name"]: each for each in json.loads(run("hosts", "tiny", "--json")[1])}
    assert listed[FAILS]["params"] is None
    assert "division by zero" in listed[FAILS]["reason"]
    assert listed[GROWS]["params"] > 0


def test_an_interruption_keeps_what_is_measured(run: Run, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> HostFigures:
        if name == "resnet32":
            raise KeyboardInterrupt
        return HostFigures(1, 2, {"conv": 3})

    monkeypatch.setattr("nas.host_figures.measure_host", interrupted)
    status, _, errors = run("hosts", "resnet[23][02]")
    assert status == 130
    assert "1 of 2" in errors
    assert [path.stem for path in cached.rglob("*.json")] == ["resnet20"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_fits_a_terminal_and_says_what_it_leaves_out(
    run: Run, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.cli.host_table.console", lambda: Console(width=width))
    lines = run("hosts", "resnet2[0]")[1].splitlines()
    assert max(map(len, lines[: lines.index("")])) <= width
    header = lines[0].split()
    assert header[:4] == ["host", "parameters", "MACs", "conv"]
    assert ("stems" in header) == (width > 80)
    assert any("No room here for" in line and "stems" in line for line in lines) == (width == 80)


def test_detectors_are_hosts_with_the_sites_of_their_pyramid(run: Run) -> None:
    (detector,) = json.loads(run("hosts", "fcos*", "--json")[1])
    assert (detector["name"], detector["classes"], detector["input"]) == ("fcos_resnet50_fpn", 91, 800)
    # Stages 3 to 5 (Tian et al., 2019, section 3.2).
    assert (detector["sites"]["lateral"], detector["sites"]["output"]) == (3, 3)


def test_timm_s_hosts_are_listed_by_their_prefix(run: Run) -> None:
    pytest.importorskip("timm")
    assert run("hosts", "timm/hrnet_w18_*small", "--names")[1].split() == ["timm/hrnet_w18_small"]
    everything = run("hosts", "timm", "--names")[1].split()
    assert "timm/hrnet_w18" in everything
    assert all(name.startswith("timm/") for name in everything)


def test_hosts_stand_under_their_paper_the_small_ones_first(run: Run) -> None:
    lines = run("hosts", "resnet[23][02]")[1].splitlines()
    assert lines[2] == "He et al., 2015, arXiv:1512.03385, section 4.2"
    assert [line.split()[0] for line in lines[3:5]] == ["resnet20", "resnet32"]


def test_a_pattern_without_hosts_is_a_mistake(run: Run) -> None:
    status, text, errors = run("hosts", "resnet21")
    assert (status, text) == (2, "")
    assert "unknown host 'resnet21'" in errors
