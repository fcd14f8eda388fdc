"""LISTEN: a notification wakes the worker, and says nothing else. Without a connection the worker polls."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg

from pgtrail.queries import load
from pgtrail_worker.connection import Connection, connect, first_line, transaction
from pgtrail_worker.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

IDLE_SECONDS = 30.0
"""How often the connection is tested."""
SILENT_SECONDS = 60
"""The server closes the connection after so long without a statement: it may hold the lock, and its host be down."""
RESPONSE_SECONDS = 10.0
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.5, 30.0
BUSY_COUNT, BUSY_SECONDS = 30, 0.1
"""With so many notifications in so many seconds they are coalesced: each takes a lock of the whole cluster."""
COALESCED_SECONDS = 0.05
"""The interval of coalesced notifications."""
COALESCED_LOOKS = 20
"""How many intervals in a row, before writers notify again: other writers may have no events."""


async def listen(conninfo: str, wake: Callable[[], None], on_reconnect: Callable[[], None] = lambda: None) -> None:
    """Call ``wake`` at each notification, and after each connect, for ever. Needs a connection without a pooler."""
    backoff = MIN_BACKOFF_SECONDS
    while True:
        try:
            async with await connect(conninfo) as connection:
                await _fetch(connection, "close_if_silent", seconds=f"{SILENT_SECONDS}s")
                await connection.execute("listen pgtrail")
                log.info("listening", extra={"action": "listen.connected"})
                backoff = MIN_BACKOFF_SECONDS
                wake()
                await _wake_at_notifications(connection, wake)
        except (DatabaseUnavailable, psycopg.Error, TimeoutError) as error:
            on_reconnect()
            log.warning(
                "not listening, polling goes on",
                extra={"action": "listen.lost", "error": first_line(error), "retry_in": backoff},
            )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)


async def _wake_at_notifications(connection: Connection, wake: Callable[[], None]) -> None:
    started, count, pinged = 0.0, 0, time.monotonic()
    while True:
        pids = [each.pid async for each in connection.notifies(timeout=IDLE_SECONDS, stop_after=1)]
        # (Those that this connection sent to the others are ignored.)
        heard = sum(pid != connection.info.backend_pid for pid in pids)
        # (Also while notifications come: to the server a listener that only receives is silent.)
        if time.monotonic() - pinged >= IDLE_SECONDS:
            async with asyncio.timeout(RESPONSE_SECONDS):
                # (Outside a transaction: it uses nothing that an application could have defined.)
                await connection.execute(load("pgtrail_worker")["ping"])
            pinged = time.monotonic()
        if not heard:
            continue
        wake()
        if time.monotonic() - started > BUSY_SECONDS:
            started, count = time.monotonic(), 0
        count += heard
        if count >= BUSY_COUNT:
            await _coalesce(connection, wake)
            wake()
            count = 0


async def _coalesce(connection: Connection, wake: Callable[[], None]) -> None:
    """Keep writers from notifying for a while, and notify for them as long as transactions begin."""
    reached = await _fetch(connection, "begin_coalescing")
    if reached is None:
        # Another worker does it already, and notifies this one.
        return
    for _ in range(COALESCED_LOOKS):
        await asyncio.sleep(COALESCED_SECONDS)
        reached = await _fetch(connection, "notify_others", reached=reached)
        if reached is None:
            break
        wake()
    await _fetch(connection, "end_coalescing")


async def _fetch(connection: Connection, query: str, **parameters: object) -> Any:
    """The first column of the first row of a query."""
    async with asyncio.timeout(RESPONSE_SECONDS), transaction(connection):
        cursor = await connection.execute(load("pgtrail_worker")[query], parameters)
        row = await cursor.fetchone()
    return row and row[0]
