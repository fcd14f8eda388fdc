"""The worker's calls to Postgres, over a connection that is replaced when it breaks or does not respond."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from pgtrail.queries import load
from pgtrail_worker.batch import Batch
from pgtrail_worker.connection import Connection, connect, first_line, transaction
from pgtrail_worker.destination import Destination, ListedDestination
from pgtrail_worker.errors import DatabaseUnavailable, StatementFailed
from pgtrail_worker.send_queue import Outcome

CALL_SECONDS = 30.0
"""A call that takes longer is cancelled, and its connection closed."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a destination fares.

    :param events_behind: counted to 100,000; None: not known, nor is ``seconds_behind``.
    """

    name: str
    state: str
    events_behind: int | None
    seconds_behind: float | None
    dead_letters: int


class Database:
    """The calls of the forwarder, one at a time. Durations are in seconds.

    :param on_reconnect: called when a connection broke.
    :raises DatabaseUnavailable: from each call, when there is no connection or it breaks.
    :raises StatementFailed: from each call, when the database responds with an error.
    """

    def __init__(self, conninfo: str, on_reconnect: Callable[[], None] = lambda: None) -> None:
        self._conninfo = conninfo
        self._on_reconnect = on_reconnect
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with self._lock:
            await self._connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def destinations(self) -> list[ListedDestination]:
        """What is to be served: the destinations that are not paused, and the replays to them."""
        try:
            rows = await self._call("destinations", name=None, cursor=None)
            return [ListedDestination.from_row(row) for row in rows]
        except StatementFailed as error:
            if error.sqlstate and not error.sqlstate.startswith("22"):
                raise
        # A row can't be read, which must cost the others nothing: each by itself.
        return [await self._listed(**row) for row in await self._call("cursors")]

    async def _listed(self, cursor_id: int, name: str, broken: str | None) -> ListedDestination:
        try:
            (row,) = await self._call("destinations", name=None, cursor=cursor_id)
        except (StatementFailed, ValueError) as error:
            sqlstate = getattr(error, "sqlstate", None) or "unknown"
            return ListedDestination(cursor_id, name, broken, None, f"its settings can't be read (SQLSTATE {sqlstate})")
        return ListedDestination.from_row(row)

    async def destination(self, name: str) -> Destination | None:
        """One destination, paused or not; None: no destination has this name.

        :raises InvalidDestination: its settings can't be used.
        """
        rows = await self._call("destinations", name=name, cursor=None)
        return Destination.from_row(rows[0]) if rows else None

    async def next_batch(
        self, cursor: int, worker: str, lease: float, max_events: int, after: int | None = None
    ) -> Batch:
        """The next events of a cursor, the same again until they are settled; or those after an event.

        :param max_events: so many are rendered, of which two megabytes at most are returned.
        """
        (row,) = await self._call(
            "next_batch", cursor=cursor, worker=worker, lease=lease, max_events=max_events, after=after
        )
        return Batch(**row)

    async def render_shortened(self, cursor: int, event_id: int, max_bytes: int) -> bytes | None:
        """A shorter rendering of an event, if there is one."""
        rows = await self._call("render_shortened", cursor=cursor, event=event_id, max_bytes=max_bytes)
        return rows[0]["event"] if rows else None

    async def record_delivery(
        self, cursor: int, lease_token: int, outcome: Outcome, retry_in: float | None = None
    ) -> bool:
        """Record the attempt and move the cursor. False: the lease was lost.

        :param retry_in: for an outcome that is a failure.
        """
        failure = outcome.failure
        hold = failure.failed.hold if failure else None
        (row,) = await self._call(
            "record_delivery",
            cursor=cursor,
            lease_token=lease_token,
            delivered=list(outcome.delivered),
            through=outcome.through,
            dead_ids=[dead.event_id for dead in outcome.dead],
            dead_statuses=[dead.status for dead in outcome.dead],
            dead_errors=[dead.error for dead in outcome.dead],
            dead_in_row=outcome.dead_in_row,
            failed=failure.event_id if failure else None,
            status=failure.status if failure else None,
            error=failure.failed.error if failure else None,
            retry_in=retry_in,
            hold=hold.value if hold else None,
        )
        return bool(row["held"])

    async def renew_lease(self, cursor: int, lease_token: int, lease: float) -> bool:
        """Extend a lease. False: it was lost."""
        (row,) = await self._call("renew_lease", cursor=cursor, lease_token=lease_token, lease=lease)
        return bool(row["held"])

    async def release_lease(self, cursor: int, lease_token: int) -> None:
        """Let another worker serve the destination at once."""
        await self._call("release_lease", cursor=cursor, lease_token=lease_token)

    async def report_broken(self, cursor: int, worker: str, error: str | None) -> None:
        """Record that a cursor can't be served, or (None) that it can again."""
        await self._call("report_broken", cursor=cursor, worker=worker, error=error)

    async def record_heartbeat(self, worker: str, lease: float) -> None:
        """Record that this worker runs: the destinations are shared among those that do."""
        await self._call("record_heartbeat", worker=worker, lease=lease)

    async def remove_worker(self, worker: str) -> None:
        """Let the others share the destinations among themselves at once."""
        await self._call("remove_worker", worker=worker)

    async def status(self) -> list[Status]:
        """How the destinations fare."""
        return [Status(**row) for row in await self._call("status")]

    async def seal(self, every: float, events: int) -> int | None:
        """Seal if the last seal is so old, or so many events wait. How many were sealed; None: it is not due."""
        rows = await self._call("seal", every=every, events=events)
        return rows[0]["events"] if rows else None

    async def maintain(self) -> None:
        """Make partitions ahead, delete old attempts."""
        await self._call("maintain")

    async def index_events(self) -> bool:
        """Once enough events wait for it, note where those of each actor and action are. Whether there are more."""
        return bool((await self._call("index_events"))[0]["more"])

    async def _call(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
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
                raise DatabaseUnavailable(f"the database did not respond within {CALL_SECONDS:g} s")
            return running.result()

    async def _run(self, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        connection = await self._connected()
        try:
            # Binary: a body comes as the bytes that it is.
            async with transaction(connection), connection.cursor(binary=True, row_factory=dict_row) as cursor:
                await cursor.execute(load("pgtrail_worker")[query], parameters)
                return await cursor.fetchall()
        except psycopg.Error as error:
            if connection.closed:
                self._on_reconnect()
                raise DatabaseUnavailable(first_line(error)) from error
            raise StatementFailed(first_line(error), error.diag.message_hint, error.sqlstate) from error
        except (ValueError, OverflowError, RecursionError) as error:
            # A value that Python can't hold. (Not the error itself, which quotes it.)
            raise StatementFailed(f"the result of {query} can't be read ({type(error).__name__})") from error

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._conninfo)
        return self._connection
