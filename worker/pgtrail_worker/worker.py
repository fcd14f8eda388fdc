"""All destinations: the composer of the forwarder."""

import asyncio
import logging
import os
import socket
import uuid
from functools import partial
from typing import Any

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
    """Serves every destination, each in a task and over a connection of its own: a slow one never holds up another."""

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

    async def run(self) -> None:
        """Forward until ``stop`` is called.

        :raises DatabaseAway: the first connect failed; later ones are tried again.
        """
        async with Database(self._conninfo) as database, http.client() as client:
            log.info("forwarding", extra={"action": "worker.started", "worker": self._name})
            stopped = asyncio.create_task(self._stopping.wait())
            helpers = [
                asyncio.create_task(listen(self._conninfo, self._wake)),
                asyncio.create_task(self._maintain()),
                asyncio.create_task(self._keep_serving(database, partial(http.post, client))),
            ]
            try:
                ended, _ = await asyncio.wait([stopped, *helpers], return_when=asyncio.FIRST_COMPLETED)
                # A helper never ends by itself: what it died of is raised here.
                for task in ended:
                    task.result()
            finally:
                await _cancel([stopped, *helpers])
                await self._end(list(self._served.values()))
            log.info("stopped", extra={"action": "worker.stopped", "worker": self._name})

    async def _keep_serving(self, database: Database, post: Post) -> None:
        while True:
            try:
                await self._serve(set(await database.destinations()), post)
            except WorkerError as error:
                log.warning("destinations unknown", extra={"action": "worker.blind", "error": str(error)})
            await asyncio.sleep(self._pace.poll)

    async def _serve(self, wanted: set[Destination], post: Post) -> None:
        """Bring the tasks up to the destinations as they are configured now."""
        for destination, (_, task) in self._served.items():
            if task.done():
                log.error(
                    "a delivery died",
                    extra={"action": "worker.died", "destination": destination.name},
                    exc_info=task.exception(),
                )
        dead = {destination for destination, (_, task) in self._served.items() if task.done()}
        unwanted = (self._served.keys() - wanted) | dead
        await self._end([self._served[destination] for destination in unwanted])
        for destination in unwanted:
            del self._served[destination]
        for destination in wanted - self._served.keys():
            database = Database(self._conninfo)
            delivery = Delivery(destination, database, post, self._name, self._pace)
            self._served[destination] = (delivery, asyncio.create_task(delivery.run()))

    async def _maintain(self) -> None:
        while True:
            try:
                async with Database(self._conninfo) as database:
                    await database.maintain()
            except WorkerError as error:
                log.warning("maintenance failed", extra={"action": "worker.unmaintained", "error": str(error)})
            await asyncio.sleep(MAINTENANCE_SECONDS)

    def _wake(self) -> None:
        for delivery, _ in self._served.values():
            delivery.wake()

    async def _end(self, served: list[tuple[Delivery, asyncio.Task[None]]]) -> None:
        """Stop deliveries: at the end of a request, or, after a while, in the middle of it."""
        for delivery, _ in served:
            delivery.stop()
        tasks = [task for _, task in served]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        await _cancel(tasks)
        releases = [asyncio.create_task(delivery.release()) for delivery, _ in served]
        if releases:
            await asyncio.wait(releases, timeout=GRACE_SECONDS)
        await _cancel(releases)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
