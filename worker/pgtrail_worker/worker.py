"""All destinations: the composer of the forwarder."""

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from pgtrail_worker import http
from pgtrail_worker.channel import Channel
from pgtrail_worker.database import Database
from pgtrail_worker.delivery import Delivery, Pace
from pgtrail_worker.destination import Destination, Found
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.listener import listen
from pgtrail_worker.metrics import Metrics
from pgtrail_worker.sealer import SealPace, keep_sealing
from pgtrail_worker.tokens import Secrets, default_secrets_folder
from pgtrail_worker.troubles import Troubles

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long requests in flight may take to end after a stop."""
MAINTENANCE_SECONDS = 3600.0
FILE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
"""A worker that has not heard from its database for longer is not well."""
OBSERVE_SECONDS = 15.0


class Served:
    """One destination that is being served: its connections and its task."""

    def __init__(self, delivery: Delivery, channel: Channel) -> None:
        self.delivery = delivery
        self.channel = channel
        self.task = asyncio.create_task(delivery.run())

    async def put_away(self) -> None:
        """Give the lease back and close everything."""
        await self.channel.close()
        await self.delivery.release()


class Worker:
    """Serves every destination, each in a task and over connections of its own: a slow one never holds up another.

    :param secrets: where tokens and certificates may be read from.
    :param timeout: seconds for a whole request.
    :param observed: whether somebody reads the metrics.
    :param seal_pace: when events are sealed.
    """

    def __init__(
        self,
        conninfo: str,
        pace: Pace | None = None,
        secrets: Secrets | None = None,
        timeout: float = http.TIMEOUT_SECONDS,
        observed: bool = False,
        seal_pace: SealPace | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._seal_pace = seal_pace or SealPace()
        self._observed = observed
        self._timeout = timeout
        self._pace = pace or Pace()
        self._secrets = secrets or Secrets(default_secrets_folder(), os.environ)
        # The random part: after a restart in a container, host and pid are the same again.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.metrics = Metrics()
        self._stopping = asyncio.Event()
        self._served: dict[Destination, Served] = {}
        self._troubles = Troubles(time.monotonic, self._pace.after_refusal)
        self._heard_at = 0.0

    @property
    def healthy(self) -> bool:
        """Whether the database was heard from lately."""
        return time.monotonic() - self._heard_at < HEALTHY_SECONDS

    def stop(self) -> None:
        """Let what is in flight end, then ``run`` returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Forward until ``stop`` is called.

        :raises DatabaseAway: the first connect failed; later ones are tried again.
        """
        async with Database(self._conninfo, lambda: self.metrics.reconnecting("calls")) as database:
            log.info("forwarding", extra={"action": "worker.started", "worker": self.name})
            stopped = asyncio.create_task(self._stopping.wait())
            helpers = [
                asyncio.create_task(listen(self._conninfo, self._wake, lambda: self.metrics.reconnecting("listener"))),
                asyncio.create_task(self._maintain()),
                asyncio.create_task(self._file()),
                asyncio.create_task(keep_sealing(self._conninfo, self._seal_pace, self.metrics.sealed)),
                asyncio.create_task(self._keep_serving(database)),
            ]
            if self._observed:
                helpers.append(asyncio.create_task(self._observe()))
            try:
                ended, _ = await asyncio.wait([stopped, *helpers], return_when=asyncio.FIRST_COMPLETED)
                # A helper never ends by itself: what it died of is raised here.
                for task in ended:
                    task.result()
            finally:
                await _cancel([stopped, *helpers])
                await self._end(list(self._served.values()))
                with contextlib.suppress(WorkerError, TimeoutError):
                    async with asyncio.timeout(self._pace.last_settle):
                        await database.remove_worker(self.name)
            log.info("stopped", extra={"action": "worker.stopped", "worker": self.name})

    async def _keep_serving(self, database: Database) -> None:
        while True:
            try:
                await database.record_heartbeat(self.name, self._pace.lease)
                found = await database.destinations()
                await self._serve(found)
                await self._note(database, found)
                self._heard_at = time.monotonic()
            except WorkerError as error:
                log.warning("destinations unknown", extra={"action": "worker.blind", "error": str(error)})
            await asyncio.sleep(self._pace.poll)

    async def _serve(self, found: list[Found]) -> None:
        """Bring the tasks up to the destinations as configured now; one that can't be served stops no other."""
        wanted = {each.destination for each in found if each.destination}
        self._look_after(wanted)
        for each in found:
            if each.error is not None:
                self._troubles.note(each.cursor_id, each.name, each.error)
        unwanted = {destination for destination, served in self._served.items() if served.task.done()}
        unwanted |= self._served.keys() - wanted
        await self._end([self._served[destination] for destination in unwanted])
        for destination in unwanted:
            del self._served[destination]
        for destination in wanted - self._served.keys():
            if self._troubles.may_start(destination):
                self._try_to_start(destination)
        self._troubles.keep({each.cursor_id for each in found})

    def _look_after(self, wanted: set[Destination]) -> None:
        for destination, served in self._served.items():
            if served.task.done() and destination in wanted:
                ended = None if served.task.cancelled() else served.task.exception()
                error = f"its delivery ended with {type(ended).__name__}"
                self._troubles.note(destination.cursor_id, destination.name, error, destination, ended)
            elif served.delivery.proved:
                self._troubles.end(destination)

    def _try_to_start(self, destination: Destination) -> None:
        try:
            self._served[destination] = self._start(destination)
        except Exception as error:
            # (Its text may quote a setting.)
            told = f"its settings can't be used ({type(error).__name__})"
            self._troubles.note(destination.cursor_id, destination.name, told, destination)

    async def _note(self, database: Database, found: list[Found]) -> None:
        """Tell the database what can't be served, and what can be again."""
        for each in found:
            served = self._served.get(each.destination) if each.destination else None
            error = self._troubles.of(each.cursor_id) or (served.delivery.trouble if served else None)
            if error != each.broken and (error or (served and served.delivery.proved)):
                await database.report_broken(each.cursor_id, self.name, error)

    def _start(self, destination: Destination) -> Served:
        database = Database(self._conninfo, lambda: self.metrics.reconnecting("calls"))
        channel = Channel(destination, self._secrets, lambda: datetime.now(UTC), self._timeout)
        delivery = Delivery(destination, database, channel.send, self.name, self._pace, self.metrics)
        return Served(delivery, channel)

    async def _maintain(self) -> None:
        while True:
            try:
                async with Database(self._conninfo) as database:
                    await database.maintain()
            except WorkerError as error:
                log.warning("maintenance failed", extra={"action": "worker.unmaintained", "error": str(error)})
            await asyncio.sleep(MAINTENANCE_SECONDS)

    async def _file(self) -> None:
        while True:
            try:
                async with Database(self._conninfo) as database:
                    while await database.file_events():
                        pass
            except WorkerError as error:
                log.warning("events not filed", extra={"action": "worker.unfiled", "error": str(error)})
            await asyncio.sleep(FILE_SECONDS)

    async def _observe(self) -> None:
        """Keep the gauges fresh. A backlog takes some time to count, so not on each scrape."""
        while True:
            try:
                async with Database(self._conninfo) as database:
                    self.metrics.observe(await database.status())
            except WorkerError as error:
                log.warning("status unknown", extra={"action": "worker.unobserved", "error": str(error)})
            await asyncio.sleep(OBSERVE_SECONDS)

    def _wake(self) -> None:
        for served in self._served.values():
            served.delivery.wake()

    async def _end(self, served: list[Served]) -> None:
        """Stop deliveries: at the end of their requests, or, after a while, in the middle of them."""
        for each in served:
            each.delivery.stop()
        tasks = [each.task for each in served]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        await _cancel(tasks)
        endings = [asyncio.create_task(each.put_away()) for each in served]
        if endings:
            await asyncio.wait(endings, timeout=GRACE_SECONDS)
        await _cancel(endings)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
