"""A study in a database: Optuna's own tables, through the one driver's connection, which outlives a stopped server.

Optuna's dashboard reads it as it is. What differs from `optuna.storages.RDBStorage`:

- Every write is repeated while the database cannot be reached, with growing pauses, up to `PATIENCE_S`; no write is
  applied twice. Attributes and states are set, so setting them again changes nothing. A trial is created only after a
  look whether the first attempt, whose answer was lost, has created it: one driver writes, and a trial that is newer
  than all that it knew, and is the same in everything, is its own.
- A trial is created in one go, not by a query for every parameter (`benchmarks/storages.py`).
- All trials are read by five plain queries, each distribution decoded once.
- What was read and written is kept, and a single trial is answered from that.
- Nothing is written once another driver has taken over (`nas.study.lease`): each transaction looks before it ends.
"""

import copy
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models  # the tables; not exported, checked against the database's by Optuna
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from nas.proposals.distributions import decoded
from nas.study.address import DatabaseAddress
from nas.study.json_values import parsed
from search_spaces.errors import InputError

PATIENCE_S = 15 * 60.0
"""How long a write waits for a database that cannot be reached."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0

MOST_BYTES_ON_MYSQL = 65_535
"""What a TEXT column of MySQL holds, as Optuna makes them there; those of PostgreSQL and SQLite have no such limit."""

Answer = TypeVar("Answer")
Fence = Callable[[Session], None]


def open_database(address: DatabaseAddress, *, make: bool) -> "Database | None":
    """Open a database.

    Args:
        address: where it is.
        make: make Optuna's tables, and an SQLite file, where they are missing; else None is returned then.

    Raises:
        InputError: It cannot be reached or used; the message says why, without the password.
    """
    with _clear_errors(address):
        engine = make_engine(address)
        if not make and not _holds_studies(engine):
            engine.dispose()
            return None
        engine.dispose()
        return Database(address)


def make_engine(address: DatabaseAddress) -> Engine:
    """Return SQLAlchemy's engine for a database. Raises whatever SQLAlchemy raises."""
    return sqlalchemy.create_engine(address.url, **_engine_options(address))


def _engine_options(address: DatabaseAddress) -> dict[str, Any]:
    return {"pool_pre_ping": True, "connect_args": _CONNECTING[address.url.get_backend_name()]}


_CONNECTING: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 30},
    # A database in the encoding SQL_ASCII, as `initdb` makes it under the locale C, would answer with bytes.
    "postgresql": {"connect_timeout": 10, "client_encoding": "utf8"},
    "mysql": {"connect_timeout": 10},
}


def _holds_studies(engine: Engine) -> bool:
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
        return False
    return sqlalchemy.inspect(engine).has_table(models.StudyModel.__tablename__)


@contextmanager
def _clear_errors(address: DatabaseAddress) -> Iterator[None]:
    """Turn what goes wrong while a database is opened into a message for the user."""
    family = address.url.get_backend_name()
    try:
        yield
    except NoSuchModuleError as error:
        raise InputError(f"{address.url.drivername}: no such database driver") from error
    except ImportError as error:
        raise InputError(
            f"{address.shown}: the database driver {error.name or address.url.drivername} is not installed; "
            f"pip install 'attention-placement-search[{family}]'"
        ) from error
    except (DBAPIError, StorageInternalError) as error:
        raise InputError(f"{address.shown} cannot be opened: {_reason(error)}") from error
    except RuntimeError as error:  # tables of another version of Optuna
        raise InputError(f"{address.shown}: {error}") from error


