"""A Postgres server of our own: for the demo and the tests, out of any binaries that fit.

It listens on a Unix socket in a private folder, and ends when its parent does, even a killed one.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs
import psycopg
from psycopg.conninfo import make_conninfo

from pgtrail_cli.binaries import Binaries, readable_binaries
from pgtrail_cli.errors import ServerError
from pgtrail_cli.guard import Guard
from pgtrail_cli.server_user import server_user

START_SECONDS = 30.0
STOP_SECONDS = 30.0
LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix socket's path, on Linux; `.s.PGSQL.5432` is part of it."""

_INITDB = ("--username=postgres", "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync")


class EmbeddedPostgres:
    """One server over one data folder; a context manager that stops it.

    :param data_dir: made by initdb if it is empty or missing; kept afterwards.
    :param settings: of postgresql.conf.
    :param tcp_port: also listen on 127.0.0.1, where a password is asked for.
    :raises ServerError: from `start`, with the reason and its mend in one line.
    """

    def __init__(
        self,
        data_dir: Path,
        binaries: Binaries,
        settings: Mapping[str, str] | None = None,
        tcp_port: int | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.binaries = binaries
        self.tcp_port = tcp_port
        self._settings = dict(settings or {})
        self._user = server_user()
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._bin_dir = binaries.bin_dir
        self.socket_dir: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def dsn(self, dbname: str = "postgres", user: str = "postgres", **parameters: str) -> str:
        """A connection string for libpq, over the socket."""
        return make_conninfo(
            host=str(self.socket_dir), port=self.tcp_port or 5432, dbname=dbname, user=user, **parameters
        )

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._server is not None
        return self._server.pid

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self.data_dir / "postgres.log"

    def start(self) -> None:
        """Make the data folder if need be, start the server, wait until it answers."""
        self._bin_dir = readable_binaries(self.binaries, self._user)
        self._prepare_data_dir()
        self._check_data_dir()
        if self.socket_dir is None:
            self.socket_dir = self._make_socket_dir()
        try:
            if not (self.data_dir / "PG_VERSION").exists():
                self._initdb()
            self._launch()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is Postgres' fast shutdown, SIGQUIT its immediate one. Does nothing if it is not running."""
        self._signal_and_wait(how)
        if self.socket_dir is not None:
            shutil.rmtree(self.socket_dir, ignore_errors=True)
            self.socket_dir = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it (SIGQUIT: as if it had crashed) and start it again, under the same address."""
        self._signal_and_wait(how)
        self._launch()
        self._wait_until_ready()

    def _signal_and_wait(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        if self._server.poll() is None:
            self._server.send_signal(how)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.send_signal(signal.SIGQUIT)
                self._server.wait()
        self._server = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def _prepare_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._user.own(self.data_dir)
        except OSError as error:
            raise ServerError(
                f"can't keep a database in {self.data_dir}: {(error.strerror or str(error)).lower()}",
                "choose another folder with --data-dir",
            ) from error
        if not self._user.can_reach(self.data_dir):
            raise ServerError(
                f"the user {self._user.name}, as whom the server runs, can't reach {self.data_dir}",
                "choose a folder below /var/lib or /tmp with --data-dir",
            )

    def _check_data_dir(self) -> None:
        version_file = self.data_dir / "PG_VERSION"
        if not version_file.exists():
            if any(file.name != self.log_file.name for file in self.data_dir.iterdir()):
                raise ServerError(
                    f"{self.data_dir} is not empty and holds no database", "choose another folder with --data-dir"
                )
            return
        made_by = int(version_file.read_text().strip().split(".")[0])
        if made_by != self.binaries.major:
            raise ServerError(
                f"{self.data_dir} was made by PostgreSQL {made_by}, and the server at hand is {self.binaries.major}",
                f"choose another folder with --data-dir, or set PGTRAIL_PG_BIN to the binaries of {made_by}",
            )
        pid = _living_postmaster(self.data_dir)
        if pid is not None:
            raise ServerError(
                f"a server (process {pid}) is already using {self.data_dir}",
                "stop it, or choose another folder with --data-dir",
            )

    def _make_socket_dir(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="pgtrail-"))
        if len(str(folder / ".s.PGSQL.5432")) > LONGEST_SOCKET_PATH:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="pgtrail-", dir="/tmp"))
        self._user.own(folder)
        return folder

    def _initdb(self) -> None:
        # Since 17 there is a locale that is the same on every machine.
        locale = (
            ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
            if self.binaries.major >= 17
            else ("--locale=C",)
        )
        done = subprocess.run(
            [self._bin_dir / "initdb", "--pgdata", self.data_dir, *_INITDB, *locale],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **self._user.process_arguments(),
        )
        if done.returncode != 0:
            raise ServerError(
                f"initdb failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}",
                f"binaries: {self._bin_dir}",
            )

    def _launch(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1" if self.tcp_port else "",
            "port": str(self.tcp_port or 5432),
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0777",
            "logging_collector": "off",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log_file.open("ab") as log:
            self._server = subprocess.Popen(
                [self._bin_dir / "postgres", "-D", self.data_dir, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # Ctrl-C is for the program; it stops the server when it is done.
                start_new_session=True,
                **self._user.process_arguments(),
            )
        self._guard = Guard(self._server.pid)

    def _wait_until_ready(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise ServerError(f"the PostgreSQL server does not start: {self._last_words()}") from error
                time.sleep(0.02)

    def _last_words(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        fatal = [line for line in lines[-20:] if "FATAL" in line or "ERROR" in line]
        return f"{(fatal or lines or ['it said nothing'])[-1]} (see {self.log_file})"


def _living_postmaster(data_dir: Path) -> int | None:
    """The process that holds the folder; a file that a crash left names one that is gone or is no postmaster."""
    try:
        pid = int((data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return None
    command = Path(f"/proc/{pid}/cmdline")
    with contextlib.suppress(OSError):
        if b"postgres" not in command.read_bytes():
            return None
    return pid


def default_data_dir() -> Path:
    """Where the demo keeps its database: the user's data folder; as root one that the server's user can reach."""
    folder = platformdirs.user_data_path("pgtrail")
    return folder if server_user().can_reach(folder) else Path("/var/lib/pgtrail")
