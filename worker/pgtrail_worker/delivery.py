"""One destination: take its next batch, send it event by event, settle."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from pgtrail_worker import retry
from pgtrail_worker.database import Batch, Database, Destination, Settlement
from pgtrail_worker.errors import DatabaseAway, DatabaseRefused, WorkerError
from pgtrail_worker.signature import sign
from pgtrail_worker.verdict import Answer, Delivered, Failed, judge

log = logging.getLogger(__name__)

Post = Callable[[str, dict[str, str], bytes], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, in seconds, and how much to take at once.

    :param poll: the longest time without a look, whatever NOTIFY says.
    :param settle_after: a batch that takes longer is settled bit by bit. With the longest request (20 s) it stays
        below the lease of 30 s, which is renewed whenever events are handed out.
    """

    poll: float = 1.0
    in_flight_first: float = 0.05
    in_flight_most: float = 0.25
    after_error: float = 1.0
    after_refusal: float = 10.0
    settle_after: float = 2.0
    last_settle: float = 2.0
    max_events: int = 100


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Delivery:
    """Serves one destination until it is stopped.

    :param uniform: such as ``random.uniform``.
    :param now: the time, aware.
    """

    def __init__(
        self,
        destination: Destination,
        database: Database,
        post: Post,
        worker: str,
        pace: Pace,
        uniform: Callable[[float, float], float] = random.uniform,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._destination = destination
        self._database = database
        self._post = post
        self._worker = worker
        self._pace = pace
        self._uniform = uniform
        self._now = now
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._lease_token: int | None = None
        self._in_flight_wait = pace.in_flight_first

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """Let the request in flight end, then ``run`` returns."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver what there is, wait for more."""
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                batch = await self._database.next_batch(self._destination.id, self._worker, self._pace.max_events)
                # Kept while it is paused: the lease has still to be given back. An old one gives nothing back.
                self._lease_token = batch.lease_token or self._lease_token
                if batch.event_ids:
                    await self._deliver(batch)
                elif batch.waiting or batch.lease_token is None:
                    # Nothing that is committed meanwhile makes it due.
                    await self._pause(self._pace.poll)
                else:
                    await self._wait_for_more(batch.in_flight)
            except DatabaseAway as error:
                self._log(logging.WARNING, "the database is away", "delivery.database_away", error=str(error))
                await self._pause(self._pace.after_error)
            except DatabaseRefused as error:
                self._log(logging.ERROR, "the database refuses", "delivery.refused", error=str(error), hint=error.hint)
                await self._pause(self._pace.after_refusal)

    async def release(self) -> None:
        """Give the lease back, if there is one, and close the connection."""
        if self._lease_token is not None:
            await self._database.release_lease(self._destination.id, self._lease_token)
        await self._database.close()

    async def _deliver(self, batch: Batch) -> None:
        delivered: list[int] = []
        try:
            await self._send_all(batch, delivered)
        except asyncio.CancelledError:
            # The request in flight is given up, not what was delivered before it.
            if delivered:
                with contextlib.suppress(WorkerError, TimeoutError):
                    async with asyncio.timeout(self._pace.last_settle):
                        await self._settle_once(batch, Settlement(tuple(delivered)))
            raise

    async def _send_all(self, batch: Batch, delivered: list[int]) -> None:
        started = time.monotonic()
        for event_id, body in zip(batch.event_ids, batch.bodies, strict=True):
            if self._stopping.is_set():
                break
            answer = await self._send(event_id, body.encode())
            match judge(answer, self._now()):
                case Delivered():
                    delivered.append(event_id)
                case Failed() as failed:
                    await self._settle_failure(batch, delivered, event_id, answer.status, failed)
                    return
                case never:
                    assert_never(never)
            if time.monotonic() - started > self._pace.settle_after:
                break
        if delivered:
            await self._settle(batch, Settlement(tuple(delivered), status=answer.status))

    async def _send(self, event_id: int, body: bytes) -> Answer:
        headers = {
            "content-type": self._destination.content_type,
            "user-agent": "pgtrail",
            # A fresh timestamp for each attempt; the id stays, it is the receiver's idempotency key.
            **sign(f"evt_{event_id}", int(self._now().timestamp()), body, [self._destination.secret]),
        }
        return await self._post(self._destination.url, headers, body)

    async def _settle_failure(
        self, batch: Batch, delivered: list[int], event_id: int, status: int | None, failed: Failed
    ) -> None:
        failures = 0 if delivered else batch.failures
        retry_in = retry.delay(failures, failed, self._uniform)
        self._log(
            logging.WARNING,
            "not delivered",
            "delivery.failed",
            event_id=event_id,
            error=failed.error,
            retry_in=round(retry_in, 1),
        )
        await self._settle(batch, Settlement(tuple(delivered), event_id, status, failed.error, retry_in))

    async def _settle(self, batch: Batch, settlement: Settlement) -> None:
        """Keep at it until the database has it: events that were sent and not settled are sent twice."""
        while True:
            try:
                await self._settle_once(batch, settlement)
                return
            except DatabaseAway as error:
                if self._stopping.is_set():
                    raise
                self._log(logging.WARNING, "the database is away", "delivery.unsettled", error=str(error))
                await self._pause(self._pace.after_error)

    async def _settle_once(self, batch: Batch, settlement: Settlement) -> None:
        assert batch.lease_token is not None
        if not await self._database.settle(self._destination.id, batch.lease_token, settlement):
            self._log(logging.WARNING, "another worker has taken over", "delivery.lease_lost")
        elif settlement.delivered:
            self._log(logging.INFO, "delivered", "delivery.delivered", events=len(settlement.delivered))

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
        log.log(level, message, extra={"action": action, "destination": self._destination.name, **fields})
