"""Connections: ``--dsn``, else ``PGTRAIL_DSN``, else libpq's own variables and service file.

Each transaction has our own settings (`search_path` above all), whatever the server, the database, the role or the
environment say. Not the session: behind a transaction pooler that is other clients' too.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.abc import Params, Query
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import Row, TupleRow

from pgtrail.errors import DatabaseError, PgtrailError, from_database
from pgtrail.moments import Timestamps
from pgtrail.queries import load

ISOLATION = "set transaction isolation level read committed"
"""Of each transaction that sets no other level, whatever default_transaction_isolation is."""


class Cursor(psycopg.Cursor[Row]):
    """Runs each statement in the current transaction, else in one of its own, with our settings."""

    def execute(
        self, query: Any, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        with _transaction(self.connection):
            return super().execute(query, params, prepare=prepare, binary=binary)

    @contextmanager
    def copy(
        self, statement: Query, params: Params | None = None, *, writer: psycopg.copy.Writer | None = None
    ) -> Iterator[psycopg.Copy]:
        with _transaction(self.connection), super().copy(statement, params, writer=writer) as copied:
            yield copied


class Connection(psycopg.Connection[TupleRow]):
    """A connection on which each statement is its own transaction, unless `transaction` holds several together."""

    settings: str | None = None
    """The statements that each transaction begins with; None: the usual ones."""

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        outermost = _is_idle(self)
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if outermost:
                # (In one statement, which saves a round trip.)
                self.execute(f"{ISOLATION};\n{self.settings or load('pgtrail')['settings']}")
            yield transaction

    def fetch_one(self, query: Any, params: Params | None = None) -> tuple[Any, ...]:
        """The only row of a query that always returns one."""
        row = self.execute(query, params).fetchone()
        assert row is not None
        return row

    def call(self, function: str, *arguments: Any, **named: Any) -> Any:
        """What a SQL function returns, such as ``audit.untrack``; its arguments by position, then by name."""
        numbered = {str(position): value for position, value in enumerate(arguments)}
        given = [
            *map(sql.Placeholder, numbered),
            *(sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in named),
        ]
        query = sql.SQL("select {}({})").format(sql.Identifier(*function.split(".")), sql.SQL(", ").join(given))
        return self.fetch_one(query, numbered | named)[0]

    def execute_as_given(self, query: Any, params: Params | None = None) -> psycopg.Cursor[TupleRow]:
        """Run the user's own statement, or one that can't be in a transaction block, with the session's settings."""
        return psycopg.Cursor(self).execute(query, params)


def _transaction(connection: psycopg.Connection[Any]) -> AbstractContextManager[Any]:
    return connection.transaction() if _is_idle(connection) else nullcontext()


def _is_idle(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


def added_options(parameters: Mapping[str, Any], settings: str) -> str:
    """The ``options`` of a connection with settings after those that are given, there or in PGOPTIONS."""
    given = parameters.get("options") or os.environ.get("PGOPTIONS", "")
    return f"{given} {settings}".strip()


@contextmanager
def open_connection(dsn: str, **parameters: Any) -> Iterator[Connection]:
    """A connection on which each statement is its own transaction; the server's notices go to stderr.

    :raises PgtrailError: no connection, or a statement failed; in one line.
    """
    try:
        connection = connect(dsn, **parameters)
    except psycopg.Error as error:
        raise no_connection(error, dsn) from error
    connection.add_notice_handler(_show_notice)
    with connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise from_database(error, connection.info.user) from error


def connect(dsn: str, **parameters: Any) -> Connection:
    """The same, with psycopg's own errors and without notices.

    :raises psycopg.Error: from each use.
    """
    connection = Connection.connect(
        with_defaults(dsn, application_name="pgtrail", connect_timeout="10"),
        autocommit=True,
        cursor_factory=Cursor,
        # A named statement could be replaced by code that runs when an application's table is read.
        prepare_threshold=None,
        **parameters,
    )
    connection.adapters.register_loader("timestamptz", Timestamps)
    return connection


def check_obstacles(connection: Connection, query: str, subject: str = "") -> None:
    """Check that a query, whose rows are obstacles and their hints, finds none.

    :raises PgtrailError: the first one.
    """
    for problem, hint in connection.execute(load("pgtrail")[query]):
        raise PgtrailError(f"{subject}{problem}", hint)


def find_table(connection: Connection, name: str) -> int:
    """The oid of a table, named as in psql: with its schema, or found by the user's search_path.

    :raises PgtrailError: it does not exist.
    """
    (oid,) = connection.execute_as_given(load("pgtrail")["named_table"], {"name": name}).fetchone() or (None,)
    if oid is None:
        raise PgtrailError(
            f'relation "{name}" does not exist',
            "write it as schema.table, with double quotes round upper case and spaces",
        )
    return int(oid)


def no_connection(error: psycopg.Error, dsn: str) -> PgtrailError:
    """Why connecting failed, with a hint; never with the password."""
    reason = _reason(str(error))
    if "password" in reason:
        hint = "check the user and the password: in --dsn, PGPASSWORD or ~/.pgpass"
    elif "does not exist" in reason:
        hint = "create it first, or name another in --dsn or PGDATABASE"
    else:
        hint = "is the server running, and do --dsn, PGTRAIL_DSN or PGHOST and PGPORT say where?"
    target = conninfo_to_dict(dsn).get("host") if dsn else None
    return DatabaseError(f"no connection to the database{f' at {target}' if target else ''}: {reason}", hint)


def _reason(text: str) -> str:
    """The last part of libpq's message, which lists each address that it tried."""
    lines = [line for line in text.strip().splitlines() if line.strip() and not line.lstrip().startswith("-")]
    line = lines[0] if lines else text
    for marker in ("FATAL:", "failed: "):
        if marker in line:
            return line.rsplit(marker, 1)[1].strip()
    return line.strip()


def _show_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
    severity = (diagnostic.severity_nonlocalized or "NOTICE").lower()
    hint = f" ({diagnostic.message_hint})" if diagnostic.message_hint else ""
    sys.stderr.write(f"pgtrail: {severity}: {diagnostic.message_primary}{hint}\n")


def with_defaults(conninfo: str, **defaults: str) -> str:
    """The connection string, in UTF-8 whatever it says, and with parameters that it does not give itself."""
    given = conninfo_to_dict(conninfo)
    added = {name: value for name, value in defaults.items() if name not in given}
    return make_conninfo(conninfo, **added, client_encoding="UTF8")
