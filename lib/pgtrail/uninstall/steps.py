"""How pgtrail goes: table by table, each in a moment of its own, then all the rest at once or not at all.

What is interrupted can be begun again: until the last commit the log is there, whole.
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
Said = Callable[[str], None]
Write = Callable[[Iterable[Piece], IO[bytes], int], int]
"""Writes pieces to a file, about so many; how many rows these were."""


class _TrackedAgain(Exception):
    """A table has been tracked while we were at it."""


class Export:
    """The log as CSV, in two parts: what there is before anything is taken away, and what was recorded since.

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
        """The header, and all that can be seen now."""
        total = begin_export(self._connection, {}).events
        with self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read, read only")
            row = self._connection.execute(QUERIES["seen"]).fetchone()
            assert row is not None
            snapshot, older = row
            self._late = _LATE.format(sql.Literal(older), sql.Literal(snapshot))
            with copy_csv(self._connection, None) as pieces:
                self.events = self._write_csv(pieces, self._output, total)

    def finish(self) -> None:
        """What could not be seen then. Call it where nobody can record anything any more.

        :raises PgtrailError: it was finished before, and what it was for did not come to pass.
        """
        if self._output.closed:
            raise PgtrailError("the last step failed once it was exported", "run pgtrail uninstall again")
        # The server sends one row a piece, after the header.
        with copy_csv(self._connection, self._late) as rows:
            for number, row in enumerate(rows):
                if number:
                    self._output.write(row)
                    self.events += 1
        self._open.close()


def release_tables(connection: Connection, said: Said, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Take the event triggers away, then what is ours from the application's tables, one after the other.

    :raises PgtrailError: one is in use for longer than this.
    """
    _run_all(connection, "drop_event_triggers")
    # Parents first: with their triggers go those of their partitions.
    for table in marked_tables(connection):
        _briefly(connection, table.name, partial(_release, connection, table), patience_seconds)
        said(f"{table.name} is as it was")


def remove_rest(connection: Connection, export: Export | None, *, cascade: bool, said: Said) -> list[Role]:
    """Drop the schemas, and the roles that nobody needs; those that stay.

    :raises PgtrailError: the log is in use, or somebody has come to depend on it: it is there still, and whole.
    """
    while True:
        try:
            return _briefly(connection, "the log", partial(_remove_rest, connection, export, cascade))
        except _TrackedAgain:
            release_tables(connection, said)


def _remove_rest(connection: Connection, export: Export | None, cascade: bool) -> list[Role]:
    _lock(connection, "; ".join(names(connection, "lock_log")))
    if any(table.lock for table in marked_tables(connection)):
        raise _TrackedAgain
    dependents = names(connection, "dependents")
    if dependents and not cascade:
        raise PgtrailError(
            f"these have come to depend on pgtrail: {', '.join(dependents)}",
            "the log is there still: drop them, or give --cascade",
        )
    if export:
        # Safely on disk before the log is gone.
        export.finish()
    _run_all(connection, "drop_schemas")
    return [stays for role in roles(connection) if (stays := _drop_role(connection, role))]


def _drop_role(connection: Connection, role: Role) -> Role | None:
    """The role with why it stays; None: it is gone."""
    if role.used or role.rights:
        return role
    try:
        with connection.transaction():
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role.name)))
    except psycopg.Error as error:
        return replace(role, used=[error.diag.message_primary or str(error)])
    return None


def _release(connection: Connection, table: MarkedTable) -> None:
    # First, so that what follows is no loss of capture.
    connection.execute(QUERIES["forget_table"], {"relation": table.relation})
    if table.lock:
        _lock(connection, table.lock)
    _run(connection, table.statements)


def _briefly(
    connection: Connection, subject: str, work: Callable[[], Done], patience_seconds: float = PATIENCE_SECONDS
) -> Done:
    """A transaction that is tried again as long as it does not get its locks within a moment.

    :raises PgtrailError: it never did.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with connection.transaction():
                return work()
        except _BUSY as error:
            if time.monotonic() > deadline:
                raise PgtrailError(
                    f"{subject} is in use: no moment was found in {patience_seconds:.0f} s to lock it",
                    "end the transaction that holds it: select * from pg_stat_activity where state <> 'idle'",
                ) from error
        time.sleep(PAUSE_SECONDS)


def _lock(connection: Connection, statement: str) -> None:
    # Whoever waits for a lock makes all that come after wait behind it: so briefly, and then lets them by.
    connection.execute("set local statement_timeout = '50ms'")
    _run(connection, statement)
    connection.execute("set local statement_timeout = 0")


def _run_all(connection: Connection, name: str) -> None:
    for statement in names(connection, name):
        _run(connection, statement)


def _run(connection: Connection, statements: str) -> None:
    # Several in one go, which can't be prepared.
    connection.execute(statements.encode(), prepare=False)
