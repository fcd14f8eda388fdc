"""Removes pgtrail: first from each tracked table, then all the rest in one transaction.

If it is interrupted, it can be run again: the log is complete until the last commit.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import psycopg
from psycopg import sql

from pgtrail.atomic_file import atomic_file
from pgtrail.connection import Connection
from pgtrail.errors import PgtrailError
from pgtrail.export import Piece, begin_export, copy_csv
from pgtrail.uninstall import QUERIES
from pgtrail.uninstall.plan import MarkedTable, Role, marked_tables, names, roles

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.1
_BUSY = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_LATE = sql.SQL(
    "id in (select event.id from audit.event where event.id > {} and not pg_visible_in_snapshot(event.xid, {}))"
)

Done = TypeVar("Done")
Report = Callable[[str], None]
Write = Callable[[Iterable[Piece], IO[bytes], int], int]
"""Writes pieces to a file; the number is about how many. Returns the number of rows."""


class _TrackedAgain(Exception):
    """A table was tracked meanwhile."""


class Export:
    """The log as CSV, in two parts: what there is before anything is removed, and what was recorded since.

    A context manager; the file appears with `finish`.

    :param write_csv: how the first part is written.
    :param events: how many have been written.
    """

    def __init__(self, connection: Connection, file: Path, write_csv: Write) -> None:
        self._connection = connection
        self._file = file
        self._write_csv = write_csv
        self._open = contextlib.ExitStack()
        self.events = 0

    def __enter__(self) -> Self:
        self._output = self._open.enter_context(atomic_file(self._file))
        return self

    def __exit__(self, *failure: Any) -> None:
        self._open.__exit__(*failure)

    def write(self) -> None:
        """Write the header, and all events that are visible now."""
        total = begin_export(self._connection, {}).events
        with self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read, read only")
            snapshot, older = self._connection.fetch_one(QUERIES["seen"])
            self._late = _LATE.format(sql.Literal(older), sql.Literal(snapshot))
            with copy_csv(self._connection, None) as pieces:
                self.events = self._write_csv(pieces, self._output, total)

    def finish(self) -> None:
        """Write the events that have become visible since. Call it when nothing more can be recorded.

        :raises PgtrailError: it was called before, and the step after it failed.
        """
        if self._output.closed:
            raise PgtrailError("the last step failed after the export was finished", "run pgtrail uninstall again")
        # The server sends one row a piece, after the header.
        with copy_csv(self._connection, self._late) as rows:
            for number, row in enumerate(rows):
                if number:
                    self._output.write(row)
                    self.events += 1
        self._open.close()


def release_tables(connection: Connection, report: Report, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Drop the event triggers, then what is pgtrail's on each of the application's tables.

    :raises PgtrailError: a table was in use for longer than that.
    """
    for name in names(connection, "event_triggers"):
        connection.execute(sql.SQL("drop event trigger {}").format(sql.Identifier(name)))
    # Parents first: their triggers are dropped together with those of their partitions.
    for table in marked_tables(connection):
        _retry_while_locked(connection, table.name, partial(_release, connection, table), patience_seconds)
        report(f"{table.name} is no longer tracked")


def remove_rest(connection: Connection, export: Export | None, *, cascade: bool, report: Report) -> list[Role]:
    """Drop the schemas, and the roles that are no longer needed. Returns the roles that stay.

    :raises PgtrailError: the log is in use, or something depends on it; nothing was dropped.
    """
    while True:
        try:
            return _retry_while_locked(connection, "the log", partial(_remove_rest, connection, export, cascade))
        except _TrackedAgain:
            release_tables(connection, report)


def _remove_rest(connection: Connection, export: Export | None, cascade: bool) -> list[Role]:
    _lock(connection, "; ".join(names(connection, "lock_log")))
    if any(table.lock for table in marked_tables(connection)):
        raise _TrackedAgain
    dependents = names(connection, "dependents")
    if dependents and not cascade:
        raise PgtrailError(
            f"these depend on pgtrail by now: {', '.join(dependents)}",
            "the log was not removed: drop them, or give --cascade",
        )
    if export:
        # It must be on disk before the log is dropped.
        export.finish()
    for statement in names(connection, "drop_schemas"):
        _run(connection, statement)
    return [stays for role in roles(connection) if (stays := _drop_role(connection, role))]


def _drop_role(connection: Connection, role: Role) -> Role | None:
    """The role with the reasons why it stays; None: it was dropped."""
    if role.used or role.rights:
        return role
    try:
        with connection.transaction():
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role.name)))
    except psycopg.Error as error:
        return replace(role, used=[error.diag.message_primary or str(error)])
    return None


def _release(connection: Connection, table: MarkedTable) -> None:
    # First, so that what follows is not recorded as a loss of capture.
    connection.execute(QUERIES["forget_table"], {"relation": table.relation})
    if table.lock:
        _lock(connection, table.lock)
    _run(connection, table.statements)


def _retry_while_locked(
    connection: Connection, subject: str, work: Callable[[], Done], patience_seconds: float = PATIENCE_SECONDS
) -> Done:
    """Run a transaction, again and again until it gets its locks.

    :raises PgtrailError: it did not get them in time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with connection.transaction():
                return work()
        except _BUSY as error:
            if time.monotonic() > deadline:
                raise PgtrailError(
                    f"{subject} is in use: it could not be locked within {patience_seconds:.0f} s",
                    "end the transaction that holds it: select * from pg_stat_activity where state <> 'idle'",
                ) from error
        time.sleep(PAUSE_SECONDS)


def _lock(connection: Connection, statement: str) -> None:
    # A session that waits for a lock makes all later ones wait behind it, so this waits only briefly.
    connection.execute("set local statement_timeout = '50ms'")
    _run(connection, statement)
    connection.execute("set local statement_timeout = 0")


def _run(connection: Connection, statements: str) -> None:
    # (Several statements at once can't be prepared.)
    connection.execute(statements.encode(), prepare=False)
