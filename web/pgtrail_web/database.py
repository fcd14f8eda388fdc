"""Connections to Postgres: each request in a transaction of its own, as the viewer that it is for."""

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

MAX_CONNECTIONS = 8
MAX_PER_VIEWER = 3
"""Connections that one viewer has at most: whoever sends slow requests leaves the rest to the others."""
WAIT_SECONDS = 4.0
"""How long a request waits for a connection before it fails."""
STATEMENT_MILLISECONDS = 15_000
APPLICATION = "pgtrail page"


def query(name: str) -> LiteralString:
    """A statement of this package, or one that it shares with the command line."""
    return load("pgtrail_web").get(name) or load("pgtrail")[name]


class Database:
    """Connections to the log.

    :param conninfo: as libpq takes it; what it does not set is read from libpq's own variables.
    :raises PageError: from each use.
    """

    def __init__(self, conninfo: str) -> None:
        given = {name: value for name, value in conninfo_to_dict(conninfo).items() if value}
        defaults = {"application_name": APPLICATION, "connect_timeout": "4"}
        self.conninfo = make_conninfo(conninfo, **defaults | given | {"client_encoding": "UTF8"})
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._shares = Shares(MAX_PER_VIEWER, WAIT_SECONDS)

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        # (At the first use: a mounted app is not told when the other app starts.)
        if self._pool is None:
            self._pool = AsyncConnectionPool(
                self.conninfo,
                connection_class=Connection,
                # Prepared statements are lost behind a transaction pooler.
                kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
                min_size=0,
                max_size=MAX_CONNECTIONS,
                timeout=WAIT_SECONDS,
                # After a restart of Postgres connections are replaced before a page fails.
                check=AsyncConnectionPool.check_connection,
                open=False,
            )
        await self._pool.open()
        return self._pool

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

        :param milliseconds: the statement_timeout; 0: none.
        """
        try:
            pool = await self._opened()
            async with self._shares.share(viewer), pool.connection() as connection, connection.transaction():
                isolation = query("read_committed" if writing else "read_only")
                await connection.execute(f"{isolation};\n{query('settings')}")
                await self._become(connection, viewer, milliseconds)
                yield connection
        except PoolTimeout as error:
            # All connections are in use: the database itself is available.
            raise (Busy(hint="Try again.") if self._is_connected() else from_database(error)) from error
        except psycopg.Error as error:
            raise from_database(error) from error

    def _is_connected(self) -> bool:
        return self._pool is not None and self._pool.get_stats().get("pool_size", 0) == MAX_CONNECTIONS

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
    return await (await connection.execute(query(name), parameters)).fetchall()


async def row(connection: Connection, name: str, /, **parameters: Any) -> DictRow | None:
    return await (await connection.execute(query(name), parameters)).fetchone()


async def read_frame(connection: Connection) -> DictRow:
    """What each page shows around its contents: categories, zone, what the viewer may do."""
    frame = await row(connection, "frame")
    assert frame is not None
    return frame
