"""What commands tell people to type."""

import sys
from pathlib import Path

import pytest

from nas.cli.output import program


def test_what_to_type_is_how_the_command_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for called in ("nas/__main__.py", "bin/nas"):
        Path(called).parent.mkdir(exist_ok=True)
        Path(called).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "nas")])
    assert program() == "bin/nas"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "nas" / "__main__.py")])
    assert program() == "python -m nas"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "nas")])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert program() == "nas"
