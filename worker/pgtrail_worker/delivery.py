"""One destination, or one replay to it: take its next batch, send it, settle."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from pgtrail_worker import retry
from pgtrail_worker.answer import Answer
from pgtrail_worker.database import Batch, Database
from pgtrail_worker.destination import Destination
from pgtrail_worker.errors import DatabaseAway, DatabaseRefused, WorkerError
from pgtrail_worker.handout import Limits
from pgtrail_worker.metrics import Metrics
from pgtrail_worker.sending import Outcome, Request, Sending
from pgtrail_worker.verdict import Verdict

log = logging.getLogger(__name__)

FEWEST, MOST = 50, 2000
"""How many events the database is asked for at once, at first and at the most."""

Send = Callable[[str, bytes, int], Awaitable[tuple[Answer, Verdict]]]
"""Sends a request: its id, its body, and how many events are in it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, in seconds.

    :param poll: the longest time without a look, whatever NOTIFY says.
    :param settle_after: what is delivered is settled at least so often.
    :param lease: another worker takes over so long after the last sign of life.
    """

    poll: float = 1.0
    in_flight_first: float = 0.05
    in_flight_most: float = 0.25
    after_error: float = 1.0
    after_refusal: float = 10.0
    settle_after: float = 2.0
    last_settle: float = 2.0
    lease: float = 30.0


class Delivery:
    """Serves one destination until it is stopped.

    :param uniform: such as ``random.uniform``.

    ``trouble`` is why the database does not hand out its events, None where it does; ``proved``: it did, and they were
    taken care of, since the last trouble.
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
        self._uniform = uniform
        self._limits = Limits(destination.max_events, destination.max_bytes)
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._lease_token: int | None = None
        self._lease_ends = 0.0
        self._in_flight_wait = pace.in_flight_first
        self._most = FEWEST
        self.trouble: str | None = None
        self.proved = False

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """Let the requests in flight end, then ``run`` returns."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver what there is, wait for more."""
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                batch = await self._next_batch()
                if batch.handout.event_ids:
                    await self._deliver(batch)
                    self._works()
                elif batch.waiting or batch.lease_token is None:
                    # Nothing that is committed meanwhile makes it due.
                    await self._pause(self._pace.poll)
                else:
                    self._works()
                    await self._wait_for_more(batch.in_flight)
            except DatabaseAway as error:
                self._log(logging.WARNING, "the database is away", "delivery.database_away", error=str(error))
                await self._pause(self._pace.after_error)
            except DatabaseRefused as error:
                self._is_refused(error)
                await self._pause(self._pace.after_refusal)

    def _works(self) -> None:
        if self.trouble is not None:
            self._log(logging.WARNING, "its events are handed out again", "delivery.recovered")
        self.trouble, self.proved = None, True

    def _is_refused(self, error: DatabaseRefused) -> None:
        if error.summary != self.trouble:
            # Once, however often it is tried.
            self._log(logging.ERROR, "the database refuses", "delivery.refused", error=error.summary, hint=error.hint)
        if not error.passes:
            self.trouble, self.proved = error.summary, False

    async def release(self) -> None:
        """Give the lease back, if there is one, and close the connection."""
        if self._lease_token is not None:
            await self._database.release_lease(self._destination.cursor_id, self._lease_token)
        await self._database.close()

    async def _next_batch(self, after: int | None = None) -> Batch:
        asked = time.monotonic()
        try:
            batch = await self._database.next_batch(
                self._destination.cursor_id, self._worker, self._pace.lease, self._most, after
            )
        except DatabaseAway:
            # It may have been too much to render in the time of a call.
            self._most = max(1, self._most // 4)
            raise
        if taken := len(batch.handout.event_ids):
            self._lease_ends = asked + self._pace.lease
            # Large events are few in a handout, and what does not fit was rendered in vain.
            self._most = min(max(2 * taken, FEWEST), MOST)
        # Kept while it is paused: the lease has still to be given back. An old one gives nothing back.
        self._lease_token = batch.lease_token or self._lease_token
        return batch

    async def _deliver(self, batch: Batch) -> None:
        """Send a batch, and those after it as long as everything goes well."""
        async with self._kept_lease(batch):
            following: Batch | None = batch
            while following is not None and following.handout.event_ids and not self._stopping.is_set():
                if batch.failures:
                    self._limits.probe()
                following = await self._send_and_fetch(following, probing=batch.failures > 0)

    async def _send_and_fetch(self, batch: Batch, probing: bool) -> Batch | None:
        """Send a handout while the database renders the one after it; None if it was not all settled."""
        sending = Sending(batch.handout, self._destination.framing, self._limits, batch.dead_in_row)
        fetching = None
        if not probing:
            fetching = asyncio.create_task(self._next_batch(after=batch.handout.event_ids[-1]))
        try:
            held = await self._send_all(sending, batch, probing)
            if not (held and sending.complete and fetching):
                return None
            # It was fetched before these were settled.
            return replace(await fetching, dead_in_row=sending.dead_in_row)
        except asyncio.CancelledError:
            # The requests in flight are given up, not what was delivered before.
            if outcome := sending.outcome():
                with contextlib.suppress(WorkerError, TimeoutError):
                    async with asyncio.timeout(self._pace.last_settle):
                        await self._settle_once(batch, outcome)
            raise
        finally:
            if fetching:
                await _end(fetching)

    async def _send_all(self, sending: Sending, batch: Batch, probing: bool) -> bool:
        """Send until nothing is left, something fails, the lease ends or a stop comes. Whether the lease holds."""
        running: dict[asyncio.Task[tuple[Answer, Verdict]], Request] = {}
        settled_at = time.monotonic()
        held = True
        most = 1 if probing else self._destination.max_in_flight
        try:
            while True:
                while len(running) < most and held and self._may_send() and (request := sending.next()):
                    running[asyncio.create_task(self._request(batch, request))] = request
                if not running:
                    break
                finished, _ = await asyncio.wait(
                    running, timeout=self._pace.settle_after, return_when=asyncio.FIRST_COMPLETED
                )
                for task in finished:
                    await self._take(sending, batch, running.pop(task), *task.result())
                    most = most if sending.in_flight else self._destination.max_in_flight
                if time.monotonic() - settled_at > self._pace.settle_after and not sending.stopped:
                    held = await self._settle(batch, sending.outcome())
                    settled_at = time.monotonic()
        finally:
            for task in running:
                await _end(task)
        return await self._settle(batch, sending.outcome()) and held

    def _may_send(self) -> bool:
        """A process that slept through the end of its lease has nothing to send any more."""
        return not self._stopping.is_set() and time.monotonic() < self._lease_ends

    async def _request(self, batch: Batch, request: Request) -> tuple[Answer, Verdict]:
        message_id = batch.handout.message_id(request.positions)
        return await self._send(message_id, request.body, len(request.positions))

    async def _take(self, sending: Sending, batch: Batch, request: Request, answer: Answer, verdict: Verdict) -> None:
        self._metrics.answered(self._destination.name, answer, verdict)
        too_large = sending.take(request, verdict, answer.status)
        if too_large is not None:
            piece = await self._database.shortened(
                self._destination.cursor_id, too_large, sending.size_of(too_large) // 2
            )
            sending.shorten(too_large, piece, answer.status, f"the receiver answered HTTP {answer.status}")

    async def _settle(self, batch: Batch, outcome: Outcome) -> bool:
        """Keep at it until the database has it: events that were sent and not settled are sent twice."""
        while outcome:
            try:
                return await self._settle_once(batch, outcome)
            except DatabaseAway as error:
                if self._stopping.is_set():
                    raise
                self._log(logging.WARNING, "the database is away", "delivery.unsettled", error=str(error))
                await self._pause(self._pace.after_error)
        return True

    async def _settle_once(self, batch: Batch, outcome: Outcome) -> bool:
        assert batch.lease_token is not None
        retry_in = None
        if outcome.failure:
            failures, failing_for = (0, 0.0) if outcome.delivered else (batch.failures, batch.failing_for)
            retry_in = retry.delay(failures, failing_for, outcome.failure.failed, self._uniform)
        held = await self._database.settle(self._destination.cursor_id, batch.lease_token, outcome, retry_in)
        self._report(outcome, retry_in, held)
        return held

    def _report(self, outcome: Outcome, retry_in: float | None, held: bool) -> None:
        if not held:
            self._log(logging.WARNING, "another worker has taken over", "delivery.lease_lost")
            return
        self._metrics.settled(self._destination.name, len(outcome.delivered), len(outcome.dead))
        if outcome.delivered:
            self._log(logging.INFO, "delivered", "delivery.delivered", events=len(outcome.delivered))
        for dead in outcome.dead:
            self._log(logging.ERROR, "dead letter", "delivery.dead", event_id=dead.event_id, error=dead.error)
        if outcome.failure and retry_in is not None:
            failed = outcome.failure.failed
            self._log(
                logging.ERROR if failed.hold else logging.WARNING,
                "not delivered",
                "delivery.failed",
                event_id=outcome.failure.event_id,
                error=failed.error,
                hold=failed.hold.value if failed.hold else None,
                retry_in=round(retry_in, 1),
            )

    @contextlib.asynccontextmanager
    async def _kept_lease(self, batch: Batch) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self._keep_lease(batch))
        try:
            yield
        finally:
            await _end(keeping)

    async def _keep_lease(self, batch: Batch) -> None:
        assert batch.lease_token is not None
        while True:
            await asyncio.sleep(self._pace.lease / 3)
            asked = time.monotonic()
            with contextlib.suppress(WorkerError):
                if not await self._database.renew_lease(
                    self._destination.cursor_id, batch.lease_token, self._pace.lease
                ):
                    self._lease_ends = 0.0
                    return
                self._lease_ends = asked + self._pace.lease

    async def _wait_for_more(self, in_flight: bool) -> None:
        if in_flight:
            await self._sleep(self._in_flight_wait)
            self._in_flight_wait = min(self._in_flight_wait * 1.5, self._pace.in_flight_most)
        else:
            self._in_flight_wait = self._pace.in_flight_first
            await self._sleep(self._pace.poll)

    async def _sleep(self, seconds: float) -> None:
        """Until woken, at most so long."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
            self._in_flight_wait = self._pace.in_flight_first
        except TimeoutError:
            pass

    async def _pause(self, seconds: float) -> None:
        """Whatever is committed meanwhile; only a stop ends it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _log(self, level: int, message: str, action: str, **fields: object) -> None:
        replay = {} if self._destination.replay_id is None else {"replay": self._destination.replay_id}
        log.log(level, message, extra={"action": action, "destination": self._destination.name, **replay, **fields})


async def _end(task: asyncio.Task[object]) -> None:
    """Cancel a task, whatever it has come to."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
