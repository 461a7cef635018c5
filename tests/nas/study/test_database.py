"""A study in a database: the same ledger, through a server that is stopped, and under a lease."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from postgresql_server import Server
from toy_search import Toy

import nas
from nas.study.address import DatabaseAddress, parse_address
from nas.study.database import MOST_BYTES_ON_MYSQL, Database, open_database
from nas.study.home import find_study, place_study
from nas.study.lease import LEASES, Lease
from nas.study.ledger import Ledger
from search_spaces.errors import InputError

Run = Callable[..., tuple[int, str, str]]


def _open_the_way(folder: Path) -> None:
    """Let another user, whose the server is, come to the folder."""
    for parent in folder.parents[:3]:
        parent.chmod(0o755)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("postgresql")
    _open_the_way(folder)
    running = Server(folder)
    yield running
    _open_the_way(folder)  # pytest may have closed it since
    running.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a study of this test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db#{tmp_path.name}"
    return f"{request.getfixturevalue('server').url()}#{tmp_path.name}"


def open_toy(url: str, folder: Path) -> tuple[Ledger, Database]:
    """Open the search without a lease."""
    home, address = place_study(url, "toy", folder), parse_address(url)
    assert isinstance(address, DatabaseAddress)
    database = open_database(address, make=True)
    assert database is not None
    return Ledger.open(database, home.optuna_name("search"), ("accuracy", "macs")), database


def test_a_search_in_a_database_is_the_search_in_a_journal(toy: Toy, tmp_path: Path, url: str) -> None:
    plan = toy.plan("nsga2", 20, rungs=(1, 3))
    whole = toy.drive(tmp_path / "whole", plan, workers=3)
    ledger = toy.drive_in(open_toy(url, tmp_path)[0], tmp_path, plan, workers=3)
    assert toy.story(ledger) == toy.story(whole)
    again, database = open_toy(url, tmp_path)
    assert toy.story(again) == toy.story(whole)
    for kept, read in zip(ledger.trials(), again.trials(), strict=True):
        assert (kept.user_attrs, kept.system_attrs, kept.params) == (read.user_attrs, read.system_attrs, read.params)
        assert kept.distributions == read.distributions
    # What is read by plain queries is what Optuna reads.
    name = place_study(url, "toy").optuna_name("search")
    plain = optuna.load_study(study_name=name, storage=optuna.storages.RDBStorage(database.url))
    assert [t for t in plain.get_trials() if "role" in t.user_attrs] == again.trials()


def test_an_attempt_whose_answer_was_lost_is_not_made_twice(
    toy: Toy, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, database = open_toy(url, tmp_path)
    dialect, num_commits, said = database.engine.dialect, 0, list[str]()
    commit = dialect.do_commit

    def lose_every_other(connection: Any) -> None:
        """Commit, and fail: what was written is there, and the driver does not know."""
        nonlocal num_commits
        commit(connection)
        num_commits += 1
        if num_commits % 2:
            raise dialect.dbapi.OperationalError("server closed the connection unexpectedly")  # type: ignore[union-attr]

    monkeypatch.setattr(dialect, "do_commit", lose_every_other)
    monkeypatch.setattr("nas.study.database._FIRST_PAUSE_S", 0.0)
    database._say = said.append
    plan = toy.plan("nsga2", 10)
    toy.drive_in(ledger, tmp_path, plan)
    monkeypatch.undo()
    assert toy.story(open_toy(url, tmp_path)[0]) == toy.story(toy.drive(tmp_path / "whole", plan))
    assert num_commits >= 100
    assert "does not answer (server closed the connection unexpectedly)" in said[0]


@pytest.mark.server
def test_a_server_that_is_stopped_and_started_again_changes_nothing(
    toy: Toy, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, url = toy.plan("nsga2", 24), f"{server.url()}#stopped"
    whole = toy.drive(tmp_path / "whole", plan, workers=3)
    with place_study(url, "toy", tmp_path).drive(take_over=False) as driven:
        ledger = Ledger.open(driven.storage, "stopped/search", ("accuracy", "macs"), check=driven.check)
        trained = 0

        def stop_now_and_then() -> None:
            nonlocal trained
            trained += 1
            if trained in (5, 14):
                server.stop()
                threading.Timer(0.5, server.start).start()

        toy.drive_in(ledger, tmp_path, plan, workers=3, before_record=stop_now_and_then)
    assert toy.story(ledger) == toy.story(whole)
    assert toy.story(Ledger.load(find_study(url).read(), "stopped/search")) == toy.story(whole)
    assert ledger.counts().complete == 24
    hashes = (tmp_path / "trained").read_text().split()
    assert len(hashes) == len(set(hashes)), "something was trained twice"
    assert capsys.readouterr().err.count("answers again after") == 2


@pytest.mark.server
def test_a_server_that_stays_away_ends_the_search_with_a_message(tmp_path: Path, server: Server) -> None:
    ledger, database = open_toy(f"{server.url()}#away", tmp_path)
    database._patience_s = 0.5
    server.stop()
    try:
        with pytest.raises(InputError, match=r"127.0.0.1:\d+/nas cannot be reached: .*the same command goes on"):
            ledger.set_attribute("a", 1)
    finally:
        server.start()
    ledger.set_attribute("a", 2)


def test_one_driver_at_a_time_which_the_second_is_told(tmp_path: Path, url: str) -> None:
    first, second = (place_study(url, "toy", tmp_path / name) for name in "ab")
    with first.drive(take_over=False):
        words = r"is being driven by process \d+ on \S+ since \S+, last heard of \d+ s ago; .*--take-over"
        with pytest.raises(InputError, match=words) as told, second.drive(take_over=False):
            pass
        assert "se%26cret" not in str(told.value)
    with second.drive(take_over=False):
        pass


def test_who_was_taken_over_from_writes_nothing_more(toy: Toy, tmp_path: Path, url: str) -> None:
    first, second = (place_study(url, "toy", tmp_path / name) for name in "ab")
    name = first.optuna_name("search")
    with first.drive(take_over=False) as losing:
        old = Ledger.open(losing.storage, name, ("accuracy", "macs"), check=losing.check)
        with second.drive(take_over=True) as winning:
            new = Ledger.open(winning.storage, name, ("accuracy", "macs"), check=winning.check)
            assert new.add(toy.bare_host(), label="host", seed=0, epochs=1) == 0
            with pytest.raises(InputError, match=r"taken over by process \d+ .*writes nothing more"):
                old.add(toy.bare_host(), label="host", seed=1, epochs=1)
            with pytest.raises(InputError, match="taken over"):
                old.check_driver()
            with pytest.raises(InputError, match="taken over"):
                old.set_attribute("experiment", {})
            new.set_attribute("mine", True)
        with pytest.raises(InputError, match="taken over"):
            old.check_driver()
    ledger = Ledger.load(find_study(url).read(), name)
    assert len(ledger.trials()) == 1
    assert ledger.attributes == {"objectives": ["accuracy", "macs"], "mine": True}


def test_a_heartbeat_finds_that_the_lease_is_lost(tmp_path: Path, url: str) -> None:
    database = open_toy(url, tmp_path)[1]
    with Lease(database.engine, "s", "the study", beat_s=0.05) as lease:
        lease.check()
        with Lease(database.engine, "s", "the study", take_over=True):
            lease._thread.join(timeout=10)
            with pytest.raises(InputError, match="the study was taken over by process"):
                lease.check()


def test_a_lease_may_be_taken_that_nobody_keeps_alive(tmp_path: Path, url: str) -> None:
    engine = open_toy(url, tmp_path)[1].engine
    with Lease(engine, "s", "the study"), engine.begin() as connection:
        connection.execute(LEASES.update().values(beat_at=LEASES.c.beat_at - 50, machine="another"))
    with Lease(engine, "s", "the study") as abandoned:
        for column in ({"beat_at": LEASES.c.beat_at - 50}, {"beat_at": LEASES.c.beat_at - 20}):
            with pytest.raises(InputError, match="being driven"), Lease(engine, "s", "the study"):
                pass
            with engine.begin() as connection:
                connection.execute(LEASES.update().values(machine="another", **column))
        with Lease(engine, "s", "the study"), pytest.raises(InputError, match="taken over"), engine.connect() as asked:
            abandoned.fence(asked)  # type: ignore[arg-type]
    with Lease(engine, "s", "the study") as dead, engine.begin() as connection:
        connection.execute(LEASES.update().values(process=2**22 + 1))  # no process has such a number
        del dead
    with Lease(engine, "s", "the study"):
        pass


def test_what_mysql_would_cut_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_toy(f"sqlite:///{tmp_path}/a.db", tmp_path)[1]
    database._check_sizes({"record": "x" * MOST_BYTES_ON_MYSQL})
    monkeypatch.setattr(database.engine.dialect, "name", "mysql")
    with pytest.raises(InputError, match=r"'record' takes 65,537 bytes.*LONGTEXT"):
        database._check_sizes({"record": "x" * MOST_BYTES_ON_MYSQL})


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sqlite:////no/such/folder/a.db#x", "cannot be opened: unable to open database file"),
        ("postgresql://nobody@127.0.0.1:1/db", "127.0.0.1:1/db cannot be opened: .*[Cc]onnection refused"),
        ("postgresql+psycopg9://h/db", r"psycopg9: no such database driver"),
        ("mysql+oursql://h/db", "no such database driver|is not installed; pip install"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_message(url: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=what), place_study(url, "toy", tmp_path).drive(take_over=False):
        pass


@pytest.mark.server
def test_a_wrong_password_and_a_missing_database_are_said(server: Server) -> None:
    with pytest.raises(InputError, match="password authentication failed") as error:
        find_study(server.url(password="wr0ng")).read()
    assert "wr0ng" not in str(error.value)
    with pytest.raises(InputError, match='database "none" does not exist'):
        find_study(server.url(database="none")).read()


def test_a_database_with_several_studies_wants_a_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(InputError, match="holds no studies; say which one"):
        find_study(url)
    assert not (tmp_path / "a.db").exists()
    open_toy(f"{url}#one", tmp_path)
    assert find_study(url).name == "one"
    open_toy(f"{url}#two", tmp_path)
    with pytest.raises(InputError, match=r"holds one, two; say which one: .*#NAME"):
        find_study(url)
    with pytest.raises(InputError, match="holds no study 'three'; it holds one, two"):
        find_study(f"{url}#three").read()


def test_a_journal_s_folder_is_not_another_study_s(toy: Toy, tmp_path: Path) -> None:
    toy.open(tmp_path)
    with (
        pytest.raises(InputError, match="holds the files of another study, with a journal; give --folder"),
        place_study(f"sqlite:///{tmp_path}/a.db", "toy", tmp_path).drive(take_over=False),
    ):
        pass


@pytest.mark.server
def test_a_real_search_through_postgresql_from_the_command_line(
    run: Run, server: Server, experiments: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.yaml"
    text = (experiments / "random.yaml").read_text().replace("trials: 10", "trials: 2")
    short.write_text(text.partition("confirm:")[0] + "confirm: {top: 0}\n")
    study, files = f"{server.url()}#real", tmp_path / "files"
    status, out, errors = run("search", short, "--device", "cpu", "--study", study, "--folder", files)
    assert status == 0, errors
    assert (files / "report" / "report.html").is_file()
    status, out, _ = run("status", study, "--json")
    assert json.loads(out)["counts"]["search"]["complete"] == 2 + 5  # the bare host, three modules, a random placement
    assert run("report", study)[0] == 0
    assert run("export", study, "--pick", "0", "--out", tmp_path / "out")[0] == 0
    written = [text for (text,) in server.query("SELECT value_json FROM study_user_attributes")]
    written += [path.read_text() for path in (files / "report").glob("*.html")]
    assert not any("se%26cret" in str(text) or "se&cret" in str(text) for text in written)


@pytest.mark.server
def test_a_whole_search_outlives_its_server_and_can_be_looked_at_meanwhile(
    run: Run, server: Server, experiments: Path, finished: nas.Outcome, tmp_path: Path
) -> None:
    study, files, log = f"{server.url()}#outlived", tmp_path / "files", tmp_path / "errors"
    command = [sys.executable, "-m", "nas", "search", str(experiments / "nsga2.yaml"), "--device", "cpu"]
    with log.open("wb") as errors, subprocess.Popen(
        [*command, "--study", study, "--folder", str(files)], stdout=subprocess.PIPE, stderr=errors
    ) as driver:  # fmt: skip
        assert driver.stdout is not None
        for _ in range(4):
            driver.stdout.readline()
        status, out, problem = run("status", study, "--json")
        assert status == 0, problem
        assert json.loads(out)["counts"]["search"]["complete"] >= 3
        assert run("report", study)[0] == 0
        assert (files / "report" / "report.html").is_file()
        assert driver.poll() is None, "it was to be looked at while it runs"
        server.stop()
        limit = time.monotonic() + 120
        while b"does not answer" not in log.read_bytes() and time.monotonic() < limit:
            time.sleep(0.1)
        server.start()
        driver.communicate(timeout=300)
    assert driver.returncode == 0, log.read_text()
    assert "answers again after" in log.read_text()
    for name in ("search", "confirm"):
        ours, whole = (
            {(t.architecture.hash, t.record.seed, t.record.loss, t.record.test_loss) for t in trials if t.record}
            for trials in (getattr(nas.open_study(study), name), getattr(finished.view, name))
        )
        assert ours == whole
