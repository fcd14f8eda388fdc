"""The functions of ``sql/adopt/``, which only adoption needs and no database keeps.

A command creates those that it calls in its session's temporary schema, for one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from pgtrail.connection import Connection
from pgtrail.errors import DatabaseError
from pgtrail.project_files import project_files
from pgtrail.queries import load

QUERIES = load("pgtrail")


@contextmanager
def adoption_code(connection: Connection, command: str, rollback: bool = True) -> Iterator[None]:
    """A transaction with a command's functions in ``pg_temp``, which are dropped at its end.

    :param rollback: undo everything else that is done in it too.
    """
    with connection.transaction(force_rollback=rollback):
        install(connection, command)
        yield
        if not rollback:
            connection.execute(QUERIES["drop_adoption_code"])


def install(connection: psycopg.Connection[Any], command: str) -> None:
    """Create a command's functions in the session's temporary schema.

    :param command: a folder of ``sql/adopt/``.
    :raises DatabaseError: this role may not create temporary objects.
    """
    files = [file for folder in ("shared", command) for file in sorted((_folder() / folder).glob("*.sql"))]
    try:
        # (They refer to each other in any order.)
        connection.execute("set local check_function_bodies = off")
        connection.execute(b"\n".join(file.read_bytes() for file in files))
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            error.diag.message_primary or str(error),
            f"pgtrail {command} creates temporary functions: grant {connection.info.user} TEMPORARY on this database",
        ) from error


def _folder() -> Path:
    return project_files("sql") / "adopt"
