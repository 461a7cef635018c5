"""YAML in: numbers as in version 1.2, and mistakes answered by file, line and key. YAML out: read back the same."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator

from search_spaces import InputError
from search_spaces.config import Config
from search_spaces.yaml_files import Document, dump_yaml, parse_yaml, read_yaml, validate


class Inner(Config):
    rate: float = 0.1
    """A number."""
    kind: Literal["sgd", "adam"] = "sgd"
    """A choice."""


class Outer(Config):
    inner: Inner = Inner()
    """A part."""
    parts: list[Inner] = Field(default=[Inner()], min_length=1)
    """Parts."""
    size: int | Literal["auto"] = 3
    """A number or a word."""
    either: str | Inner = "name"
    """A name, or the thing itself."""
    name: str
    """Must be given."""
    flag: bool = False
    """On or off."""
    table: dict[str, Inner] = {}  # noqa: RUF012 (pydantic copies it)
    """By name."""

    @field_validator("name")
    @classmethod
    def _is_short(cls, name: str) -> str:
        if len(name) > 5:
            raise InputError(f"at most 5 letters, got {name!r}")
        return name


def data(text: str) -> Any:
    return parse_yaml(text).data


def read(text: str) -> Outer:
    return validate(Outer, parse_yaml(text, "o.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("60e6", 6e7), ("5.0e+7", 5e7), (".5", 0.5), ("-1.", -1.0), ("3.25", 3.25), ("12", 12),
        ("010", 10), ("-7", -7), ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("1_000", "1_000"), ("12:30", "12:30"), ("2024-01-31", "2024-01-31"),
        ("0x1f", "0x1f"), ("1e", "1e"), ("'1e-3'", "1e-3"), (".inf", float("inf")), ("1.03x host", "1.03x host"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_in_yaml_1_2(text: str, value: Any) -> None:
    assert data(f"key: {text}") == {"key": value}
    assert type(data(f"key: {text}")["key"]) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        "1e3",
        "no",
        "on",
        "null",
        "~",
        "",
        "true",
        "010",
        "12:30",
        "2024-01-31",
        "1_0",
        "a: b",
        "*/branch",
        "x\ny",
        "é",
        1e-5,
        3,
        2.0,
    ],
)
def test_what_is_written_is_read_back(value: Any) -> None:
    written = {"key": value, "list": [value, {"inner": {"deep": value}}], "{": [], "empty": {}}
    again = data(dump_yaml(written))
    assert again == written
    assert type(again["key"]) is type(value)
    assert list(again) == list(written)


def test_the_innermost_mappings_are_written_in_one_line() -> None:
    assert dump_yaml({"a": {"b": {"module": "se", "reduction": 4}}}) == "a:\n  b: {module: se, reduction: 4}\n"


def test_anchors_and_merges_are_read_with_later_keys_winning() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  y: 3\nc: *b\n"
    assert data(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 3}}


def test_each_key_knows_its_line() -> None:
    document = parse_yaml("a:\n  - b: 1\n    c: 2\n  - {d: 3}\n", "x.yaml")
    assert document.lines[("a", 0, "c")] == 3
    assert document.lines[("a", 1, "d")] == 4
    assert str(document.error(("a", 0, "c"), "wrong")) == "x.yaml, line 3: a[0].c: wrong"
    # What is missing is reported where it should be.
    assert str(document.error(("a", 1, "e", "f"), "wrong")) == "x.yaml, line 4: a[1].e.f: wrong"


def test_a_part_of_a_document_keeps_its_lines_and_its_keys() -> None:
    part = parse_yaml("name: x\ninner:\n  rate: fast\n", "o.yaml").child("inner")
    with pytest.raises(InputError, match=r"^o.yaml, line 3: inner.rate: must be a number, got 'fast'"):
        validate(Inner, part)


def test_data_that_no_file_holds_is_reported_without_lines() -> None:
    with pytest.raises(InputError, match=r"^from Python: inner.rate: must be a number, got 'fast'$"):
        validate(Outer, Document({"name": "x", "inner": {"rate": "fast"}}, "from Python"))


def test_a_valid_document_is_typed() -> None:
    outer = read("name: no\ninner: {rate: 1e-3, kind: adam}\nsize: auto\nparts: [{rate: 2}]\neither: {rate: 3}")
    assert (outer.name, outer.inner, outer.size) == ("no", Inner(rate=1e-3, kind="adam"), "auto")
    assert outer.parts == [Inner(rate=2.0)]
    assert outer.either == Inner(rate=3.0)


MISTAKES = {
    "nothing": ("", "o.yaml: expected keys (inner, parts, size, either, name, flag, table), got nothing"),
    "a comment": ("# nothing\n", "o.yaml: expected keys"),
    "a list": (
        "\n- 1\n- 2",
        "o.yaml, line 2: expected keys (inner, parts, size, either, name, flag, table), got [1, 2]",
    ),
    "text": ("name", "o.yaml, line 1: expected keys"),
    "a missing key": ("\ninner: {}", "o.yaml, line 2: the key 'name' is missing"),
    "an unknown key": (
        "name: x\nflog: true",
        "line 2: flog: unknown key; allowed: either, flag, inner, name, parts, size, table; did you mean 'flag'?",
    ),
    "an unknown key inside": (
        "name: x\ninner:\n  rat: 1",
        "o.yaml, line 3: inner.rat: unknown key; allowed: kind, rate; did you",
    ),
    "an unknown key in a list": (
        "name: x\nparts:\n- rate: 1\n- {rote: 2}",
        "o.yaml, line 4: parts[1].rote: unknown key",
    ),
    "an unknown key by name": ("name: x\ntable:\n  'a[1]': {rote: 2}", "o.yaml, line 3: table.a[1].rote: unknown key"),
    "a duplicate key": (
        "name: x\ninner:\n  rate: 1\n  kind: sgd\n  rate: 2",
        "o.yaml, line 5: inner: duplicate key 'rate', first given on line 3",
    ),
    "a number for text": ("name: 3", "o.yaml, line 1: name: must be text, got 3"),
    "text for a number": ("name: x\ninner: {rate: fast}", "o.yaml, line 2: inner.rate: must be a number, got 'fast'"),
    "text for a switch": ("name: x\nflag: yes", "o.yaml, line 2: flag: must be true or false, got 'yes'"),
    "a number without end": ("name: x\ninner: {rate: .inf}", "o.yaml, line 2: inner.rate: must be a number, got inf"),
    "a choice": (
        "name: x\ninner: {kind: sdg}",
        "line 2: inner.kind: must be 'sgd' or 'adam', got 'sdg'; did you mean 'sgd'?",
    ),
    "a union": ("name: x\nsize: 2.5", "o.yaml, line 2: size: must be a whole number or 'auto', got 2.5"),
    "a union of a part": (
        "name: x\neither:\n  rate: fast",
        "o.yaml, line 3: either.rate: must be a number, got 'fast'",
    ),
    "a list for a part": (
        "name: x\ninner: [1]",
        "o.yaml, line 2: inner: must be keys with values (allowed: kind, rate), got [1]",
    ),
    "a part for a list": ("name: x\nparts: {rate: 1}", "o.yaml, line 2: parts: must be a list, got {'rate': 1}"),
    "an empty list": ("name: x\nparts: []", "o.yaml, line 2: parts: must not be empty, got []"),
    "nothing for a part": (
        "name: x\ninner:",
        "o.yaml, line 2: inner: must be keys with values (allowed: kind, rate), got nothing",
    ),
    "a check of our own": ("name: too long", "o.yaml, line 1: name: at most 5 letters, got 'too long'"),
    "a number for a key": (
        "name: x\ntable: {3: {rate: 1}}",
        "o.yaml, line 2: table[3]: must be a key that is text, got 3",
    ),
    "a long value": (
        f"name: x\ninner: {{rate: {'a' * 500}}}",
        "o.yaml, line 2: inner.rate: must be a number, got 'aaa",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_short_line_with_file_line_and_key(mistake: str) -> None:
    text, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=r"^o.yaml") as error:
        read(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 160


def test_of_many_mistakes_the_first_five_are_told() -> None:
    text = "\n".join(f"key{i}: 1" for i in range(8))
    with pytest.raises(InputError, match="line 1: the key 'name' is missing") as error:
        read(text)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines[:5]] == [f"o.yaml, line {i}" for i in (1, 1, 2, 3, 4)]
    assert lines[5:] == ["... and 4 more mistakes"]


NOT_YAML = {
    "a tab": (
        "name:\n\tx: 1",
        "line 2: not valid YAML: found character '\\t' that cannot start any token; indent with spaces",
    ),
    "an open brace": (
        "name: {a: 1\nsize: 3",
        "line 2: not valid YAML: expected ',' or '}', but got ':' (in what begins on line 1)",
    ),
    "a selector without quotes": (
        "a:\n  */branch: {}",
        "line 2: not valid YAML: expected alphabetic or numeric character, but found "
        "'/'; a selector that begins with * needs quotes: \"*/branch\"",
    ),
    "an unknown alias": (
        "a: *branch",
        "line 1: not valid YAML: found undefined alias 'branch'; a selector that begins with *",
    ),
    "two colons": ("a: b: c", "line 1: not valid YAML: mapping values are not allowed here"),
    "a quote that never ends": ("a: 'b\n", "not valid YAML: found unexpected end of stream"),
    "two documents": ("a: 1\n---\nb: 2", "line 2: not valid YAML: but found another document"),
    "a character that is none": ("a: 1\nb: \x00", "line 2: not valid YAML: the character '\\x00' is not allowed"),
    "an alias to itself": ("a:\n  b: &b [*b]", "line 2: nested too deeply (does an alias refer to itself?)"),
    "an alias to itself twice": ("a:\n  b: &b [*b, *b]", "line 2: nested too deeply"),
    "aliases of aliases": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "\n".join(f"{y}: &{y} [{', '.join([f'*{x}'] * 10)}]" for x, y in zip("abcdefg", "bcdefgh", strict=True)),
        "nested too deeply",
    ),
    "brackets without end": ("[" * 5000, "o.yaml: nested too deeply"),
    "a key that is a list": ("a:\n  ? [b]\n  : 1", "line 2: a: a key must be a word, got a list or a mapping"),
    "a key that is a switch": ("a:\n  true: 1", "line 2: a: a key must be a word, got 'true'"),
    "a key that is a fraction": ("1.5: 1", "line 1: a key must be a word, got '1.5'"),
    "a tag that does not hold": ("a: !!int b", "line 1: 'b' is no int"),
    "a tag that runs code": (
        "a: !!python/object/apply:os.system [ls]\nb: !!python/name:os.system",
        "not valid YAML: could not",
    ),
    "a number of many digits": ("a: " + "9" * 5000, "line 1: '9999999999999999999999999999999999999999' is no int"),
    "a duplicate at the top": ("a: 1\na: 2", "line 2: duplicate key 'a', first given on line 1"),
}


@pytest.mark.parametrize("mistake", NOT_YAML)
def test_what_is_no_yaml_is_answered_with_its_line(mistake: str) -> None:
    text, message = NOT_YAML[mistake]
    with pytest.raises(InputError, match=r"^o.yaml") as error:
        parse_yaml(text, "o.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 180


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.yaml: no such file$"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"cannot be read: Is a directory$"):
        read_yaml(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.yaml: cannot be read: it is not text in UTF-8$"):
        read_yaml(path)


def test_a_file_knows_its_name_and_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "o.yaml"
    path.write_text("\ufeffname: 3\n", encoding="utf-8")
    document = read_yaml(path)
    assert (document.data, document.name, document.folder) == ({"name": 3}, str(path), tmp_path)
