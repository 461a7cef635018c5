"""What names a study: a folder, or the URL of a database with the study's name behind a `#`; and no password shown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from search_spaces.errors import InputError

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
"""What a URL without a driver means; the extras `postgresql` and `mysql` install these."""

_SECRETS = ("password", "passwd", "sslpassword")
"""Parameters of a URL's query that are as secret as its password."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class DatabaseAddress:
    """A database, and the name of a study in it if one was given."""

    url: URL
    """With its password and the driver that is used."""
    name: str | None

    @property
    def shown(self) -> str:
        """The database's URL as it may be written down."""
        harmless, family = _harmless(self.url), self.url.get_backend_name()
        if harmless.drivername == _DRIVERS[family]:
            harmless = harmless.set(drivername=family)
        return harmless.render_as_string(hide_password=False)


def parse_address(study: str | Path) -> Path | DatabaseAddress:
    """Return the folder or the database that a user's word for a study means.

    Raises:
        InputError: A URL that cannot be read, or of no kind of database that is known here.
    """
    text = str(study)
    if isinstance(study, Path) or not _URL.match(text):
        return Path(study)
    address, marked, name = text.partition("#")
    kind, _, rest = address.partition("://")
    family, _, driver = kind.partition("+")
    if family not in _DRIVERS:
        raise InputError(
            f"{family}://... names no study; known: a folder, sqlite:///FILE, postgresql://USER@HOST/DATABASE, "
            "mysql://USER@HOST/DATABASE, each URL followed by #NAME if it is to hold several studies"
        )
    if marked and not re.fullmatch(r"[^/#\s][^/#]*", name):
        raise InputError(f"a study's name behind # must not be empty nor hold /, got {name!r}")
    try:
        url = make_url(f"{kind if driver else _DRIVERS[family]}://{rest}")
    except (ArgumentError, ValueError) as error:  # of a port that is no number
        raise InputError(
            f"the URL of a study cannot be read ({family}://...): expected {family}://USER:PASSWORD@HOST:PORT/DATABASE#NAME"
            ", with what is special in the password written as %40 and the like"
        ) from error
    if not url.database:
        raise InputError(f"{family}://... names no database; expected {family}://.../DATABASE#NAME")
    return DatabaseAddress(url, name or None)


def without_passwords(arguments: Sequence[str]) -> list[str]:
    """Return a command line's arguments with the passwords taken out of the URLs among them."""
    return [_without_password(argument) for argument in arguments]


def _without_password(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if not _URL.match(value):
        return argument
    address, marked, name = value.partition("#")
    try:
        harmless = _harmless(make_url(address)).render_as_string(hide_password=False)
    except (ArgumentError, ValueError):
        return argument
    return f"{option}{equals}{harmless}{marked}{name}"


def _harmless(url: URL) -> URL:
    kept = {key: value for key, value in url.query.items() if key not in _SECRETS}
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database, kept)
