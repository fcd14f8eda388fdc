"""Serves all destinations, each in a task and over connections of its own: a slow one does not hold up another."""

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from pgtrail_worker.background import index_all_events, repeat, seal_when_due
from pgtrail_worker.database import Database
from pgtrail_worker.delivery import Delivery
from pgtrail_worker.destination import Destination, ListedDestination
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.listener import listen
from pgtrail_worker.metrics import Metrics
from pgtrail_worker.pace import Pace, SealPace
from pgtrail_worker.secret_store import SecretStore
from pgtrail_worker.sender import Sender
from pgtrail_worker.tasks import cancel

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long requests in flight may take to end after a stop."""
HEALTHY_SECONDS = 30.0
"""A worker that has not reached its database for longer is not healthy."""
MAINTENANCE_SECONDS = 3600.0
INDEXING_SECONDS = 10.0
SEALING_RETRY_SECONDS = 1.0
GAUGES_SECONDS = 15.0
"""A backlog takes some time to count, so it is not counted on each scrape."""


class Served:
    """A destination that is being served: its delivery, connections and task."""

    def __init__(self, delivery: Delivery, sender: Sender) -> None:
        self.delivery = delivery
        self.task = asyncio.create_task(delivery.run())
        self._sender = sender

    async def close(self) -> None:
        await self._sender.close()
        await self.delivery.close()


class Worker:
    """Serves every destination.

    :param timeout: seconds for a whole request.
    :param observed: whether somebody reads the metrics.
    """

    def __init__(
        self,
        conninfo: str,
        pace: Pace,
        seal_pace: SealPace,
        secrets: SecretStore,
        timeout: float,
        observed: bool,
    ) -> None:
        self._conninfo = conninfo
        self._pace = pace
        self._secrets = secrets
        self._timeout = timeout
        self._observed = observed
        self._seal_pace = seal_pace
        # The random part: after a restart in a container, host and pid are the same again.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.metrics = Metrics()
        self._stopping = asyncio.Event()
        self._served: dict[Destination, Served] = {}
        self._errors: dict[int, str] = {}
        self._reached_at = 0.0

    @property
    def is_healthy(self) -> bool:
        """Whether the database was reached lately."""
        return time.monotonic() - self._reached_at < HEALTHY_SECONDS

    def stop(self) -> None:
        """Let the requests in flight end, then ``run`` returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Forward until ``stop`` is called.

        :raises DatabaseUnavailable: the first connect failed; later ones are tried again.
        """
        async with self._database() as database:
            log.info("forwarding", extra={"action": "worker.started", "worker": self.name})
            tasks = [asyncio.create_task(job) for job in (self._stopping.wait(), *self._jobs(database))]
            try:
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                # Only the wait for a stop ends by itself: another's error is raised here.
                for task in ended:
                    task.result()
            finally:
                await cancel(*tasks)
                await self._end(list(self._served.values()))
                with contextlib.suppress(WorkerError, TimeoutError):
                    async with asyncio.timeout(self._pace.last_settle):
                        await database.remove_worker(self.name)
            log.info("stopped", extra={"action": "worker.stopped", "worker": self.name})

    def _database(self) -> Database:
        return Database(self._conninfo, lambda: self.metrics.record_reconnect("calls"))

    def _jobs(self, database: Database) -> list[Coroutine[Any, Any, None]]:
        """What goes on until a stop."""

        async def seal(sealing: Database) -> None:
            await seal_when_due(sealing, self._seal_pace, self.metrics.record_seal)

        async def update_gauges(observing: Database) -> None:
            self.metrics.update_gauges(await observing.status())

        jobs = [
            self._serve_all(database),
            listen(self._conninfo, self._wake, lambda: self.metrics.record_reconnect("listener")),
            repeat(self._conninfo, seal, SEALING_RETRY_SECONDS, "sealing"),
            repeat(self._conninfo, index_all_events, INDEXING_SECONDS, "indexing"),
            repeat(self._conninfo, Database.maintain, MAINTENANCE_SECONDS, "maintenance"),
        ]
        if self._observed:
            jobs.append(repeat(self._conninfo, update_gauges, GAUGES_SECONDS, "observing"))
        return jobs

    async def _serve_all(self, database: Database) -> None:
        while True:
            try:
                await database.record_heartbeat(self.name, self._pace.lease)
                listed = await database.destinations()
                await self._start_and_end(listed)
                await self._report(database, listed)
                self._reached_at = time.monotonic()
            except WorkerError as error:
                log.warning("destinations unknown", extra={"action": "worker.listing_failed", "error": str(error)})
            await asyncio.sleep(self._pace.poll)

    async def _start_and_end(self, listed: list[ListedDestination]) -> None:
        """Serve the destinations as configured now; one that can't be served stops no other."""
        wanted = {each.destination for each in listed if each.destination}
        unwanted = self._served.keys() - wanted
        await self._end([self._served[destination] for destination in unwanted])
        for destination in unwanted:
            del self._served[destination]
        errors = {each.cursor_id: each.error for each in listed if each.error}
        for destination in wanted - self._served.keys():
            try:
                self._served[destination] = self._start(destination)
            except Exception as error:
                # (Its text may quote a setting.)
                errors[destination.cursor_id] = f"its settings can't be used ({type(error).__name__})"
        self._log_new(errors, listed)
        self._errors = errors

    def _log_new(self, errors: dict[int, str], listed: list[ListedDestination]) -> None:
        for each in listed:
            error = errors.get(each.cursor_id)
            if error and error != self._errors.get(each.cursor_id):
                extra = {"action": "worker.destination_broken", "destination": each.name, "error": error}
                log.error("a destination can't be served", extra=extra)

    def _start(self, destination: Destination) -> Served:
        sender = Sender(destination, self._secrets, lambda: datetime.now(UTC), self._timeout)
        delivery = Delivery(destination, self._database(), sender.send, self.name, self._pace, self.metrics)
        return Served(delivery, sender)

    async def _report(self, database: Database, listed: list[ListedDestination]) -> None:
        """Tell the database what can't be served, and what can be again."""
        for each in listed:
            served = self._served.get(each.destination) if each.destination else None
            error = self._errors.get(each.cursor_id) or (served.delivery.error if served else None)
            if error != each.broken and (error or (served and served.delivery.is_healthy)):
                await database.report_broken(each.cursor_id, self.name, error)
                if error is None:
                    log.warning(
                        "a destination is served again",
                        extra={"action": "worker.destination_recovered", "destination": each.name},
                    )

    def _wake(self) -> None:
        for served in self._served.values():
            served.delivery.wake()

    async def _end(self, served: list[Served]) -> None:
        """Stop deliveries: at the end of their requests, or, after a while, in the middle of them."""
        for each in served:
            each.delivery.stop()
        await _wait_or_cancel([each.task for each in served])
        await _wait_or_cancel([asyncio.create_task(each.close()) for each in served])


async def _wait_or_cancel(tasks: list[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    await cancel(*tasks)
