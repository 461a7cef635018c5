"""The journal outlives drivers that are killed while they write, and readers that look on."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from toy_search import fork

from nas.study.journal import JOURNAL, open_storage, read_storage, read_studies
from search_spaces.errors import InputError


def write_study(folder: Path) -> bytes:
    """Make a study of two attributes, and return the journal."""
    study = optuna.create_study(storage=open_storage(folder), study_name="s")
    study.set_user_attr("first", 1)
    study.set_user_attr("second", 2)
    return (folder / JOURNAL).read_bytes()


def attributes(storage: optuna.storages.BaseStorage) -> dict[str, Any]:
    return storage.get_study_user_attrs(storage.get_study_id_from_name("s"))


def test_a_torn_last_line_is_cut_at_every_byte_and_writing_goes_on(tmp_path: Path) -> None:
    whole = write_study(tmp_path)
    start = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for end in range(start, len(whole)):
        (tmp_path / JOURNAL).write_bytes(whole[:end])
        storage = open_storage(tmp_path)
        assert (tmp_path / JOURNAL).read_bytes() == whole[:start]
        optuna.load_study(study_name="s", storage=storage).set_user_attr("third", 3)
        assert attributes(open_storage(tmp_path)) == {"first": 1, "third": 3}


def test_a_last_line_that_is_not_json_is_cut_though_it_has_an_end(tmp_path: Path) -> None:
    whole = write_study(tmp_path)
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code": 2, "wor\n')
    open_storage(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == whole


def test_damage_before_the_last_line_is_said_and_nothing_is_changed(tmp_path: Path) -> None:
    lines = write_study(tmp_path).splitlines(keepends=True)
    lines[1] = b"damaged\n"
    (tmp_path / JOURNAL).write_bytes(b"".join(lines))
    for open_it in (open_storage, read_storage):
        with pytest.raises(InputError, match="damaged before its last line"):
            open_it(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == b"".join(lines)


def test_a_reader_sees_the_whole_lines_and_leaves_a_torn_one_alone(tmp_path: Path) -> None:
    whole = write_study(tmp_path)
    torn = whole[:-5]
    (tmp_path / JOURNAL).write_bytes(torn)
    reader = read_storage(tmp_path)
    assert attributes(reader) == {"first": 1}
    assert (tmp_path / JOURNAL).read_bytes() == torn
    (tmp_path / JOURNAL).write_bytes(whole)  # the writer has come to its end
    assert attributes(reader) == {"first": 1, "second": 2}
    assert sorted(file.name for file in tmp_path.iterdir()) == [JOURNAL]


def test_a_reader_may_not_write_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no {JOURNAL}"):
        read_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []
    write_study(tmp_path)
    with pytest.raises(NotImplementedError, match="reading only"):
        optuna.load_study(study_name="s", storage=read_storage(tmp_path)).set_user_attr("third", 3)


def test_a_write_that_fails_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_study(tmp_path)
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path))

    def disk_is_full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_is_full)
        with pytest.raises(OSError, match="No space left"):
            study.set_user_attr("third", 3)
    assert (tmp_path / JOURNAL).read_bytes() == whole
    study.set_user_attr("fourth", 4)
    assert attributes(open_storage(tmp_path)) == {"first": 1, "second": 2, "fourth": 4}


def test_a_process_killed_while_it_holds_the_lock_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path))
    child = fork()
    if not child:
        monkeypatch.setattr(os, "fsync", lambda _descriptor: os.kill(os.getpid(), signal.SIGKILL))
        study.set_user_attr("third", 3)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    signal.alarm(10)  # Optuna's own lock waits 30 s
    study.set_user_attr("fourth", 4)
    signal.alarm(0)
    assert attributes(study._storage) == {"first": 1, "second": 2, "third": 3, "fourth": 4}


def test_what_is_written_is_read_to_the_bit_also_what_strict_json_does_not_know(tmp_path: Path) -> None:
    numbers = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 2**53 + 1, 2**64 - 1, -(2**63), math.inf, -math.inf]
    study = optuna.create_study(storage=open_storage(tmp_path), study_name="s")
    study.set_user_attr("numbers", numbers)
    study.set_user_attr("mixed", {"nan": [math.nan], "text": "\ud800 é"})
    read = attributes(read_storage(tmp_path))
    assert [(type(n), repr(n)) for n in read["numbers"]] == [(type(n), repr(n)) for n in numbers]
    assert repr(read["mixed"]) == repr({"nan": [math.nan], "text": "\ud800 é"})


def test_a_reader_reads_on_from_where_it_was_and_from_the_start_when_asked_again(tmp_path: Path) -> None:
    write_study(tmp_path)
    journal = read_storage(tmp_path)._backend
    assert [log["op_code"] for log in journal.read_logs(0)] == [0, 2, 2]
    optuna.load_study(study_name="s", storage=open_storage(tmp_path)).set_user_attr("third", 3)
    assert [log["user_attr"] for log in journal.read_logs(3)] == [{"third": 3}]
    assert [log.get("user_attr") for log in journal.read_logs(1)] == [{"first": 1}, {"second": 2}, {"third": 3}]
    assert list(journal.read_logs(4)) == []


def test_a_torn_line_longer_than_any_block_is_cut_too(tmp_path: Path) -> None:
    whole = write_study(tmp_path)
    long = b'{"op_code":2,"text":"' + b"x" * 3_000_000
    (tmp_path / JOURNAL).write_bytes(whole + long)
    open_storage(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == whole
    (tmp_path / JOURNAL).write_bytes(long)
    open_storage(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == b""


def test_what_studies_say_of_themselves_is_read_without_their_trials(tmp_path: Path) -> None:
    write_study(tmp_path)
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path))
    study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    study.set_user_attr("third", 3)
    reader = read_studies(tmp_path)
    assert attributes(reader) == {"first": 1, "second": 2, "third": 3}
    assert reader.get_all_trials(study._study_id) == []
    study.set_user_attr("fourth", 4)
    assert attributes(reader)["fourth"] == 4


def test_each_line_is_one_operation(tmp_path: Path) -> None:
    assert [json.loads(line)["op_code"] for line in write_study(tmp_path).splitlines()] == [0, 2, 2]
