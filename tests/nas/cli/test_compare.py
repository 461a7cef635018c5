"""`nas compare` on real studies."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nas

Run = Callable[..., tuple[int, str, str]]


def test_two_studies_come_out_in_text_and_json(run: Run, finished: nas.Outcome, tmp_path: Path) -> None:
    copy = shutil.copytree(finished.folder, tmp_path / "copy")
    status, output, _ = run("compare", finished.folder, copy, "--out", tmp_path / "comparison")
    assert status == 0
    assert "the same architecture" in output
    assert (tmp_path / "comparison" / "comparison.html").is_file()
    status, output, _ = run("compare", finished.folder, copy, "--out", tmp_path / "comparison", "--json")
    (group,) = json.loads(output)["groups"]
    assert [study["hypervolume_after_common_trials"] for study in group["studies"]] == [
        group["studies"][0]["hypervolume_after_common_trials"]
    ] * 2
    assert group["conditions"]["data"] == "digits"


def test_less_than_two_studies_are_a_mistake(run: Run, finished: nas.Outcome, tmp_path: Path) -> None:
    status, _, errors = run("compare", finished.folder, "--out", tmp_path / "comparison")
    assert status == 2
    assert "two or more different studies" in errors
    assert not (tmp_path / "comparison").exists()
    status, _, errors = run("compare", finished.folder, tmp_path / "nothing")
    assert status == 2
    assert "nothing" in errors
