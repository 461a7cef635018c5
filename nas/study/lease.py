"""One driver per study in a database: a lease in a table of our own, kept alive by a heartbeat.

A row per study says who drives it. To take it is one conditional statement (INSERT of a new row, or UPDATE of the very
row and beat that was seen), so of two that try at once one wins. The holder counts its beats up every `BEAT_S`; a
lease without a beat for `STALE_S`, by the database's own clock, may be taken by anyone, and that of a process of the
same machine that is gone at once.

Advisory locks of PostgreSQL and MySQL would need no heartbeat, but die with the connection: a server that is
restarted would let a second driver in; SQLite has none.

A holder that was taken over from, or that slept for too long, may not know it yet. So every transaction of its storage
reads the lease before it ends (`Lease.fence`, see `nas.study.database`) and is undone if it is another's: what is
written is always written by the holder, whatever the clocks say.
"""

import os
import socket
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy
from sqlalchemy import Column, Double, Engine, Integer, MetaData, String, Table
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from search_spaces.errors import InputError

BEAT_S, STALE_S = 10.0, 60.0

LEASES = Table(
    "nas_drivers",
    MetaData(),
    Column("study", String(512), primary_key=True),
    Column("token", String(36), nullable=False),
    Column("process", Integer, nullable=False),
    Column("host", String(255), nullable=False),
    Column("machine", String(255), nullable=False),
    Column("since", String(32), nullable=False),
    Column("beats", Integer, nullable=False),
    Column("beat_at", Double, nullable=False),
)

_NOW = {
    "postgresql": "extract(epoch from clock_timestamp())",
    "mysql": "unix_timestamp(now(6))",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}
"""The database's own clock, in seconds."""


@dataclass(frozen=True)
class _Held:
    """A lease as it was seen."""

    token: str
    process: int
    host: str
    machine: str
    since: str
    beats: int
    age_s: float
    """Since its last beat, by the database's clock."""

    @property
    def is_over(self) -> bool:
        """Whether its holder has not been heard of for too long, or is a process of this machine that is gone."""
        return self.age_s > STALE_S or (self.machine == _machine() and not _runs(self.process))

    @property
    def in_words(self) -> str:
        return f"process {self.process} on {self.host} since {self.since}"


class Lease:
    """Keep other drivers away from a study in a database for the length of a `with` block.

    Args:
        engine: of the database.
        study: the study's name in the database.
        shown: what to call it in messages.
        take_over: take it from whoever holds it.

    Raises:
        InputError: On entering, another driver holds it; the message says which, since when, and what can be done.
    """

    def __init__(
        self, engine: Engine, study: str, shown: str, *, take_over: bool = False, beat_s: float = BEAT_S
    ) -> None:
        self._engine, self._study, self._shown, self._take_over = engine, study, shown, take_over
        self._beat_s = beat_s
        self._token = str(uuid.uuid4())
        self._now = sqlalchemy.literal_column(_NOW[engine.dialect.name], Double)
        self._lost: str | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)

    def __enter__(self) -> Self:
        LEASES.create(self._engine, checkfirst=True)
        while not self._try():
            pass
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(LEASES.delete().where(self._mine))
        except DBAPIError:  # it is found to be stale, or its process gone
            return

    def check(self) -> None:
        """Raise InputError if the last heartbeat found that another driver has taken over."""
        if self._lost:
            raise InputError(self._lost)

    def fence(self, session: Session) -> None:
        """Raise InputError if another driver has taken over; until the transaction of `session` ends none can."""
        self.check()
        asked = sqlalchemy.select(LEASES.c.token).where(LEASES.c.study == self._study)
        if session.execute(asked.with_for_update(read=True)).scalar() != self._token:
            self._note_loss(self._seen(session))
            self.check()

    @property
    def _mine(self) -> Any:
        return (LEASES.c.study == self._study) & (LEASES.c.token == self._token)

    def _try(self) -> bool:
        """Try once to take the lease; False: it changed hands meanwhile."""
        with self._engine.begin() as connection:
            held = self._seen(connection)
        own = {
            "token": self._token,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "machine": _machine(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "beats": 0,
            "beat_at": self._now,
        }
        if held is None:
            try:
                with self._engine.begin() as connection:
                    connection.execute(LEASES.insert().values(study=self._study, **own))
            except IntegrityError:
                return False
            return True
        if not (self._take_over or held.is_over):
            raise InputError(
                f"{self._shown} is being driven by {held.in_words}, last heard of {max(0.0, held.age_s):.0f} s ago; "
                f"one driver per study. If it is gone, wait until that is {STALE_S:.0f} s; --take-over ends it "
                "where it is"
            )
        seen = (LEASES.c.study == self._study) & (LEASES.c.token == held.token)
        if not self._take_over:
            seen &= LEASES.c.beats == held.beats
        with self._engine.begin() as connection:
            return connection.execute(LEASES.update().where(seen).values(**own)).rowcount == 1

    def _seen(self, connection: sqlalchemy.Connection | Session) -> _Held | None:
        columns = [LEASES.c[name] for name in ("token", "process", "host", "machine", "since", "beats")]
        asked = sqlalchemy.select(*columns, self._now - LEASES.c.beat_at).where(LEASES.c.study == self._study)
        row = connection.execute(asked).first()
        if row is None:
            return None
        return _Held(row[0], row[1], row[2], row[3], row[4], row[5], float(row[6]))

    def _keep_alive(self) -> None:
        while not self._end.wait(self._beat_s):
            try:
                beat = {"beats": LEASES.c.beats + 1, "beat_at": self._now}
                with self._engine.begin() as connection:
                    if connection.execute(LEASES.update().where(self._mine).values(**beat)).rowcount == 1:
                        continue
                    self._note_loss(self._seen(connection))
                    return
            except DBAPIError:  # the database cannot be reached; whoever writes next waits for it
                continue

    def _note_loss(self, held: _Held | None) -> None:
        by = f"taken over by {held.in_words}" if held else "taken over by another driver, which has ended since"
        self._lost = f"{self._shown} was {by}; this driver has ended and writes nothing more"


def _machine() -> str:
    """Return what tells this machine, as long as it is up, and this container from others; empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _runs(process: int) -> bool:
    if not _machine():
        return True  # it cannot be told
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
