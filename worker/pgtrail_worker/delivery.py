"""One destination, or one replay to it: fetch its next batch, send it, settle it."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from pgtrail_worker.batch import Batch, RequestLimits
from pgtrail_worker.database import Database
from pgtrail_worker.destination import Destination
from pgtrail_worker.destination_log import DestinationLog
from pgtrail_worker.errors import DatabaseUnavailable, StatementFailed, WorkerError
from pgtrail_worker.lease import Lease
from pgtrail_worker.metrics import Metrics
from pgtrail_worker.pace import Pace
from pgtrail_worker.response import Response
from pgtrail_worker.send_queue import Outcome, Request, SendQueue
from pgtrail_worker.settling import Settler
from pgtrail_worker.tasks import cancel
from pgtrail_worker.verdict import Verdict

MIN_EVENTS, MAX_EVENTS = 50, 2000
"""How many events the database is asked to render at once, at first and at most."""

MAX_BUG_PAUSE_SECONDS = 300.0
"""The longest wait after an error that was not foreseen; the waits double."""

Send = Callable[[str, bytes, int], Awaitable[tuple[Response, Verdict]]]
"""Sends a request: its id, its body, and how many events are in it."""


class Delivery:
    """Serves one destination until it is stopped.

    ``error`` is why the database can't render its events, None if it can; ``is_healthy`` says that it did, and that
    they were settled, since the last error.

    :param uniform: such as ``random.uniform``.
    """

    def __init__(
        self,
        destination: Destination,
        database: Database,
        send: Send,
        worker: str,
        pace: Pace,
        metrics: Metrics,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._destination = destination
        self._database = database
        self._send = send
        self._worker = worker
        self._pace = pace
        self._metrics = metrics
        self._log = DestinationLog(destination)
        self._settler = Settler(destination, database, metrics, uniform)
        self._lease = Lease(database, destination.cursor_id, pace.lease)
        self._limits = RequestLimits(destination.max_events, destination.max_bytes)
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._in_flight_wait = pace.min_in_flight_wait
        self._max_events = MIN_EVENTS
        self._bug_pause = pace.after_failed_statement
        self.error: str | None = None
        self.is_healthy = False

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """Let the requests in flight end, then ``run`` returns."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                batch = await self._fetch_batch()
                if batch.event_ids:
                    await self._deliver(batch)
                    self._note_success()
                elif batch.waiting or batch.lease_token is None:
                    # Nothing that is committed makes it due.
                    await self._pause(self._pace.poll)
                else:
                    self._note_success()
                    await self._wait_for_more(batch.in_flight)
            except DatabaseUnavailable as error:
                self._log_unavailable(error)
                await self._pause(self._pace.after_unavailable)
            except StatementFailed as error:
                self._note_failed_statement(error)
                await self._pause(self._pace.after_failed_statement)
            except Exception as error:
                # Not foreseen. It must stop no other destination, nor this one for good.
                self._note_bug(error)
                await self._pause(self._bug_pause)

    async def close(self) -> None:
        """Release the lease and close the connection."""
        await self._lease.release()
        await self._database.close()

    async def _fetch_batch(self, after: int | None = None) -> Batch:
        asked_at = time.monotonic()
        try:
            batch = await self._database.next_batch(
                self._destination.cursor_id, self._worker, self._pace.lease, self._max_events, after
            )
        except DatabaseUnavailable:
            # There may have been too much to render in the time of a call.
            self._max_events = max(1, self._max_events // 4)
            raise
        if fetched := len(batch.event_ids):
            # A batch has few large events; what does not fit was rendered in vain.
            self._max_events = min(max(2 * fetched, MIN_EVENTS), MAX_EVENTS)
        self._lease.granted(batch.lease_token, asked_at if fetched else None)
        return batch

    async def _deliver(self, batch: Batch) -> None:
        """Send a batch, and those after it as long as everything goes well."""
        assert batch.lease_token is not None
        async with self._lease.renewed(batch.lease_token):
            following: Batch | None = batch
            while following is not None and following.event_ids and not self._stopping.is_set():
                following = await self._send_and_prefetch(following)

    async def _send_and_prefetch(self, batch: Batch) -> Batch | None:
        """Send a batch while the database renders the one after it, which is returned if this one was all settled."""
        queue = SendQueue(batch, self._destination.framing, self._limits)
        fetching = None
        if batch.failures:
            self._limits.probe()
        else:
            fetching = asyncio.create_task(self._fetch_batch(after=batch.event_ids[-1]))
        try:
            held = await self._send_all(queue, batch)
            if not (held and queue.complete and fetching):
                return None
            # It was fetched before these were settled.
            return replace(await fetching, dead_in_row=queue.dead_in_row)
        except asyncio.CancelledError:
            # Requests in flight are lost, but not what was delivered before.
            if outcome := queue.take_outcome():
                with contextlib.suppress(WorkerError, TimeoutError):
                    async with asyncio.timeout(self._pace.last_settle):
                        await self._settler.settle(batch, outcome)
            raise
        finally:
            if fetching:
                await cancel(fetching)

    async def _send_all(self, queue: SendQueue, batch: Batch) -> bool:
        """Send until nothing is left, something fails, the lease ends or a stop comes. Whether the lease is held."""
        running: dict[asyncio.Task[tuple[Response, Verdict]], Request] = {}
        settled_at = time.monotonic()
        held = True
        max_in_flight = 1 if batch.failures else self._destination.max_in_flight
        try:
            while True:
                while len(running) < max_in_flight and held and self._may_send() and (request := queue.next_request()):
                    message_id = batch.message_id(request.positions)
                    sending = self._send(message_id, request.body, len(request.positions))
                    running[asyncio.ensure_future(sending)] = request
                if not running:
                    break
                finished, _ = await asyncio.wait(
                    running, timeout=self._pace.settle_after, return_when=asyncio.FIRST_COMPLETED
                )
                for task in finished:
                    await self._record(queue, running.pop(task), *task.result())
                if not running:
                    # The probe, if this was one, has ended.
                    max_in_flight = self._destination.max_in_flight
                if time.monotonic() - settled_at > self._pace.settle_after and not queue.stopped:
                    held = await self._settle(batch, queue.take_outcome())
                    settled_at = time.monotonic()
        finally:
            await cancel(*running)
        return await self._settle(batch, queue.take_outcome()) and held

    def _may_send(self) -> bool:
        return self._lease.is_held and not self._stopping.is_set()

    async def _record(self, queue: SendQueue, request: Request, response: Response, verdict: Verdict) -> None:
        self._metrics.record_request(self._destination.name, response, verdict)
        too_large = queue.record(request, verdict, response.status)
        if too_large is not None:
            max_bytes = queue.size_of(too_large) // 2
            piece = await self._database.render_shortened(self._destination.cursor_id, too_large, max_bytes)
            queue.shorten(too_large, piece, response.status, f"the receiver responded with HTTP {response.status}")

    async def _settle(self, batch: Batch, outcome: Outcome) -> bool:
        """Try until it is stored: events that were sent and not settled are sent twice."""
        while outcome:
            try:
                return await self._settler.settle(batch, outcome)
            except DatabaseUnavailable as error:
                if self._stopping.is_set():
                    raise
                self._log_unavailable(error)
                await self._pause(self._pace.after_unavailable)
        return True

    def _log_unavailable(self, error: DatabaseUnavailable) -> None:
        self._log(logging.WARNING, "the database is unavailable", "delivery.database_unavailable", error=str(error))

    def _note_success(self) -> None:
        self.error, self.is_healthy = None, True
        self._bug_pause = self._pace.after_failed_statement

    def _note_failed_statement(self, error: StatementFailed) -> None:
        if error.summary != self.error:
            # Logged once, however often it is tried.
            self._log(
                logging.ERROR, "a statement failed", "delivery.statement_failed", error=error.summary, hint=error.hint
            )
        if not error.is_transient:
            self.error, self.is_healthy = error.summary, False

    def _note_bug(self, bug: Exception) -> None:
        error = f"its delivery failed with {type(bug).__name__}"
        if error != self.error:
            self._log(logging.ERROR, "the delivery failed", "delivery.bug", bug, error=error)
        self.error, self.is_healthy = error, False
        self._bug_pause = min(2 * self._bug_pause, MAX_BUG_PAUSE_SECONDS)

    async def _wait_for_more(self, in_flight: bool) -> None:
        """Until woken; not for long while a transaction is in flight, as it may not notify."""
        seconds = self._in_flight_wait if in_flight else self._pace.poll
        self._in_flight_wait = self._pace.min_in_flight_wait
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            if in_flight:
                self._in_flight_wait = min(seconds * 1.5, self._pace.max_in_flight_wait)

    async def _pause(self, seconds: float) -> None:
        """For so long, whatever is committed meanwhile; only a stop ends it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
