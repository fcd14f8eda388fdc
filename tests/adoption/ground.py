"""Where an application is adopted: a virtual environment and a database of its own, its commands, its server."""

import contextlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql

from pgtrail.server.embedded import EmbeddedPostgres

BUILD = Path(__file__).parents[2] / "build" / "adoption"
OWNER = "app"
"""The application's login role, which owns its database and is not a superuser."""
START_SECONDS = 180.0
COMMAND_SECONDS = 1200.0


class Failed(Exception):
    """A command of the application or of pgtrail ended with an error."""


@dataclass
class Ground:
    """One application's folder, database and virtual environment.

    :param environment: what the application is told of its database and folders.
    """

    name: str
    server: EmbeddedPostgres
    port: int
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What outlives the run: the virtual environment, the logs."""
        return BUILD / self.name

    @property
    def address(self) -> str:
        """Of the application's server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> str:
        return self.name.replace("-", "_")

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.database)

    def install(self, packages: Sequence[str]) -> str:
        """Install the application from PyPI, unless it is there; the version of the first package."""
        python = self.program("python")
        if not python.exists():
            venv.create(self.folder / "venv", with_pip=True)
        installed = self._run([python, "-m", "pip", "freeze", "--quiet"], "pip").casefold()
        if any(f"{package}==" not in installed for package in packages):
            self._run([python, "-m", "pip", "install", "--quiet", *packages], "pip")
        shown = self._run([python, "-m", "pip", "show", packages[0]], "pip")
        return next(line.removeprefix("Version: ") for line in shown.splitlines() if line.startswith("Version: "))

    def make_database(self) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            if not connection.execute("select from pg_roles where rolname = %s", [OWNER]).fetchone():
                connection.execute(sql.SQL("create role {} login").format(sql.Identifier(OWNER)))
            create = sql.SQL("create database {} owner {}")
            connection.execute(create.format(sql.Identifier(self.database), sql.Identifier(OWNER)))

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.dsn(database or self.database), autocommit=True)

    def program(self, name: str) -> Path:
        """A program of the application's virtual environment."""
        return self.folder / "venv" / "bin" / name

    def application(self, program: str, *arguments: str) -> str:
        """Run a command of the application's."""
        return self._run([self.program(program), *arguments], "commands", self.environment)

    def pgtrail(self, *arguments: str, database: str | None = None) -> str:
        """Run pgtrail as a person would; what it prints."""
        dsn = {"PGTRAIL_DSN": self.server.dsn(database or self.database)}
        return self._run([sys.executable, "-m", "pgtrail_cli", *arguments], "pgtrail", dsn)

    def postgres(self, program: str, *arguments: str | Path) -> str:
        """Run a program of the server's: pg_dump, pg_restore."""
        return self._run([self.server.binaries.bin_dir / program, *arguments], "postgres")

    def _run(self, command: Sequence[str | Path], log: str, environment: Mapping[str, str] | None = None) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS, cwd=self._work(),
            stdin=subprocess.DEVNULL, env=dict(os.environ) | self.environment | dict(environment or {}),
        )  # fmt: skip
        with (self.folder / f"{log}.log").open("a") as file:
            file.write(f"$ {' '.join(map(str, command))}\n{done.stdout[-20000:]}{done.stderr[-20000:]}\n")
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise Failed(f"{Path(command[0]).name} {' '.join(map(str, command[1:4]))}: {last}")
        return done.stdout

    @contextlib.contextmanager
    def serving(self, command: Sequence[str]) -> Iterator[None]:
        """The application's own server, from when it answers until the block ends."""
        with (self.folder / "server.log").open("w") as log:
            process = subprocess.Popen(
                [self.program(command[0]), *command[1:]], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self._work(), env=dict(os.environ) | self.environment,
            )  # fmt: skip
        try:
            _wait_until_it_answers(process, self.address)
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()

    def _work(self) -> Path:
        work = self.folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        return work


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(address, timeout=30)
            return
        time.sleep(0.5)
    raise Failed(f"the application's server does not answer at {address}")
