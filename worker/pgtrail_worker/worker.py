"""All destinations: the composer of the forwarder."""

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from functools import partial

from pgtrail_worker import http
from pgtrail_worker.database import Database, Destination
from pgtrail_worker.delivery import Delivery, Pace, Post
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.listener import listen

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long requests in flight may take to end after a stop."""
MAINTENANCE_SECONDS = 3600.0


class Worker:
    """Serves every destination, each in its own task: a slow one never holds up another."""

    def __init__(self, conninfo: str, pace: Pace | None = None) -> None:
        self._conninfo = conninfo
        self._pace = pace or Pace()
        # The random part: after a restart in a container, host and pid are the same again.
        self._name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._stopping = asyncio.Event()
        self._served: dict[Destination, tuple[Delivery, asyncio.Task[None]]] = {}

    def stop(self) -> None:
        """Let what is in flight end, then ``run`` returns."""
        self._stopping.set()
        self._wake()

    async def run(self) -> None:
        """Forward until ``stop`` is called.

        :raises DatabaseAway: the first connect failed; later ones are tried again.
        """
        async with Database(self._conninfo) as database, http.client() as client:
            log.info("forwarding", extra={"action": "worker.started", "worker": self._name})
            helpers = [
                asyncio.create_task(listen(self._conninfo, self._wake)),
                asyncio.create_task(self._maintain(database)),
            ]
            try:
                while not self._stopping.is_set():
                    await self._serve(database, partial(http.post, client))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), self._pace.poll)
            finally:
                await self._end(helpers)
            log.info("stopped", extra={"action": "worker.stopped", "worker": self._name})

    async def _serve(self, database: Database, post: Post) -> None:
        """Bring the tasks up to the destinations as they are configured now."""
        try:
            wanted = set(await database.destinations())
        except WorkerError as error:
            log.warning("destinations unknown", extra={"action": "worker.blind", "error": str(error)})
            return
        for destination, (_, task) in list(self._served.items()):
            if task.done():
                log.error(
                    "a delivery died",
                    extra={"action": "worker.died", "destination": destination.name},
                    exc_info=task.exception(),
                )
                del self._served[destination]
        for destination in self._served.keys() - wanted:
            delivery, task = self._served.pop(destination)
            await _cancel([task])
            with contextlib.suppress(WorkerError):
                await delivery.release()
        for destination in wanted - self._served.keys():
            delivery = Delivery(destination, database, post, self._name, self._stopping, self._pace)
            self._served[destination] = (delivery, asyncio.create_task(delivery.run()))

    async def _maintain(self, database: Database) -> None:
        while True:
            try:
                await database.maintain()
            except WorkerError as error:
                log.warning("maintenance failed", extra={"action": "worker.unmaintained", "error": str(error)})
            await asyncio.sleep(MAINTENANCE_SECONDS)

    def _wake(self) -> None:
        for delivery, _ in self._served.values():
            delivery.wake()

    async def _end(self, helpers: list[asyncio.Task[None]]) -> None:
        tasks = [task for _, task in self._served.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        await _cancel([*helpers, *tasks])
        for delivery, _ in self._served.values():
            with contextlib.suppress(WorkerError):
                await delivery.release()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
