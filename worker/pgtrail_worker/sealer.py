"""Seals, whether there are destinations or not: one session at a time, which the database sees to."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from pgtrail_worker.database import Database
from pgtrail_worker.errors import WorkerError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SealPace:
    """When a seal is due.

    :param every: seconds after the last one, if there is anything to seal.
    :param events: or as soon as so many wait.
    """

    every: float = 10.0
    events: int = 10_000


async def keep_sealing(conninfo: str, pace: SealPace, sealed: Callable[[int], None]) -> None:
    """Seal whenever it is due, for ever.

    :param sealed: called after each seal with the number of its events.
    """
    while True:
        try:
            async with Database(conninfo) as database:
                while True:
                    events = await database.seal(pace.every, pace.events)
                    if events is None:
                        await asyncio.sleep(min(LOOK_SECONDS, pace.every))
                    else:
                        log.info("sealed", extra={"action": "worker.sealed", "events": events})
                        sealed(events)
        except WorkerError as error:
            log.warning("not sealed", extra={"action": "worker.unsealed", "error": str(error)})
            await asyncio.sleep(LOOK_SECONDS)
