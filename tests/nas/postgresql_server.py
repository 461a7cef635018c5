"""A PostgreSQL server of the tests' own: started, stopped and killed by them, on a free port of this machine."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

PASSWORD = "se&cret"


class Server:
    """A server with one role, `nas`, and its database `nas`; on TCP it asks for the password."""

    def __init__(self, folder: Path) -> None:
        self._bin = _binaries()
        if self._bin is None:
            pytest.skip("no PostgreSQL server (initdb, pg_ctl, postgres) is installed")
        self._folder = folder
        # The server refuses to be root's; another user needs a folder of its own and a way to it.
        self._as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as_user:
            shutil.chown(folder, "nobody")
        (folder / "password").write_text(PASSWORD)
        self._call("initdb", "-D", "data", "-U", "nas", "--auth=scram-sha-256", "--pwfile=password", "-E", "UTF8", "-N")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with open(folder / "data" / "postgresql.conf", "a") as file:
            file.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\n")
        self.start()
        self.query("CREATE DATABASE nas", database="postgres")

    def url(self, password: str = "se%26cret", database: str = "nas") -> str:
        return f"postgresql://nas:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self._call("pg_ctl", "-D", "data", "-l", "log", "-w", "start")

    def stop(self) -> None:
        """Stop it as if it had crashed."""
        self._call("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def query(self, text: str, database: str = "nas") -> list[tuple[object, ...]]:
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user=nas password={PASSWORD} dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(text)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, f"{self._bin}/{program}", *arguments]
        environment = {**os.environ, "LC_ALL": "C"}
        with open(self._folder / "calls", "ab") as file:  # not a pipe: the server would keep it open
            done = subprocess.run(
                command, cwd=self._folder, stdout=file, stderr=file, env=environment, check=False, timeout=60
            )
        assert done.returncode == 0, (self._folder / "calls").read_text()


def _binaries() -> Path | None:
    places = [*map(Path, os.environ.get("PATH", "").split(os.pathsep)), Path("/usr/local/bin")]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if all((place / name).exists() for name in ("initdb", "pg_ctl"))), None)
