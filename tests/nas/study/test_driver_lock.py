"""One driver per study."""

import os
import signal
from pathlib import Path

import pytest
from optuna.study import StudyDirection
from toy_search import fork

from nas.study.driver_lock import LOCK, DriverLock
from nas.study.journal import JOURNAL, open_storage
from search_spaces.errors import InputError


def test_a_second_driver_is_told_who_drives_and_since_when(tmp_path: Path) -> None:
    with DriverLock(tmp_path):
        words = rf"driven by process {os.getpid()} on \S+ since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
        with pytest.raises(InputError, match=words), DriverLock(tmp_path):
            pass
    with DriverLock(tmp_path):
        pass
    assert (tmp_path / LOCK).read_bytes() == b""


def test_a_killed_driver_leaves_no_lock(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    child = fork()
    if not child:
        with DriverLock(tmp_path):
            os.write(tell, b"x")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(InputError, match=f"process {child}"), DriverLock(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with DriverLock(tmp_path):
        pass


def test_a_driver_that_has_not_yet_written_its_name_still_holds_the_lock(tmp_path: Path) -> None:
    with DriverLock(tmp_path):
        (tmp_path / LOCK).write_text("")
        with pytest.raises(InputError, match="another process"), DriverLock(tmp_path):
            pass


def test_the_folder_is_made_and_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), DriverLock(tmp_path / "studies" / "new"):
        raise KeyboardInterrupt
    with DriverLock(tmp_path / "studies" / "new"):
        pass


def test_whoever_is_taken_over_from_finds_out_and_writes_nothing_more(tmp_path: Path) -> None:
    with DriverLock(tmp_path) as first:
        storage = open_storage(tmp_path, first.check)
        study = storage.create_new_study([StudyDirection.MINIMIZE], "s")
        first.check()
        with DriverLock(tmp_path, take_over=True) as second:
            second.check()
            before = (tmp_path / JOURNAL).read_bytes()
            words = f"taken over by process {os.getpid()} on .*writes nothing more"
            for attempt in (first.check, lambda: storage.set_study_user_attr(study, "a", 1)):
                with pytest.raises(InputError, match=words):
                    attempt()
            assert (tmp_path / JOURNAL).read_bytes() == before
            with pytest.raises(InputError, match=r"being driven by .*--take-over"), DriverLock(tmp_path):
                pass
    with DriverLock(tmp_path):
        pass
