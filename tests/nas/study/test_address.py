"""What names a study, and that no password is ever shown."""

from pathlib import Path

import pytest

from nas.study.address import DatabaseAddress, parse_address, without_passwords
from nas.study.home import FolderHome, find_study, place_study
from search_spaces.errors import InputError


def database(text: str) -> DatabaseAddress:
    address = parse_address(text)
    assert isinstance(address, DatabaseAddress)
    return address


def test_what_is_no_url_is_a_folder() -> None:
    assert parse_address("studies/a") == parse_address(Path("studies/a")) == Path("studies/a")


@pytest.mark.parametrize(
    ("text", "driver", "name"),
    [
        ("sqlite:///a/b.db", "sqlite", None),
        ("postgresql://me@host/db#quick", "postgresql+psycopg", "quick"),
        ("postgresql+psycopg://me@host/db", "postgresql+psycopg", None),
        ("mysql://me@host:3307/db#a b", "mysql+pymysql", "a b"),
        ("mysql+pymysql://me@host/db", "mysql+pymysql", None),
    ],
)
def test_a_url_names_a_database_and_perhaps_a_study_in_it(text: str, driver: str, name: str | None) -> None:
    assert (database(text).url.drivername, database(text).name) == (driver, name)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("redis://host/0", "redis://... names no study; known: a folder, sqlite"),
        ("postgresql://host", "names no database"),
        ("postgresql://host/db#", "name behind # must not be empty"),
        ("postgresql://host/db#a/b", "must not be empty nor hold /"),
        ("postgresql://me:secret@host:port/db", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_answered_without_its_password(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what.replace(".", r"\.")) as error:
        parse_address(text)
    assert "secret" not in str(error.value)


def test_what_is_shown_has_no_password_and_names_the_same_database() -> None:
    address = database("postgresql://me:se%26cret@host/db?password=secret&sslmode=require")
    assert address.shown == "postgresql://me@host/db?sslmode=require"
    assert address.url.password == "se&cret"
    assert database(address.shown).url.set(query={}).host == "host"


def test_a_command_line_is_kept_without_passwords() -> None:
    typed = ["search", "a.yaml", "--study", "mysql://me:secret@h/db#x", "--study=postgresql://me:secret@h/db", "-x=1"]
    kept = ["search", "a.yaml", "--study", "mysql://me@h/db#x", "--study=postgresql://me@h/db", "-x=1"]
    assert without_passwords(typed) == kept


def test_the_study_s_name_is_the_experiment_s_unless_the_url_has_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    assert place_study(url, "quick").shown == f"{url}#quick"
    assert place_study(f"{url}#other", "quick").optuna_name("search") == "other/search"
    assert place_study(url, "quick").folder == Path("studies/quick")
    assert place_study(None, "quick").shown == "studies/quick"
    assert not (tmp_path / "studies.db").exists()


def test_a_folder_for_files_is_for_databases(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--folder is for a study in a database"):
        place_study(tmp_path, "quick", tmp_path)
    assert isinstance(find_study(tmp_path), FolderHome)
