"""The local pool: what workers say arrives, and none of them can hang or outlive the driver."""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_search import fork

from nas.running.local_pool import Crashed, Done, Event, LocalPool, PoolError, Progress

THREADS = 3

Pool = LocalPool[dict[str, Any], Any]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Two workers for all tests: whatever one does to them, they go on."""
    with Pool(2, "pool_tasks:behave", threads_per_worker=THREADS) as pool:
        yield pool


def drain(pool: LocalPool[Any, Any]) -> list[Event]:
    events: list[Event] = []
    while pool.busy:
        events += pool.wait(60)
    return events


def compute(pool: Pool, **task: Any) -> Any:
    """Return the result of one task."""
    pool.submit(0, task)
    (event,) = drain(pool)
    assert isinstance(event, Done)
    return event.result


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a dead process whose new parent has not looked yet


def test_a_worker_stays_warm(pool: Pool) -> None:
    assert compute(pool, do="pid") == compute(pool, do="pid") != os.getpid()
    assert pool.num_idle == 2


def test_progress_arrives_in_order_and_before_the_result(pool: Pool) -> None:
    pool.submit(7, {"do": "count", "to": 3})
    assert drain(pool) == [Progress(7, 0), Progress(7, 1), Progress(7, 2), Done(7, "counted")]


def test_the_faster_task_comes_back_first(pool: Pool) -> None:
    for key in (0, 1):
        pool.submit(key, {"do": "pid"})
    assert len({event.result for event in drain(pool) if isinstance(event, Done)}) == 2  # both are warm now
    pool.submit(2, {"do": "sleep", "seconds": 1})
    pool.submit(3, {"do": "sleep", "seconds": 0})
    assert pool.num_idle == 0
    assert sorted(pool.busy) == [2, 3]
    assert drain(pool) == [Done(3, "slept"), Done(2, "slept")]


def test_a_wait_ends_after_its_time_and_at_once_without_tasks(pool: Pool) -> None:
    assert pool.wait() == []
    pool.submit(0, {"do": "sleep", "seconds": 0.5})
    assert pool.wait(0.05) == []
    assert drain(pool) == [Done(0, "slept")]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"do": "exit", "code": 3}, "exit code 3"),
        ({"do": "die"}, "SIGKILL"),
        ({"do": "raise"}, "ZeroDivisionError: for the test"),
        ({"do": "unpicklable"}, "pickle"),
    ],
)
def test_a_crash_is_reported_and_the_pool_goes_on(pool: Pool, task: dict[str, object], words: str) -> None:
    pool.submit(5, task)
    *before, crash = drain(pool)
    assert isinstance(crash, Crashed)
    assert crash.key == 5
    assert words in crash.reason
    assert before == ([Progress(5, "dying")] if task["do"] == "die" else [])
    assert compute(pool, do="count", to=0) == "counted"


def test_a_worker_that_says_it_is_broken_ends_with_its_message(pool: Pool) -> None:
    for key in (0, 1):  # both workers
        pool.submit(key, {"do": "pid"})
    pids = {event.result for event in drain(pool) if isinstance(event, Done)}
    pool.submit(5, {"do": "break"})
    assert drain(pool) == [Crashed(5, "the device is gone\nTraceback ...")]
    assert until(lambda: sum(is_alive(pid) for pid in pids) == len(pids) - 1)
    assert compute(pool, do="count", to=0) == "counted"


def test_a_worker_that_dies_idle_is_replaced_without_a_word(pool: Pool) -> None:
    first = compute(pool, do="pid")
    os.kill(first, signal.SIGKILL)
    assert until(lambda: not is_alive(first))
    assert compute(pool, do="pid") != first


def test_workers_ignore_ctrl_c(pool: Pool) -> None:
    assert compute(pool, do="interrupt") == "ignored"


def test_workers_have_the_threads_they_are_given_and_the_driver_keeps_its_own(pool: Pool) -> None:
    assert compute(pool, do="threads") == str(THREADS)
    assert os.environ.get("OMP_NUM_THREADS") != str(THREADS)


def test_a_function_that_cannot_be_imported_is_an_error_and_not_a_wait() -> None:
    pool = LocalPool[int, int](1, "pool_tasks:no_such_function")
    pool.submit(0, 1)
    with pytest.raises(PoolError, match="no attribute 'no_such_function'"):
        pool.wait(60)
    pool.kill()


def test_workers_that_die_while_starting_are_an_error_after_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.running.local_pool._MOST_FAILED_STARTS", 2)
    starts = tmp_path / "starts"
    program = f"import os\nopen({str(starts)!r}, 'a').write('x')\nos._exit(9)\n"
    (tmp_path / "dies_on_import.py").write_text(program)
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = LocalPool[int, int](1, "dies_on_import:f")
    pool.submit(0, 1)
    with pytest.raises(PoolError, match="exit code 9 before they were ready"):
        pool.wait(60)
    assert starts.read_text() == "xx"


def test_a_function_that_workers_cannot_find_is_refused_at_once() -> None:
    def local(task: object, report: object) -> None: ...

    with pytest.raises(ValueError, match="top level of a module"):
        LocalPool(1, local)


def test_ctrl_c_reaches_the_driver_only_and_leaves_no_worker(tmp_path: Path) -> None:
    driver = fork_driver(tmp_path)
    worker = read_worker(tmp_path)
    os.killpg(driver, signal.SIGINT)  # as a terminal does it: to the worker, too
    status = os.waitstatus_to_exitcode(os.waitpid(driver, 0)[1])
    assert status == 130, (tmp_path / "stderr").read_text()
    assert (tmp_path / "stderr").read_text() == ""
    assert until(lambda: not is_alive(worker))


def test_a_killed_driver_leaves_no_worker_even_if_it_computes(tmp_path: Path) -> None:
    driver = fork_driver(tmp_path)
    worker = read_worker(tmp_path)
    os.kill(driver, signal.SIGKILL)
    os.waitpid(driver, 0)
    assert until(lambda: not is_alive(worker))


def fork_driver(folder: Path) -> int:
    """Start a driver with a session of its own and a worker that never ends; return its process id."""
    child = fork()
    if child:
        return child
    try:
        os.setsid()
        os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT), 2)
        with Pool(1, "pool_tasks:behave") as pool:
            pool.submit(0, {"do": "work", "file": str(folder / "worker")})
            pool.wait()
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def read_worker(folder: Path) -> int:
    file = folder / "worker"
    assert until(lambda: file.is_file() and file.read_text() != "")
    return int(file.read_text())
