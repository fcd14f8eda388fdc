"""Installs pgtrail in a database, or upgrades it, in one transaction.

It runs the pending files of ``migrations/`` (with yoyo) and, if any file has changed, all of ``sql/``; then it
recompiles the tracked tables.
"""

import getpass
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration

from pgtrail.connection import Connection, added_options, check_obstacles, open_connection, with_defaults
from pgtrail.errors import MigrationFailed, PgtrailError, from_database
from pgtrail.owner import become_owner
from pgtrail.project_files import project_files, sql_files
from pgtrail.queries import load

QUERIES = load("pgtrail")

MIN_SERVER = 15
CREATORS_ARE_NOT_MEMBERS = 160000
"""Since 16, who creates a role without being a superuser can't become it unless createrole_self_grant says so."""
BOOKKEEPING_SCHEMA = "pgtrail_meta"
_BOOKKEEPING = sql.Identifier(BOOKKEEPING_SCHEMA)
MIGRATION_LOCK = int.from_bytes(b"pgtrmigr", "big")
"""Advisory lock: two migrations of one database wait for each other."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did.

    :param applied: the migrations that were pending.
    :param replaced: whether ``sql/`` was installed: whether the database was changed at all.
    :param compiled: how many tracked tables were compiled anew.
    :param follows_ddl: whether there are event triggers, which only a superuser can create.
    """

    applied: tuple[str, ...]
    replaced: bool
    compiled: int
    follows_ddl: bool = True


@dataclass(frozen=True, slots=True)
class Installed:
    """What a database has: the version of pgtrail, and whether its files were this version's."""

    version: str
    current: bool