class Database(RDBStorage):
    """Optuna's storage in a database for one driver, or for looking on; see the module.

    Args:
        address: where it is.
        patience_s: how long a write waits for the database.
        say: is told when that begins and ends.
    """

    def __init__(
        self, address: DatabaseAddress, patience_s: float = PATIENCE_S, say: Callable[[str], None] | None = None
    ) -> None:
        url = address.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        super().__init__(url, engine_kwargs=_engine_options(address))
        self._shown, self._patience_s, self._say = address.shown, patience_s, say or _to_stderr
        self._trials: dict[int, FrozenTrial] = {}
        self._newest = 0
        self._gave_up: str | None = None

    def guard(self, fence: Fence) -> None:
        """Call `fence` at the end of every transaction from now on; what it raises undoes the transaction."""

        def before_commit(session: Session) -> None:
            session.flush()  # so that SQLite holds its lock while the fence looks
            fence(session)

        sqlalchemy.event.listen(self.scoped_session.session_factory, "before_commit", before_commit)

    def study_names(self) -> list[str]:
        """Return the names of Optuna's studies in the database."""
        with _create_scoped_session(self.scoped_session) as session:
            return [name for (name,) in session.query(models.StudyModel.study_name).all()]

    # Writes

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        assert template_trial is not None
        assert template_trial.values is None
        template = template_trial
        self._check_sizes(template.user_attrs)
        before = self._newest

        def write(again: bool) -> FrozenTrial:
            made = self._made_after(study_id, before, template) if again else None
            return made or self._insert(study_id, template)

        trial = self._patiently(write)
        self._trials[trial._trial_id], self._newest = trial, max(before, trial._trial_id)
        return trial._trial_id

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._check_sizes({key: value})
        self._patiently(lambda _: super(Database, self).set_trial_user_attr(trial_id, key, value))
        if (trial := self._changing(trial_id)) is not None:
            trial.user_attrs = {**trial.user_attrs, key: _as_read(value)}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._patiently(lambda _: super(Database, self).set_trial_system_attr(trial_id, key, value))
        if (trial := self._changing(trial_id)) is not None:
            trial.system_attrs = {**trial.system_attrs, key: _as_read(value)}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        def write(again: bool) -> bool:
            try:
                return super(Database, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if again and super(Database, self).get_trial(trial_id).state == state:
                    return True  # the first attempt did it
                raise

        done = self._patiently(write)
        if (trial := self._changing(trial_id)) is not None:
            trial.state, now = state, datetime.now()
            trial.values = trial.values if values is None else list(values)
            if state == TrialState.RUNNING:
                trial.datetime_start = now
            elif state.is_finished():
                trial.datetime_complete = now
        return done

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._check_sizes({key: value})
        self._patiently(lambda _: super(Database, self).set_study_user_attr(study_id, key, value))

    # Reads

    def get_trial(self, trial_id: int) -> FrozenTrial:
        kept = self._trials.get(trial_id)
        return kept or self._patiently(lambda _: super(Database, self).get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._patiently(lambda _: self._read(study_id, 0))
        self._trials |= {trial._trial_id: trial for trial in trials}
        self._newest = max(self._newest, *self._trials, 0)
        chosen = trials if states is None else [trial for trial in trials if trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _read(self, study_id: int, after: int) -> list[FrozenTrial]:
        """Read the trials of a study whose ids are greater than `after`."""
        trial, param, value = models.TrialModel, models.TrialParamModel, models.TrialValueModel
        attribute, note = models.TrialUserAttributeModel, models.TrialSystemAttributeModel
        with _create_scoped_session(self.scoped_session) as session:
            ours = (trial.study_id == study_id) & (trial.trial_id > after)

            def rows(model: Any, *columns: Any) -> Any:
                return session.query(model.trial_id, *columns).join(trial).filter(ours)

            columns = (trial.number, trial.state, trial._datetime_start_utc, trial._datetime_complete_utc)
            heads = session.query(trial.trial_id, *columns).filter(ours).order_by(trial.trial_id).all()
            params: dict[int, dict[str, Any]] = defaultdict(dict)
            distributions: dict[int, dict[str, BaseDistribution]] = defaultdict(dict)
            asked = rows(param, param.param_name, param.param_value, param.distribution_json)
            for trial_id, name, internal, text in asked.order_by(param.param_id):
                distribution = decoded(text)
                params[trial_id][name] = distribution.to_external_repr(internal)
                distributions[trial_id][name] = distribution
            attributes: dict[int, dict[str, Any]] = defaultdict(dict)
            for trial_id, key, text in rows(attribute, attribute.key, attribute.value_json):
                attributes[trial_id][key] = parsed(text)
            notes: dict[int, dict[str, Any]] = defaultdict(dict)
            for trial_id, key, text in rows(note, note.key, note.value_json):
                notes[trial_id][key] = parsed(text)
            values: dict[int, list[float]] = defaultdict(list)
            for trial_id, number, kind in rows(value, value.value, value.value_type).order_by(value.objective):
                values[trial_id].append(value.stored_repr_to_value(number, kind))
        return [
            FrozenTrial(
                trial_id=trial_id,
                number=number,
                state=state,
                value=None,
                values=values.get(trial_id),
                datetime_start=_local(start),
                datetime_complete=_local(complete),
                params=params[trial_id],
                distributions=distributions[trial_id],
                user_attrs=attributes[trial_id],
                system_attrs=notes[trial_id],
                intermediate_values={},
            )
            for trial_id, number, state, start, complete in heads
        ]

    # How

    def _insert(self, study_id: int, template: FrozenTrial) -> FrozenTrial:
        with _create_scoped_session(self.scoped_session) as session:
            # The lock keeps other programs from taking the same number.
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            model = models.TrialModel(
                study_id=study_id,
                number=None,
                state=template.state,
                datetime_start=template.datetime_start,
                datetime_complete=template.datetime_complete,
            )
            session.add(model)
            session.flush()
            own: dict[str, Any] = {"trial_id": model.trial_id}
            for name, value in template.params.items():
                distribution = template.distributions[name]
                text = distribution_to_json(distribution)
                stored = distribution.to_internal_repr(value)
                session.add(models.TrialParamModel(**own, param_name=name, param_value=stored, distribution_json=text))
            for kind, attributes in (
                (models.TrialUserAttributeModel, template.user_attrs),
                (models.TrialSystemAttributeModel, template.system_attrs),
            ):
                session.add_all(kind(**own, key=key, value_json=json.dumps(v)) for key, v in attributes.items())
            number = model.count_past_trials(session)
            model.number = number
            made = copy.copy(template)
            made.number, made._trial_id = number, own["trial_id"]
        made.user_attrs, made.system_attrs = _as_read(template.user_attrs), _as_read(template.system_attrs)
        return made

    def _made_after(self, study_id: int, newest: int, template: FrozenTrial) -> FrozenTrial | None:
        """Return the trial that a lost attempt made; None if it made none."""
        wanted = _as_read(template.user_attrs)
        same = (t for t in self._read(study_id, newest) if t.user_attrs == wanted and t.params == template.params)
        return next(same, None)

    def _changing(self, trial_id: int) -> FrozenTrial | None:
        """Return a copy of a trial that is kept, in its place: whoever holds the old one sees no change."""
        if trial_id not in self._trials:
            return None
        self._trials[trial_id] = copy.copy(self._trials[trial_id])
        return self._trials[trial_id]

    def _patiently(self, operate: Callable[[bool], Answer]) -> Answer:
        """Do something with the database, again and again while it cannot be reached.

        Args:
            operate: is told whether an earlier attempt may have come through.
        """
        began, pause_s = time.monotonic(), _FIRST_PAUSE_S
        again = False
        while True:
            try:
                answer = operate(again)
                break
            except (StorageInternalError, DBAPIError) as error:
                if not _may_pass(error):
                    raise
                reason = _reason(error)
            if self._gave_up or time.monotonic() - began > self._patience_s:
                self._gave_up = reason
                raise InputError(
                    f"{self._shown} cannot be reached: {reason}; what it holds is kept, and the same command goes on"
                )
            if not again:
                self._say(f"{self._shown} does not answer ({reason}); waiting up to {self._patience_s / 60:.0f} min")
            again = True
            try:
                time.sleep(pause_s)
            except KeyboardInterrupt:
                self._gave_up = reason  # whatever is put in order now must not wait as long again
                raise
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if again:
            self._say(f"{self._shown} answers again after {time.monotonic() - began:.0f} s")
        return answer

    def _check_sizes(self, attributes: dict[str, Any]) -> None:
        """Raise InputError for what MySQL would cut off or refuse."""
        if self.engine.dialect.name != "mysql":
            return
        for key, value in attributes.items():
            if (size := len(json.dumps(value))) > MOST_BYTES_ON_MYSQL:
                raise InputError(
                    f"{key!r} takes {size:,} bytes, and MySQL's columns of Optuna hold {MOST_BYTES_ON_MYSQL:,}; widen "
                    "them (ALTER TABLE trial_user_attributes MODIFY value_json LONGTEXT; the same for "
                    "study_user_attributes), or take PostgreSQL"
                )


def _as_read(value: Any) -> Any:
    """Return a value as it comes back out of a database."""
    return json.loads(json.dumps(value))


def _local(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error


def _may_pass(error: BaseException) -> bool:
    """Return whether an error is one of the connection or the server, which may be gone a moment later."""
    cause = _cause(error)
    invalid = isinstance(cause, DBAPIError) and cause.connection_invalidated
    return invalid or isinstance(cause, OperationalError | InterfaceError)


def _reason(error: BaseException) -> str:
    """Return what a database says, in a line."""
    cause = _cause(error)
    said = str(cause.orig if isinstance(cause, DBAPIError) and cause.orig else cause)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
