"""The edge to NOTIFY: it wakes, and says nothing else. Polling goes on where it is deaf."""

import asyncio
import logging
from collections.abc import Callable

import psycopg

from pgtrail_worker.database import connect, first_line
from pgtrail_worker.errors import DatabaseAway

log = logging.getLogger(__name__)

CHANNEL = "pgtrail"
IDLE_SECONDS = 30.0
"""After so long without a notification the connection is tried: a dead peer says nothing."""
PING_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 30.0


async def listen(conninfo: str, wake: Callable[[], None], reconnecting: Callable[[], None] = lambda: None) -> None:
    """Call ``wake`` at each notification, and after each connect, for ever. Needs a connection without a pooler."""
    backoff = 0.5
    while True:
        try:
            async with await connect(conninfo) as connection:
                await connection.execute(f"listen {CHANNEL}")
                log.info("listening", extra={"action": "listen.connected"})
                backoff = 0.5
                wake()
                while True:
                    async for _ in connection.notifies(timeout=IDLE_SECONDS):
                        wake()
                    async with asyncio.timeout(PING_SECONDS):
                        await connection.execute("select 1")
        except (DatabaseAway, psycopg.Error, TimeoutError) as error:
            reconnecting()
            log.warning(
                "not listening, polling goes on",
                extra={"action": "listen.lost", "error": first_line(error), "again_in": backoff},
            )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
