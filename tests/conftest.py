"""A real Postgres for every test: each server that is found, templates on each, a clone for each test."""

import contextlib
import fcntl
import functools
import itertools
import os
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import psycopg
import pytest
from psycopg import sql
from pytest_postgresql.janitor import DatabaseJanitor
from tests import command

from pgtrail.install import migrate
from pgtrail.server.binaries import Binaries, find_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo.reference import install_reference

Connection = psycopg.Connection[tuple[Any, ...]]

SETTINGS = {
    "fsync": "off",
    # To compile a query that is planned as costly takes longer than any here runs.
    "jit": "off",
    "max_connections": "200",
    "max_prepared_transactions": "8",
    "track_commit_timestamp": "on",
}
ROOM_BYTES = 1 << 30
"""Containers often have a small /dev/shm; cloning there is some twenty times as fast as on a disk."""

LOGINS = {
    "app": None,
    "reader": "audit_reader",
    "auditor": "audit_auditor",
    "forwarder": "audit_forwarder",
    "admin": "audit_admin",
}
"""Login roles, and the group that each is in."""

EMPTY, NEMO = "template_empty", "template_nemo"
PREPARED = pytest.StashKey[Path]()
"""A folder of the whole run, for what one of its processes prepares and the others copy."""

PATIENCE_SECONDS = 60.0

_numbers = itertools.count()


class Database:
    """One test's own database, with connections as whoever is asked for."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.server = server
        self.name = name
        self._open: list[Connection] = []

    def dsn(self, user: str = "postgres", **parameters: Any) -> str:
        return self.server.dsn(self.name, user, **parameters)

    def connect(self, user: str = "postgres", *, autocommit: bool = True, **parameters: Any) -> Connection:
        connection = psycopg.connect(self.dsn(user), autocommit=autocommit, **parameters)
        self._open.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._open:
            connection.close()


def required(reason: str) -> NoReturn:
    """Without it the test is not run, and says so; where all have to be, it fails."""
    if os.environ.get("PGTRAIL_TEST_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    # How long it takes to draw an example says what else the machine is doing.
    hypothesis.settings.register_profile(
        "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("busy machine")
    given = getattr(config, "workerinput", {}).get("prepared")
    with contextlib.ExitStack() as stack:
        config.stash[PREPARED] = Path(given) if given else stack.enter_context(roomy_folder())
        config.add_cleanup(stack.pop_all().close)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """To each process of xdist."""
    node.workerinput["prepared"] = str(node.config.stash[PREPARED])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked any_server runs on one of the servers that are found, a file after another; all else on each."""
    servers = find_binaries()

    def is_elsewhere(item: pytest.Item) -> bool:
        # By the file, whose tests share what they prepare; and not by its place in the list, which the command line changes.
        chosen = servers[zlib.crc32(item.path.name.encode()) % len(servers)] if servers else None
        return item.get_closest_marker("any_server") is not None and _binaries_of(item) not in (None, chosen)

    items[:] = [item for item in items if not is_elsewhere(item)]


def pytest_sessionfinish() -> None:
    command.end_fork_server()


def _binaries_of(item: pytest.Item) -> Any:
    call = getattr(item, "callspec", None)
    return call.params.get("binaries") if call else None


@pytest.fixture(scope="session", params=find_binaries(), ids=str)
def binaries(request: pytest.FixtureRequest) -> Binaries:
    found: Binaries = request.param
    return found


@pytest.fixture(scope="session")
def server(binaries: Binaries, request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    with started(request.config, binaries, SETTINGS) as running:
        yield running


@contextlib.contextmanager
def started(config: pytest.Config, binaries: Binaries, settings: Mapping[str, str]) -> Iterator[EmbeddedPostgres]:
    """A server with the logins and the templates."""
    with (
        prepared_folder(config, binaries) as data,
        EmbeddedPostgres(data, binaries, settings) as running,
    ):
        yield running


@contextlib.contextmanager
def prepared_folder(config: pytest.Config, binaries: Binaries) -> Iterator[Path]:
    """The data folder of such a server."""
    prepared = _prepared(config.stash[PREPARED], binaries)
    with roomy_folder() as folder:
        # With its owner, who is not always the one that runs the tests.
        subprocess.run(["cp", "-a", prepared, folder / "data"], check=True)
        yield folder / "data"


def _prepared(folder: Path, binaries: Binaries) -> Path:
    """The data folder of a server with the logins and the templates: made by the first process that asks for it."""
    prepared = folder / str(binaries)
    with (folder / f"{binaries}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not prepared.exists():
            unfinished = folder / f"{binaries}.{os.getpid()}"
            with EmbeddedPostgres(unfinished, binaries, SETTINGS) as server:
                _prepare(server)
            unfinished.rename(prepared)
    return prepared


def _prepare(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for login in LOGINS:
            connection.execute(sql.SQL("create role {} login").format(sql.Identifier(login)))
    _template(server, EMPTY, "template0")
    _template(server, NEMO, EMPTY)


def _template(server: EmbeddedPostgres, name: str, copied: str) -> None:
    DatabaseJanitor(
        user="postgres", host=str(server.socket_dir), port=5432, dbname=name, template_dbname=copied, password=None
    ).init()
    migrate(server.dsn(name))
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        for login, group in LOGINS.items():
            if group:
                connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(login)))
        if name == NEMO:
            install_reference(server.dsn(name))
            connection.execute("grant usage on schema nemo to app")
            connection.execute("grant select, insert, update, delete, truncate on all tables in schema nemo to app")


def wait(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait for a condition; its value. Fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return value


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], Any]:
    """`wait`."""
    return wait


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can get through; where root runs the tests, `tmp_path` is not one."""
    with roomy_folder() as made:
        yield made


@pytest.fixture(scope="session")
def empty_template(server: EmbeddedPostgres) -> str:
    """A database with pgtrail and nothing to track."""
    return EMPTY


@pytest.fixture(scope="session")
def nemo_template(server: EmbeddedPostgres) -> str:
    """A database with pgtrail and the reference application."""
    return NEMO


@pytest.fixture
def bare_db(server: EmbeddedPostgres) -> Iterator[Database]:
    """A database without pgtrail."""
    yield from clone(server, "template1")


@pytest.fixture
def db(server: EmbeddedPostgres, empty_template: str) -> Iterator[Database]:
    """A database with pgtrail and nothing to track."""
    yield from clone(server, empty_template)


@pytest.fixture
def nemo(server: EmbeddedPostgres, nemo_template: str) -> Iterator[Database]:
    """A database with the reference application, which the role `app` may write to."""
    yield from clone(server, nemo_template)


@pytest.fixture
def su(db: Database) -> Connection:
    """A superuser's connection to `db`."""
    return db.connect()


@contextlib.contextmanager
def roomy_folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES else None
    folder = Path(tempfile.mkdtemp(prefix="pgtrail-test-", dir=base))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def clone(server: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A database of its own, copied from a template to which nobody may be connected; dropped at the end."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        # By copying files, which takes half the time of writing them to the WAL. (The janitor knows no other way.)
        connection.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    database = Database(server, name)
    yield database
    database.close()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def pgtrail(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_pgtrail` with a home of the test's own."""
    return functools.partial(run_pgtrail, tmp_path)


def run_pgtrail(
    home: Path, *arguments: str, dsn: str | None = None, input: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would: arguments, and whose database; its output and exit status."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "XDG"))}
    env = inherited | {"HOME": str(home), **({"PGTRAIL_DSN": dsn} if dsn else {}), **environment}
    return command.run(*arguments, input=input, env=env)
