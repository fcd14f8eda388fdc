"""A Postgres server for the demo and the tests, run from any usable binaries.

It listens on a Unix socket in a private folder, and ends when its parent ends, even if that is killed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from pgtrail.errors import ServerError
from pgtrail.server.binaries import Binaries, readable_binaries
from pgtrail.server.data_folder import DataFolder
from pgtrail.server.parent_watchdog import ParentWatchdog
from pgtrail.server.server_user import server_user

START_SECONDS = 30.0
STOP_SECONDS = 30.0
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path, on Linux; `.s.PGSQL.5432` is part of it."""

_INITDB = ("--username=postgres", "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync")


class EmbeddedPostgres:
    """One server over one data folder; a context manager that stops it.

    :param data_dir: created by initdb if it is empty or missing; kept afterwards.
    :param settings: of postgresql.conf.
    :param tcp_port: also listen on 127.0.0.1, with passwords.
    :raises ServerError: from `start`, with the reason and a hint.
    """

    def __init__(
        self,
        data_dir: Path,
        binaries: Binaries,
        settings: Mapping[str, str] | None = None,
        tcp_port: int | None = None,
    ) -> None:
        self._user = server_user()
        self._folder = DataFolder(data_dir, self._user)
        self.binaries = binaries
        self.tcp_port = tcp_port
        self._settings = dict(settings or {})
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: ParentWatchdog | None = None
        self._bin_dir = binaries.bin_dir
        self.socket_dir: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
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
    def data_dir(self) -> Path:
        """Where its database is."""
        return self._folder.path

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self._folder.log_file

    def start(self) -> None:
        """Create the data folder if needed, start the server, and wait until it accepts connections."""
        self._bin_dir = readable_binaries(self.binaries, self._user)
        if not self._folder.holds_database():
            self._folder.fill(self._initdb)
        self._folder.check(self.binaries.major)
        if self.socket_dir is None:
            self.socket_dir = self._make_socket_dir()
        try:
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
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(how)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.send_signal(signal.SIGQUIT)
                self._server.wait()
        self._server = None
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None

    def _make_socket_dir(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="pgtrail-"))
        if len(str(folder / ".s.PGSQL.5432")) > MAX_SOCKET_PATH:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="pgtrail-", dir="/tmp"))
        self._user.own(folder)
        return folder

    def _initdb(self, folder: Path) -> None:
        # Since 17 there is a locale that is the same on every machine.
        locale = (
            ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
            if self.binaries.major >= 17
            else ("--locale=C",)
        )
        done = subprocess.run(
            [self._bin_dir / "initdb", "--pgdata", folder, *_INITDB, *locale],
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
        # Started first, so that the server is never without it.
        self._watchdog = ParentWatchdog()
        log = self._folder.open_log()
        try:
            self._server = subprocess.Popen(
                [self._bin_dir / "postgres", "-D", self.data_dir, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # Ctrl-C is for the program, which then stops the server.
                start_new_session=True,
                **self._user.process_arguments(),
            )
        finally:
            os.close(log)
        self._watchdog.watch(self._server.pid, self.socket_dir)

    def _wait_until_ready(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise ServerError(f"the PostgreSQL server does not start: {self._last_error()}") from error
                time.sleep(0.02)

    def _last_error(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        fatal = [line for line in lines[-20:] if "FATAL" in line or "ERROR" in line]
        return f"{(fatal or lines or ['its log is empty'])[-1]} (see {self.log_file})"