def files_hash(files: Iterable[Path]) -> str:
    """SHA-256, hex, over the names and contents of the files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def known_migrations(folder: Path | None = None) -> list[Migration]:
    """The migrations of this version, in their order."""
    return list(read_migrations(str(folder or project_files("migrations"))))


def migrate(dsn: str, migrations: Path | None = None, behaviour: Sequence[Path] | None = None) -> Migrated:
    """Bring a database to this version. A second call changes nothing; two at once wait for each other.

    :param migrations: another folder of migrations than this version's.
    :param behaviour: other files than those of ``sql/``.
    :raises MigrationFailed: nothing was changed.
    """
    with open_connection(dsn) as connection:
        _check_server(connection)
        check_obstacles(connection, "migration_obstacles")
        become_owner(connection)
        connection.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        connection.execute("set client_min_messages = warning")
        connection.execute(sql.SQL("create schema if not exists {}").format(_BOOKKEEPING))
        check_obstacles(connection, "bookkeeping_obstacles")
        with _yoyo(dsn) as backend:
            return _migrate(backend, known_migrations(migrations), behaviour or sql_files())


def installed(connection: Connection) -> Installed:
    """What the database has been migrated to.

    :raises psycopg.Error: it has no pgtrail, or this role may not look.
    """
    version, installed_hash = connection.fetch_one("select version, files_hash from audit.installation")
    return Installed(version, installed_hash == files_hash(_all_files(known_migrations(), sql_files())))


def _all_files(migrations: Sequence[Migration], behaviour: Sequence[Path]) -> list[Path]:
    return [*(Path(migration.path) for migration in migrations), *behaviour]


def _migrate(backend: PostgresqlPsycopgBackend, migrations: Sequence[Migration], behaviour: Sequence[Path]) -> Migrated:
    connection: psycopg.Connection[TupleRow] = backend.connection
    with _step("the bookkeeping of migrations"):
        _become_member_of_new_roles(connection)
        backend.ensure_internal_schema_updated()
        with backend.transaction():
            applied = backend.get_applied_migration_hashes()
            if applied:
                _check_log_is_there(connection)
            pending = [migration for migration in migrations if migration.hash not in applied]
            for migration in pending:
                _apply(backend, migration)
            connection.execute(QUERIES["settings"])
            new_hash = files_hash(_all_files(migrations, behaviour))
            replaced = _value(connection, "select files_hash from audit.installation") != new_hash
            if replaced:
                _replace_behaviour(connection, behaviour, new_hash)
            _value(connection, "select audit.make_partitions()")
            compiled = _value(connection, "select audit.recompile()") if replaced else 0
            follows_ddl = _value(connection, "select to_regproc('audit_internal.extend_capture') is not null")
    return Migrated(tuple(migration.id for migration in pending), replaced, compiled, follows_ddl)


@contextmanager
def _step(name: str) -> Iterator[None]:
    """Name the step in which a migration fails."""
    try:
        yield
    except psycopg.Error as error:
        reason = from_database(error)
        raise MigrationFailed(
            f"the migration failed in {name} and changed nothing: {reason.message}",
            reason.hint or "fix the cause and run pgtrail migrate again",
        ) from error


def _apply(backend: PostgresqlPsycopgBackend, migration: Migration) -> None:
    with _step(f"migrations/{migration.id}.sql"):
        backend.execute(QUERIES["settings"])
        migration.process_steps(backend, "apply")
        # A migration may have become audit_owner, who doesn't own the bookkeeping.
        backend.execute("reset role")
        backend.execute(sql.SQL("set local search_path = {}, pg_temp").format(_BOOKKEEPING))
        backend.mark_one(migration)


def _replace_behaviour(connection: psycopg.Connection[TupleRow], files: Sequence[Path], new_hash: str) -> None:
    connection.execute("set local role audit_owner")
    connection.execute("set local client_min_messages = warning")
    for file in files:
        with _step(f"sql/{file.parent.name}/{file.name}"):
            connection.execute(file.read_bytes())
    connection.execute("reset role")
    with _step("audit.installation"):
        connection.execute(QUERIES["record_installation"], {"files_hash": new_hash, "version": version("pgtrail")})


def _value(connection: psycopg.Connection[TupleRow], query: LiteralString) -> Any:
    with _step(query.removeprefix("select ")):
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def _become_member_of_new_roles(connection: psycopg.Connection[TupleRow]) -> None:
    if connection.info.server_version >= CREATORS_ARE_NOT_MEMBERS:
        connection.execute("set createrole_self_grant = 'set, inherit'")
        connection.commit()


def _check_log_is_there(connection: psycopg.Connection[TupleRow]) -> None:
    if _value(connection, "select to_regclass('audit.installation')") is None:
        raise PgtrailError(
            f"the schema audit was dropped, and {BOOKKEEPING_SCHEMA} still says that it is there",
            f"run: drop schema {BOOKKEEPING_SCHEMA} cascade; then pgtrail migrate again",
        )


def _check_server(connection: Connection) -> None:
    if connection.info.server_version < MIN_SERVER * 10000:
        raise PgtrailError(
            f"the server is PostgreSQL {connection.info.server_version // 10000}",
            f"pgtrail needs {MIN_SERVER} or later",
        )


@contextmanager
def _yoyo(dsn: str) -> Iterator[PostgresqlPsycopgBackend]:
    # yoyo looks up the user's name, which the user id of a container may lack.
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = "pgtrail"
    parameters: dict[str, Any] = conninfo_to_dict(with_defaults(dsn, application_name="pgtrail migrate"))
    settings = f"-c search_path={BOOKKEEPING_SCHEMA},pg_temp -c default_transaction_isolation=read\\ committed"
    parameters["options"] = added_options(parameters, settings)
    backend = PostgresqlPsycopgBackend(
        DatabaseURI(
            scheme="postgresql+psycopg",
            username=parameters.pop("user", None),
            password=parameters.pop("password", None),
            hostname=parameters.pop("host", None),
            port=parameters.pop("port", None),
            database=parameters.pop("dbname", None),
            args=parameters,
        ),
        "_yoyo_migration",
    )
    try:
        # (A pooler in transaction mode may pass no options on.)
        if backend.execute("show search_path").fetchone() != (f"{BOOKKEEPING_SCHEMA},pg_temp",):
            raise PgtrailError(
                "this connection goes through a pooler", "migrate over a direct one, to the server itself"
            )
        # Our advisory lock is enough; a row that a killed migration left would block the next one.
        backend.create_lock_table()
        backend.break_lock()
        yield backend
    finally:
        backend.connection.close()
