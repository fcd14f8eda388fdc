"""The edge to Postgres: a connection for calls, made anew when it breaks or does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import psycopg
from psycopg.rows import TupleRow, dict_row

from pgtrail.connection import with_defaults
from pgtrail.queries import load
from pgtrail_worker.destination import Destination, Found, find, from_row
from pgtrail_worker.errors import DatabaseAway, DatabaseRefused
from pgtrail_worker.handout import Handout
from pgtrail_worker.sending import Outcome

CALL_SECONDS = 30.0
"""A call that takes longer is given up, and its connection with it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to send, in their order.

    :param lease_token: None where another worker serves the destination.
    :param failures: failed attempts since the last success.
    :param failing_for: seconds since the first of them.
    :param dead_in_row: dead letters since the last delivery.
    :param in_flight: a writing transaction is open: look again soon.
    :param waiting: the next attempt is not due yet.
    """

    lease_token: int | None
    handout: Handout
    failures: int = 0
    failing_for: float = 0.0
    dead_in_row: int = 0
    in_flight: bool = False
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """How a destination fares.

    :param events_behind: it counts to 100,000; None: not known, nor is ``seconds_behind``.
    """

    name: str
    state: str
    events_behind: int | None
    seconds_behind: float | None
    dead_letters: int


class Database:
    """The calls of the forwarder, one at a time.

    :param reconnecting: called when a connection broke.
    :raises DatabaseAway: from each call, when there is no connection or it breaks.
    :raises DatabaseRefused: from each call, when the database answers with an error.
    """

    def __init__(self, conninfo: str, reconnecting: Callable[[], None] = lambda: None) -> None:
        self._conninfo = conninfo
        self._reconnecting = reconnecting
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

    async def destinations(self) -> list[Found]:
        """What is to be served: the destinations that are not paused, and the replays to them."""
        try:
            return [find(row) for row in await self._call("destinations", {"name": None, "cursor": None})]
        except DatabaseRefused as error:
            if error.sqlstate and not error.sqlstate.startswith("22"):
                raise
        # A row can't be read, which must cost the others nothing: each by itself.
        return [await self._found(row) for row in await self._call("cursors", {})]

    async def _found(self, row: dict[str, Any]) -> Found:
        try:
            (one,) = await self._call("destinations", {"name": None, "cursor": row["cursor_id"]})
        except (DatabaseRefused, ValueError) as error:
            reason = error.sqlstate if isinstance(error, DatabaseRefused) else ""
            told = f"its settings can't be read (SQLSTATE {reason or 'unknown'})"
            return Found(row["cursor_id"], row["name"], row["broken"], None, told)
        return find(one)

    async def destination(self, name: str) -> Destination | None:
        """One destination, paused or not; None: there is none of this name.

        :raises Unusable: its settings can't be used.
        """
        rows = await self._call("destinations", {"name": name, "cursor": None})
        return from_row(rows[0]) if rows else None

    async def next_batch(self, cursor: int, worker: str, lease: float, most: int, after: int | None = None) -> Batch:
        """The next events of a cursor, the same again until they are settled; or those after an event.

        :param lease: seconds.
        :param most: so many events are rendered, of which come as many as two megabytes hold.
        """
        parameters = {
            "cursor": cursor,
            "worker": worker,
            "lease": timedelta(seconds=lease),
            "after": after,
            "most": most,
        }
        (row,) = await self._call("next_batch", parameters)
        return Batch(
            row["lease_token"],
            Handout(row["event_ids"], row["resource_keys"], row["sizes"], row["body"], row["event_uids"]),
            row["failures"] or 0,
            row["failing_seconds"] or 0.0,
            row["dead_in_row"] or 0,
            row["in_flight"],
            row["waiting"],
        )

    async def shortened(self, cursor: int, event_id: int, max_bytes: int) -> bytes | None:
        """A shorter rendering of an event, where there is one."""
        rows = await self._call("shortened", {"cursor": cursor, "event": event_id, "max_bytes": max_bytes})
        return rows[0]["shortened"] if rows else None

    async def settle(self, cursor: int, lease_token: int, outcome: Outcome, retry_in: float | None = None) -> bool:
        """Record the attempt and move the cursor. False: the lease was lost.

        :param retry_in: seconds, where the outcome is a failure.
        """
        failure = outcome.failure
        (row,) = await self._call(
            "settle",
            {
                "cursor": cursor,
                "lease_token": lease_token,
                "delivered": list(outcome.delivered),
                "through": outcome.through,
                "dead_ids": [dead.event_id for dead in outcome.dead],
                "dead_statuses": [dead.status for dead in outcome.dead],
                "dead_errors": [dead.error for dead in outcome.dead],
                "dead_in_row": outcome.dead_in_row,
                "failed": failure.event_id if failure else None,
                "status": failure.status if failure else None,
                "error": failure.failed.error if failure else None,
                "retry_in": None if retry_in is None else timedelta(seconds=retry_in),
                "hold": failure.failed.hold.value if failure and failure.failed.hold else None,
            },
        )
        return bool(row["settle"])

    async def renew_lease(self, cursor: int, lease_token: int, lease: float) -> bool:
        """Keep a lease for so many seconds more. False: it was lost."""
        (row,) = await self._call(
            "renew_lease", {"cursor": cursor, "lease_token": lease_token, "lease": timedelta(seconds=lease)}
        )
        return bool(row["renew_lease"])

    async def release_lease(self, cursor: int, lease_token: int) -> None:
        """Let another worker serve the destination at once."""
        await self._call("release_lease", {"cursor": cursor, "lease_token": lease_token})

    async def report_broken(self, cursor: int, worker: str, error: str | None) -> None:
        """Say that a cursor can't be served, or (None) that it can again."""
        await self._call("report_broken", {"cursor": cursor, "worker": worker, "error": error})

    async def record_heartbeat(self, worker: str, lease: float) -> None:
        """A sign of life, which others count when they share the destinations."""
        await self._call("record_heartbeat", {"worker": worker, "lease": timedelta(seconds=lease)})

    async def remove_worker(self, worker: str) -> None:
        """Let the others share the destinations among themselves at once."""
        await self._call("remove_worker", {"worker": worker})

    async def status(self) -> list[Status]:
        """How the destinations fare."""
        return [
            Status(row["name"], row["state"], row["events_behind"], row["seconds_behind"], row["dead_letters"])
            for row in await self._call("status", {})
        ]

    async def seal(self, every: float, events: int) -> int | None:
        """Seal where the last seal is so many seconds ago, or so many events wait. How many; None: it is not due."""
        rows = await self._call("seal", {"every": timedelta(seconds=every), "events": events})
        return rows[0]["events"] if rows else None

    async def maintain(self) -> None:
        """Make partitions ahead, forget old attempts."""
        await self._call("maintain", {})

    async def file_events(self) -> bool:
        """Once enough events wait for it, note where those of each actor and action are. Whether there are more."""
        return bool((await self._call("file_events", {}))[0]["more"])

    async def _call(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
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

    async def _run(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        connection = await self._connected()
        try:
            # Binary: a body comes as the bytes that it is.
            async with transaction(connection), connection.cursor(binary=True, row_factory=dict_row) as cursor:
                await cursor.execute(load("pgtrail_worker")[query], parameters)
                return await cursor.fetchall()
        except psycopg.Error as error:
            if connection.closed:
                self._reconnecting()
                raise DatabaseAway(first_line(error)) from error
            raise DatabaseRefused(first_line(error), error.diag.message_hint, error.sqlstate) from error
        except (ValueError, OverflowError, RecursionError) as error:
            # A value that Python can't hold. (Not the error itself, which quotes it.)
            raise DatabaseRefused(f"the result of {query} can't be read ({type(error).__name__})") from error

    async def _connected(self) -> psycopg.AsyncConnection[TupleRow]:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._conninfo)
        return self._connection


async def connect(conninfo: str) -> psycopg.AsyncConnection[TupleRow]:
    """A connection for `transaction`.

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


@asynccontextmanager
async def transaction(connection: psycopg.AsyncConnection[TupleRow]) -> AsyncIterator[None]:
    """A transaction under our own settings: search_path, and what texts look like."""
    # (In one go: each is a way to the server and back.)
    await connection.execute(load("pgtrail_worker")["begin"] + ";\n" + load("pgtrail")["settings"])
    try:
        yield
        await connection.commit()
    except psycopg.Error:
        # (Not where it is given up: a server that hangs does not answer that either, and the connection is closed.)
        if not connection.closed:
            await connection.rollback()
        raise


def first_line(error: Exception) -> str:
    """An error as a log has it."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]
