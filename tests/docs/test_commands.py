"""The commands that the documents print are commands that there are."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from nas.cli.main import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
NAS: Any = typer.main.get_command(app)

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def blocks(path: Path) -> Iterator[str]:
    """Yield the code blocks, fenced or indented."""
    text = path.read_text()
    yield from re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    yield from (re.sub("^    ", "", block, flags=re.M) for block in re.findall(r"(?:^    .*\n)+", text, re.M))


def command_lines(path: Path, program: str) -> list[list[str]]:
    """Return the words of each line of a code block that calls `program`; settings before it are left out."""
    joined = "\n".join(blocks(path)).replace("\\\n", " ")
    lines = re.findall(rf"^(?:[A-Z_]+=\S+ )*({program} .*)$", joined, re.M)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def parse(program: Any, words: list[str]) -> None:
    """Have a program of click, or of typer's own copy of it, parse a command line without running it."""
    name, *rest = words
    assert name in program.commands, f"no command {name}"
    program.commands[name].make_context(name, rest)


@each_document
def test_every_nas_command_of_a_document_is_understood(path: Path) -> None:
    for words in command_lines(path, "nas"):
        parse(NAS, [word.strip("[]") for word in words])


@each_document
def test_every_option_of_nas_in_running_text_is_an_option_of_that_command(path: Path) -> None:
    for span in re.findall(r"(?<!`)`nas ([a-z]+ [^`]*)`", path.read_text()):
        command, *words = span.replace("\\|", " ").replace("[", " ").replace("]", " ").split()
        assert command in NAS.commands, span
        options = {option for parameter in NAS.commands[command].params for option in parameter.opts}
        assert {word.strip(",") for word in words if word.startswith("--")} <= options, span


def test_a_wrong_option_would_be_seen() -> None:
    with pytest.raises(Exception, match=r"No such option.*--executors"):
        parse(NAS, ["search", "quickstart", "--executors", "ray"])


@each_document
def test_every_ray_command_of_a_document_is_understood(path: Path) -> None:
    if not (lines := command_lines(path, "ray")):
        return
    scripts = pytest.importorskip("ray.scripts.scripts")
    for words in lines:
        parse(scripts.cli, words)
