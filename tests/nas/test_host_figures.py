"""Figures of hosts: what they say, and what is kept of them between runs."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from few_hosts import FAILS, GROWS, UNTRACEABLE, with_hosts

from nas.host_figures import FiguresCache, HostFigures, NoFigures, cache_folder, measure_host, measure_hosts
from search_spaces import HostConfig, find_sites
from search_spaces.cost import host_cost

FIGURES = HostFigures(params=10, macs=20, sites={"conv": 3, "out": 1})


@pytest.fixture
def cache(tmp_path: Path) -> FiguresCache:
    return FiguresCache(tmp_path / "kept")


def test_the_figures_are_those_of_the_host_with_its_defaults() -> None:
    sites, cost = find_sites("resnet20"), host_cost(HostConfig(name="resnet20"))
    expected = HostFigures(cost.params, cost.macs, dict(Counter(site.place_kind for site in sites)))
    assert measure_host("resnet20") == expected


def test_a_host_that_cannot_be_traced_has_a_reason_and_does_not_keep_others_from_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_hosts(monkeypatch)
    measured = dict(measure_hosts([UNTRACEABLE, FAILS, GROWS]))
    untraceable, fails = measured[UNTRACEABLE], measured[FAILS]
    assert isinstance(untraceable, NoFigures)
    assert untraceable.lasting
    assert fails == NoFigures("ZeroDivisionError: division by zero", lasting=False)
    assert isinstance(measured[GROWS], HostFigures)


def test_worker_processes_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.host_figures._FEW", 1)
    names = ["resnet20", "resnet32"]
    assert dict(measure_hosts(names, cores=2)) == {name: measure_host(name) for name in names}


@pytest.mark.parametrize("measured", [FIGURES, NoFigures("it cannot be traced: line 3 of x.py")])
def test_what_is_kept_is_found_again(cache: FiguresCache, measured: HostFigures | NoFigures) -> None:
    assert cache.get("timm/one") is None
    cache.put("timm/one", measured)
    assert cache.get("timm/one") == measured
    assert cache.get("timm/two") is None
    assert [path.suffix for path in cache.folder.iterdir()] == [".json"]


def test_a_failure_that_need_not_last_is_not_kept(cache: FiguresCache) -> None:
    cache.put("one", NoFigures("its worker process was killed by SIGKILL", lasting=False))
    assert cache.get("one") is None


def test_what_other_sources_or_versions_gave_is_not_found(cache: FiguresCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("one", FIGURES)
    monkeypatch.setattr("nas.host_figures._sources", lambda: "others")
    assert cache.get("one") is None
    here = FiguresCache().folder
    monkeypatch.setattr("nas.host_figures._version", lambda _package: "0.0.1")
    assert FiguresCache().folder != here


@pytest.mark.parametrize("broken", ["", "{", "[]", "7", '{"sources": 1}', "\x00\xff"])
def test_a_broken_file_is_ignored_and_written_anew(cache: FiguresCache, broken: str) -> None:
    cache.put("one", FIGURES)
    (path,) = cache.folder.iterdir()
    path.write_bytes(broken.encode("latin-1"))
    assert cache.get("one") is None
    cache.put("one", FIGURES)
    assert cache.get("one") == FIGURES


@pytest.mark.parametrize("change", [{"params": "many"}, {"sites": None}, {"sites": [1]}, {"macs": None}])
def test_a_file_with_other_figures_than_numbers_is_ignored(cache: FiguresCache, change: dict[str, object]) -> None:
    cache.put("one", FIGURES)
    (path,) = cache.folder.iterdir()
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"measured": kept["measured"] | change}))
    assert cache.get("one") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = FiguresCache(tmp_path / "file" / "kept")
    cache.put("one", FIGURES)
    assert cache.get("one") is None


def test_the_folder_is_in_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    # The specification: a relative path is to be ignored.
    for given in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder().parent == tmp_path / ".cache"
    assert os.sep not in FiguresCache().folder.name
