"""The edge to Postgres: each request in a transaction of its own, as the viewer that it is for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from pgtrail.queries import load
from pgtrail_web.errors import Busy, from_database
from pgtrail_web.shares import Shares
from pgtrail_web.viewer import UTC, Viewer

Connection = psycopg.AsyncConnection[DictRow]

MOST_CONNECTIONS = 8
MOST_OF_ONE = 3
"""Connections that one viewer has at most: whoever makes slow requests leaves the rest to the others."""
WAIT_SECONDS = 4.0
"""So long a request waits for a connection; then the page says that the database is away."""
STATEMENT_MILLISECONDS = 15_000
APPLICATION = "pgtrail page"


def query(name: str) -> LiteralString:
    """A statement out of ``queries.sql``."""
    return load("pgtrail_web")[name]


class Database:
    """Connections to the log.

    :param conninfo: as libpq takes it; what it leaves out libpq's own variables say.
    :raises PageError: from each use.
    """

    def __init__(self, conninfo: str) -> None:
        given = {name: value for name, value in conninfo_to_dict(conninfo).items() if value}
        defaults = {"application_name": APPLICATION, "connect_timeout": "4"}
        self.conninfo = make_conninfo(conninfo, **defaults | given | {"client_encoding": "UTF8"})
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._shares = Shares(MOST_OF_ONE, WAIT_SECONDS)

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        # (At the first use: a part of another app hears nothing of that one's start.)
        if self._pool is None:
            self._pool = self._made()
        await self._pool.open()
        return self._pool

    def _made(self) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool(
            self.conninfo,
            connection_class=Connection,
            # Prepared statements are lost behind a transaction pooler.
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
            min_size=0,
            max_size=MOST_CONNECTIONS,
            timeout=WAIT_SECONDS,
            # After a restart of Postgres: found here, and made anew, before a page fails.
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    async def close(self) -> None:
        """Close all connections; the next use opens others."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    @asynccontextmanager
    async def session(
        self, viewer: Viewer, *, writing: bool = False, milliseconds: int = STATEMENT_MILLISECONDS
    ) -> AsyncIterator[Connection]:
        """A transaction that sees what the viewer may see, in one snapshot, in their time zone.

        :param milliseconds: after which a statement is given up; 0: never.
        """
        try:
            pool = await self._opened()
            async with self._shares.share(viewer), pool.connection() as connection, connection.transaction():
                isolation = query("read_committed" if writing else "read_only")
                await connection.execute(f"{isolation};\n{load('pgtrail')['settings']}")
                await self._become(connection, viewer, milliseconds)
                yield connection
        except PoolTimeout as error:
            # Connections there are, and all in use: that is not the database.
            raise (Busy(hint="Try again.") if self._is_connected() else from_database(error)) from error
        except psycopg.Error as error:
            raise from_database(error) from error

    def _is_connected(self) -> bool:
        return self._pool is not None and self._pool.get_stats().get("pool_size", 0) == MOST_CONNECTIONS

    @staticmethod
    async def _become(connection: Connection, viewer: Viewer, milliseconds: int) -> None:
        try:
            async with connection.transaction():
                await connection.execute(query("zone"), {"zone": viewer.zone})
        except psycopg.errors.InvalidParameterValue:
            await connection.execute(query("zone"), {"zone": UTC})
        await connection.execute(
            query("become"),
            {
                "milliseconds": str(milliseconds),
                "org": viewer.org,
                "actor": viewer.actor,
                "ip": viewer.ip,
                "user_agent": viewer.user_agent,
            },
        )


async def rows(connection: Connection, name: str, /, **parameters: Any) -> list[DictRow]:
    """What a statement gives."""
    return await (await connection.execute(query(name), parameters)).fetchall()


async def row(connection: Connection, name: str, /, **parameters: Any) -> DictRow | None:
    """The first row of what a statement gives."""
    return await (await connection.execute(query(name), parameters)).fetchone()


async def read_frame(connection: Connection) -> DictRow:
    """What stands round each page: categories, zone, what the viewer may do."""
    frame = await row(connection, "frame")
    assert frame is not None
    return frame
