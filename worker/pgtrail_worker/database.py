"""The edge to Postgres: a connection for calls, made anew when it breaks or does not answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from pgtrail_worker.errors import DatabaseAway, DatabaseRefused
from pgtrail_worker.queries import load

CALL_SECONDS = 30.0
"""A call that takes longer is given up, and its connection with it."""


@dataclass(frozen=True, slots=True)
class Destination:
    """What the forwarder has to know of a destination. ``secret`` never shows in its repr."""

    id: int
    name: str
    url: str
    content_type: str
    secret: "Secret"


class Secret(str):
    """A string that does not show itself in logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to send, in their order.

    :param lease_token: None where another worker serves the destination.
    :param failures: failed attempts since the last success.
    :param in_flight: a writing transaction is open: look again soon.
    :param waiting: the next attempt is not due yet.
    """

    lease_token: int | None
    event_ids: tuple[int, ...]
    bodies: tuple[str, ...]
    failures: int
    in_flight: bool
    waiting: bool


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a batch: what was delivered and, if a request failed, which and why."""

    delivered: tuple[int, ...]
    failed: int | None = None
    status: int | None = None
    error: str | None = None
    retry_in: float | None = None


class Database:
    """The calls of the forwarder, one at a time.

    :raises DatabaseAway: from each call, when there is no connection or it breaks.
    :raises DatabaseRefused: from each call, when the database answers with an error.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with self._lock:
            await self._connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def destinations(self) -> list[Destination]:
        """The destinations that are not paused."""
        rows = await self._call("destinations", {})
        return [
            Destination(id, name, url, content_type, Secret(secret)) for id, name, url, content_type, secret in rows
        ]

    async def next_batch(self, destination: int, worker: str, max_events: int) -> Batch:
        """The next events of a destination, the same again until they are settled."""
        rows = await self._call("next_batch", {"destination": destination, "worker": worker, "max_events": max_events})
        lease_token, event_ids, bodies, failures, in_flight, waiting = rows[0]
        return Batch(lease_token, tuple(event_ids), tuple(bodies), failures or 0, in_flight, waiting)

    async def settle(self, destination: int, lease_token: int, settlement: Settlement) -> bool:
        """Record the attempt and move the cursor. False: the lease was lost."""
        retry_in = None if settlement.retry_in is None else timedelta(seconds=settlement.retry_in)
        rows = await self._call(
            "settle",
            {
                "destination": destination,
                "lease_token": lease_token,
                "delivered": list(settlement.delivered),
                "failed": settlement.failed,
                "status": settlement.status,
                "error": settlement.error,
                "retry_in": retry_in,
            },
        )
        return bool(rows[0][0])

    async def release_lease(self, destination: int, lease_token: int) -> None:
        """Let another worker serve the destination at once."""
        await self._call("release_lease", {"destination": destination, "lease_token": lease_token})

    async def maintain(self) -> None:
        """Make partitions ahead, forget old attempts."""
        await self._call("maintain", {})

    async def _call(self, query: str, parameters: Mapping[str, Any]) -> list[TupleRow]:
        async with self._lock:
            running = asyncio.ensure_future(self._run(query, parameters))
            try:
                await asyncio.wait({running}, timeout=CALL_SECONDS)
            finally:
                if not running.done():
                    # psycopg waits until a cancelled statement has ended, and a server that hangs never says so.
                    running.add_done_callback(lambda task: task.cancelled() or task.exception())
                    running.cancel()
                    await self.close()
            if running.cancelled() or not running.done():
                raise DatabaseAway(f"the database did not answer within {CALL_SECONDS:g} s")
            return running.result()

    async def _run(self, query: str, parameters: Mapping[str, Any]) -> list[TupleRow]:
        connection = await self._connected()
        try:
            cursor = await connection.execute(load("pgtrail_worker")[query], parameters)
            return await cursor.fetchall()
        except psycopg.Error as error:
            if connection.closed:
                raise DatabaseAway(first_line(error)) from error
            raise DatabaseRefused(first_line(error), error.diag.message_hint) from error

    async def _connected(self) -> psycopg.AsyncConnection[TupleRow]:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._conninfo)
        return self._connection


async def connect(conninfo: str) -> psycopg.AsyncConnection[TupleRow]:
    """A connection on which each statement is its own transaction.

    :raises DatabaseAway: there is none to be had.
    """
    try:
        return await psycopg.AsyncConnection.connect(
            with_defaults(conninfo, application_name="pgtrail forward", connect_timeout="10"),
            autocommit=True,
            # Prepared statements are lost behind a transaction pooler.
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise DatabaseAway(first_line(error)) from error


def with_defaults(conninfo: str, **defaults: str) -> str:
    """The connection string, with parameters that it does not give itself."""
    given = conninfo_to_dict(conninfo)
    return make_conninfo(conninfo, **{name: value for name, value in defaults.items() if name not in given})


def first_line(error: Exception) -> str:
    """An error as a log has it."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]
