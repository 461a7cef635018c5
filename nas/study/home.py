"""Where a study is: its record in a folder's journal or in a database, and its files in a folder in any case."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from optuna.storages import BaseStorage

from nas.study.address import DatabaseAddress, parse_address
from nas.study.database import Database, open_database
from nas.study.driver_lock import DriverLock
from nas.study.journal import JOURNAL, open_storage, read_storage, read_studies
from nas.study.lease import Lease
from search_spaces.errors import InputError

SEARCH, CONFIRM, RETRAINED = "search", "confirm", "retrained"
"""The names of the Optuna studies in a journal; in a database `<study>/search` and so on."""

FOLDER = "folder"
"""The attribute that says where the files of a study in a database are."""

STUDIES = Path("studies")


@dataclass(frozen=True)
class Driven:
    """A study that this process drives."""

    storage: BaseStorage
    check: Callable[[], None]
    """Raises InputError if another driver has taken over."""


ANALYSIS = "analysis"
"""Within a study's folder: what `nas analyze` wrote."""


class StudyHome(Protocol):
    """Where one study is."""

    @property
    def name(self) -> str:
        """The study's name."""

    @property
    def shown(self) -> str:
        """What commands take to find it again; without a password."""

    @property
    def folder(self) -> Path:
        """Where its weights, checkpoints and report are."""

    def optuna_name(self, part: str) -> str:
        """Return the name in its storage of `SEARCH`, `CONFIRM` or `RETRAINED`."""

    def read(self) -> BaseStorage:
        """Open it for looking on. Raises InputError if there is no study."""

    def facts(self) -> dict[str, Any]:
        """Return what it says of itself; nothing if there is none yet. Raises InputError if it cannot be read."""

    def drive(self, *, take_over: bool) -> "Any":
        """Return a context in which this process drives it, as `Driven`. Raises InputError if another one does."""


def find_study(study: str | Path) -> StudyHome:
    """Return where an existing study is, from a folder or a URL; only the database is looked into.

    Raises:
        InputError: A URL that names no study, or of a database that cannot be read.
    """
    address = parse_address(study)
    if isinstance(address, Path):
        return FolderHome(address)
    return DatabaseHome(address, address.name or _only_study(address))


def place_study(study: str | Path | None, name: str, folder: Path | None = None) -> StudyHome:
    """Return where a study is or will be that an experiment of that name is searched in.

    Args:
        study: a folder or a URL; default `studies/<name>`.
        name: of the experiment; a study in a database is called so unless its URL says otherwise.
        folder: for the files of a study in a database; default where they were, or `studies/<name>`.

    Raises:
        InputError: A URL that cannot be read, or a folder beside a folder.
    """
    address = parse_address(study or STUDIES / name)
    if isinstance(address, DatabaseAddress):
        return DatabaseHome(address, address.name or name, folder)
    if folder is not None:
        raise InputError(f"--folder is for a study in a database; this one is in the folder {address}")
    return FolderHome(address)


class FolderHome:
    """A study whose record is a journal beside its files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name, self.shown = folder, folder.name, str(folder)

    def optuna_name(self, part: str) -> str:
        return part

    def read(self) -> BaseStorage:
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such study; `nas search EXPERIMENT` makes one in studies/<experiment>")
        return read_storage(self.folder)

    def facts(self) -> dict[str, Any]:
        if not (self.folder / JOURNAL).is_file():
            return {}
        return _facts(read_studies(self.folder), SEARCH)

    @contextmanager
    def drive(self, *, take_over: bool) -> Iterator[Driven]:
        with DriverLock(self.folder, take_over=take_over) as lock:
            yield Driven(open_storage(self.folder, lock.check), lock.check)


class DatabaseHome:
    """A study in a database, among others."""

    def __init__(self, address: DatabaseAddress, name: str, folder: Path | None = None) -> None:
        self._address, self.name, self._folder = address, name, folder
        self.shown = f"{address.shown}#{name}"

    @cached_property
    def folder(self) -> Path:
        """Where its files are: as was said, else as the study says, else `studies/<name>`."""
        if self._folder is not None:
            return self._folder
        return Path(self.facts().get(FOLDER, STUDIES / self.name))

    def optuna_name(self, part: str) -> str:
        return f"{self.name}/{part}"

    def read(self) -> BaseStorage:
        database = open_database(self._address, make=False)
        if database is None:
            raise InputError(f"{self._address.shown} holds no studies")
        names = _studies_in(database)
        if self.name not in names:
            raise InputError(f"{self._address.shown} holds no study {self.name!r}; it holds {_listed(names)}")
        return database

    def facts(self) -> dict[str, Any]:
        database = open_database(self._address, make=False)
        return {} if database is None else _facts(database, self.optuna_name(SEARCH))

    @contextmanager
    def drive(self, *, take_over: bool) -> Iterator[Driven]:
        folder = self.folder
        if (folder / JOURNAL).exists():
            raise InputError(f"{folder} holds the files of another study, with a journal; give --folder DIR")
        database = open_database(self._address, make=True)
        assert database is not None
        lease = Lease(database.engine, self.name, self.shown, take_over=take_over)
        with lease, DriverLock(folder, take_over=take_over) as lock:
            database.guard(lease.fence)

            def check() -> None:
                lease.check()
                lock.check()

            yield Driven(database, check)


def _facts(storage: BaseStorage, name: str) -> dict[str, Any]:
    try:
        return dict(storage.get_study_user_attrs(storage.get_study_id_from_name(name)))
    except KeyError:  # there is none yet
        return {}


def _only_study(address: DatabaseAddress) -> str:
    database = open_database(address, make=False)
    names = [] if database is None else _studies_in(database)
    if len(names) != 1:
        raise InputError(f"{address.shown} holds {_listed(names)}; say which one: {address.shown}#NAME")
    return names[0]


def _studies_in(database: Database) -> list[str]:
    ending = f"/{SEARCH}"
    return sorted(name.removesuffix(ending) for name in database.study_names() if name.endswith(ending))


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "no studies"
