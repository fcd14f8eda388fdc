"""The edge to NOTIFY: it wakes, and says nothing else. Polling goes on where it is deaf."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection

from pgtrail.queries import load
from pgtrail_worker.database import connect, first_line, transaction
from pgtrail_worker.errors import DatabaseAway

log = logging.getLogger(__name__)

CHANNEL = "pgtrail"
IDLE_SECONDS = 30.0
"""So often the connection is tried: a dead peer says nothing."""
SILENT_SECONDS = 60
"""After so long without a word the server gives this connection up: it may hold the wake-up, and its host be gone."""
ANSWER_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 30.0
BUSY_COUNT, BUSY_SECONDS = 30, 0.1
"""So many in so many seconds make the worker hush the writers: each costs a commit the lock of the whole cluster."""
HUSH_SECONDS = 0.05
"""How long it is between looks then."""
HUSHES = 20
"""How many in a row, before a writer has to notify again: that others write is no sign that there are events."""


async def listen(conninfo: str, wake: Callable[[], None], reconnecting: Callable[[], None] = lambda: None) -> None:
    """Call ``wake`` at each notification, and after each connect, for ever. Needs a connection without a pooler."""
    backoff = 0.5
    while True:
        try:
            async with await connect(conninfo) as connection:
                await _ask(connection, "expect_signs_of_life", seconds=f"{SILENT_SECONDS}s")
                await connection.execute(f"listen {CHANNEL}")
                log.info("listening", extra={"action": "listen.connected"})
                backoff = 0.5
                wake()
                await _hear(connection, wake)
        except (DatabaseAway, psycopg.Error, TimeoutError) as error:
            reconnecting()
            log.warning(
                "not listening, polling goes on",
                extra={"action": "listen.lost", "error": first_line(error), "again_in": backoff},
            )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)


async def _hear(connection: AsyncConnection, wake: Callable[[], None]) -> None:
    """Wake at each notification; where they come thick and fast, hush the writers."""
    began, count, asked = 0.0, 0, time.monotonic()
    while True:
        pids = [each.pid async for each in connection.notifies(timeout=IDLE_SECONDS, stop_after=1)]
        # (What this connection sends to the others says nothing new.)
        heard = sum(pid != connection.info.backend_pid for pid in pids)
        # (What it hears is no sign of life of this side.)
        if time.monotonic() - asked >= IDLE_SECONDS:
            # (It names nothing that could be somebody else's.)
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.execute(load("pgtrail_worker")["ping"])
            asked = time.monotonic()
        if not heard:
            continue
        wake()
        if time.monotonic() - began > BUSY_SECONDS:
            began, count = time.monotonic(), 0
        count += heard
        if count >= BUSY_COUNT:
            await _hush(connection, wake)
            wake()
            count = 0


async def _hush(connection: AsyncConnection, wake: Callable[[], None]) -> None:
    """Have no writer notify for a while, and look, and have the others look, as long as there are writers."""
    reached = await _ask(connection, "hush")
    if reached is None:
        # Another worker has done it, and notifies us.
        return
    for _ in range(HUSHES):
        await asyncio.sleep(HUSH_SECONDS)
        reached = await _ask(connection, "notify_others", reached=reached)
        if reached is None:
            break
        wake()
    await _ask(connection, "end_hush")


async def _ask(connection: AsyncConnection, query: str, **parameters: object) -> Any:
    async with asyncio.timeout(ANSWER_SECONDS), transaction(connection):
        cursor = await connection.execute(load("pgtrail_worker")[query], parameters)
        row = await cursor.fetchone()
    return row and row[0]
