"""Connections to Postgres, and transactions with the project's own settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import TupleRow

from pgtrail.connection import with_defaults
from pgtrail.queries import load
from pgtrail_worker.errors import DatabaseUnavailable

Connection = psycopg.AsyncConnection[TupleRow]


async def connect(conninfo: str) -> Connection:
    """A connection for `transaction`.

    :raises DatabaseUnavailable: it could not be made.
    """
    try:
        return await psycopg.AsyncConnection.connect(
            with_defaults(conninfo, application_name="pgtrail forward", connect_timeout="10"),
            autocommit=True,
            # Prepared statements are lost behind a transaction pooler.
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise DatabaseUnavailable(first_line(error)) from error


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction under our own settings: search_path, and how values are written as text."""
    # (In one round trip.)
    await connection.execute(load("pgtrail_worker")["begin"] + ";\n" + load("pgtrail")["settings"])
    try:
        yield
        await connection.commit()
    except psycopg.Error:
        # (Not where the task is cancelled: a server that hangs does not respond, and the connection is closed.)
        if not connection.closed:
            await connection.rollback()
        raise


def first_line(error: Exception) -> str:
    """An error as it is logged."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]
