"""What ``pgtrail migrate`` does, all in one transaction: pending files of ``migrations/`` (with yoyo), and where
any file has changed ``sql/`` and the tracked tables compiled anew. Either all of it happens or nothing does.
"""

import getpass
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration

from pgtrail.connection import Connection, added_options, open_connection, with_defaults
from pgtrail.errors import MigrationFailed, PgtrailError, from_database
from pgtrail.owner import become_owner
from pgtrail.project_files import project_files, sql_files
from pgtrail.queries import load

OLDEST_SERVER = 15
CREATORS_ARE_NO_MEMBERS = 160000
"""Since 16 who creates a role without being a superuser may not become it, unless it was asked for before."""
BOOKKEEPING_SCHEMA = "pgtrail_meta"
_BOOKKEEPING = sql.Identifier(BOOKKEEPING_SCHEMA)
MIGRATION_LOCK = int.from_bytes(b"pgtrmigr", "big")
"""Advisory lock: two migrations of one database wait for each other."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done.

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


def migrate(
    dsn: str,
    migrations: Path | None = None,
    behaviour: Sequence[Path] | None = None,
) -> Migrated:
    """Bring a database to this version. A second call changes nothing; two at once wait for each other.

    :param migrations: another folder of migrations than this version's.
    :param behaviour: other files than those of ``sql/``.
    :raises MigrationFailed: nothing was changed.
    """
    with open_connection(dsn) as guard:
        _check_server(guard)
        _check_encoding(guard)
        _check_schema(guard)
        become_owner(guard)
        guard.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        guard.execute("set client_min_messages = warning")
        guard.execute(sql.SQL("create schema if not exists {}").format(_BOOKKEEPING))
        _check_bookkeeping(guard)
        with _yoyo(dsn) as backend:
            return _migrate(backend, known_migrations(migrations), behaviour or sql_files())


def installed(connection: Connection) -> Installed:
    """What the database has been migrated to.

    :raises psycopg.Error: it has no pgtrail, or this role may not look.
    """
    row = connection.execute("select version, files_hash from audit.installation").fetchone()
    assert row is not None
    return Installed(row[0], row[1] == files_hash(_all_files(known_migrations(), sql_files())))


def _all_files(migrations: Sequence[Migration], behaviour: Sequence[Path]) -> list[Path]:
    return [*(Path(migration.path) for migration in migrations), *behaviour]


def _migrate(backend: PostgresqlPsycopgBackend, migrations: Sequence[Migration], behaviour: Sequence[Path]) -> Migrated:
    step = "the bookkeeping of migrations"
    try:
        _become_member_of_new_roles(backend.connection)
        backend.ensure_internal_schema_updated()
        with backend.transaction():
            applied = backend.get_applied_migration_hashes()
            if applied:
                _check_log_is_there(backend.connection)
            pending = [migration for migration in migrations if migration.hash not in applied]
            for migration in pending:
                step = f"migrations/{migration.id}.sql"
                backend.execute(load("pgtrail")["settings"])
                migration.process_steps(backend, "apply")
                # A migration may have become audit_owner; the bookkeeping is not its.
                backend.execute("reset role")
                backend.execute(sql.SQL("set local search_path = {}, pg_temp").format(_BOOKKEEPING))
                backend.mark_one(migration)
            connection: psycopg.Connection[TupleRow] = backend.connection
            connection.execute(load("pgtrail")["settings"])
            new_hash = files_hash(_all_files(migrations, behaviour))
            replaced = _installed_hash(connection) != new_hash
            if replaced:
                connection.execute("set local role audit_owner")
                connection.execute("set local client_min_messages = warning")
                for file in behaviour:
                    step = f"sql/{file.parent.name}/{file.name}"
                    connection.execute(file.read_bytes())
                connection.execute("reset role")
                step = "audit.installation"
                _record(connection, new_hash)
            step = "audit.make_partitions()"
            connection.execute("select audit.make_partitions()")
            compiled = 0
            if replaced:
                step = "audit.recompile()"
                row = connection.execute("select audit.recompile()").fetchone()
                compiled = row[0] if row else 0
            follows_ddl = connection.execute(
                "select to_regproc('audit_internal.extend_capture') is not null"
            ).fetchone()
        applied_now = tuple(migration.id for migration in pending)
        return Migrated(applied_now, replaced, compiled, follows_ddl == (True,))
    except psycopg.Error as error:
        reason = from_database(error)
        raise MigrationFailed(
            f"the migration failed in {step} and changed nothing: {reason.message}",
            reason.hint or "mend the cause and run pgtrail migrate again",
        ) from error


def _become_member_of_new_roles(connection: psycopg.Connection[TupleRow]) -> None:
    if connection.info.server_version >= CREATORS_ARE_NO_MEMBERS:
        connection.execute("set createrole_self_grant = 'set, inherit'")
        connection.commit()


def _check_log_is_there(connection: psycopg.Connection[TupleRow]) -> None:
    if connection.execute("select to_regclass('audit.installation')").fetchone() == (None,):
        raise PgtrailError(
            f"the schema audit was dropped, and {BOOKKEEPING_SCHEMA} still says that it is there",
            f"run: drop schema {BOOKKEEPING_SCHEMA} cascade; then pgtrail migrate again",
        )


def _installed_hash(connection: psycopg.Connection[TupleRow]) -> str | None:
    row = connection.execute("select files_hash from audit.installation").fetchone()
    return row[0] if row else None


def _record(connection: psycopg.Connection[TupleRow], new_hash: str) -> None:
    connection.execute(
        """
        insert into audit.installation (files_hash, version)
        values (%s, %s)
        on conflict (only_row) do update
        set files_hash = excluded.files_hash, version = excluded.version, installed_at = now()
        """,
        [new_hash, version("pgtrail")],
    )


def _check_server(connection: Connection) -> None:
    if connection.info.server_version < OLDEST_SERVER * 10000:
        raise PgtrailError(
            f"the server is PostgreSQL {connection.info.server_version // 10000}",
            f"pgtrail needs {OLDEST_SERVER} or later",
        )


def _check_encoding(connection: Connection) -> None:
    row = connection.execute("select current_setting('server_encoding')").fetchone()
    if row is not None and row[0] != "UTF8":
        raise PgtrailError(
            f"this database's encoding is {row[0]}, and pgtrail needs UTF8: what events hold is Unicode",
            "dump it, and restore it into one made with: create database … encoding 'UTF8' template template0",
        )


def _check_schema(connection: Connection) -> None:
    """Other tools for the same end keep their tables in a schema of the same name."""
    row = connection.execute(
        """
        select nspname, coalesce(' (it has ' || string_agg(relname, ', ' order by relname) || ')', '')
        from pg_namespace
        left join pg_class on relnamespace = pg_namespace.oid and relkind in ('r', 'p')
        where nspname in ('audit', 'audit_internal') and pg_get_userbyid(nspowner) <> 'audit_owner'
        group by nspname
        """
    ).fetchone()
    if row is not None:
        raise PgtrailError(
            f"this database has a schema {row[0]} that is not pgtrail's{row[1]}",
            "pgtrail needs that name: docs/dba/coming-from.md moves another tool's schema out of the way without a gap",
        )


def _check_bookkeeping(connection: Connection) -> None:
    """yoyo looks its names up there: a function or a trigger of the schema's owner would run as who migrates."""
    row = connection.execute(
        """
        select nspowner::regrole::text
        from pg_namespace
        join pg_roles as owner on owner.oid = nspowner
        join pg_roles as present on present.rolname = current_user
        where nspname = %s
            and not owner.rolsuper
            and owner.oid <> present.oid
            and (present.rolsuper or not pg_has_role(owner.oid, 'usage'))
        """,
        [BOOKKEEPING_SCHEMA],
    ).fetchone()
    if row is not None:
        raise PgtrailError(
            f"the schema {BOOKKEEPING_SCHEMA} belongs to {row[0]}, whose code would run as this role",
            f"run pgtrail migrate as {row[0]}; or, where pgtrail was never installed, drop that schema",
        )


@contextmanager
def _yoyo(dsn: str) -> Iterator[PostgresqlPsycopgBackend]:
    # yoyo asks for the user's name, which a container's user id may not have.
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = "pgtrail"
    parameters: dict[str, Any] = conninfo_to_dict(with_defaults(dsn, application_name="pgtrail migrate"))
    ours = f"-c search_path={BOOKKEEPING_SCHEMA},pg_temp -c default_transaction_isolation=read\\ committed"
    parameters["options"] = added_options(parameters, ours)
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
        # The advisory lock guards; a row that a killed migration left would only be in the way.
        backend.create_lock_table()
        backend.break_lock()
        yield backend
    finally:
        backend.connection.close()
