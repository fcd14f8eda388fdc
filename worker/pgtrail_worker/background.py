"""What a worker does besides forwarding: seal, file, maintain, and update the gauges."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pgtrail_worker.database import Database
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.pace import SealPace

log = logging.getLogger(__name__)

SEAL_CHECK_SECONDS = 1.0


async def repeat(conninfo: str, work: Callable[[Database], Awaitable[None]], seconds: float, name: str) -> None:
    """Do some work over a new connection each time, with a pause between, for ever."""
    while True:
        try:
            async with Database(conninfo) as database:
                await work(database)
        except WorkerError as error:
            log.warning(f"{name} failed", extra={"action": f"worker.{name}_failed", "error": str(error)})
        await asyncio.sleep(seconds)


async def seal_when_due(database: Database, pace: SealPace, on_seal: Callable[[int], None]) -> None:
    """Seal whenever it is due, for ever, whether there are destinations or not. The database lets one worker do it.

    :param on_seal: called after each seal with the number of its events.
    """
    while True:
        events = await database.seal(pace.every, pace.events)
        if events is None:
            await asyncio.sleep(min(SEAL_CHECK_SECONDS, pace.every))
        else:
            log.info("sealed", extra={"action": "worker.sealed", "events": events})
            on_seal(events)


async def index_all_events(database: Database) -> None:
    while await database.index_events():
        pass
