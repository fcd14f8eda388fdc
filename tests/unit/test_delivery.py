"""One destination, with a database and a receiver that do as they are told."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pgtrail_worker.database import Batch, Destination, Secret, Settlement
from pgtrail_worker.delivery import Delivery, Pace
from pgtrail_worker.errors import DatabaseAway, DatabaseRefused
from pgtrail_worker.verdict import Answer

DESTINATION = Destination(1, "siem", "https://siem.example", "application/json", Secret("whsec_c2VjcmV0"))
NOW = datetime(2026, 11, 23, tzinfo=UTC)
PACE = Pace(poll=0.05, after_error=0.05, after_refusal=0.05, settle_after=60, last_settle=1)
OK = Answer(204, 0.01)


def batch(*ids: int, failures: int = 0, token: int | None = 1, waiting: bool = False) -> Batch:
    return Batch(token, ids, tuple("{}" for _ in ids), failures, in_flight=False, waiting=waiting)


class FakeDatabase:
    """Hands out the batches one after the other, then empty ones; ``refuse`` is raised by the calls it names."""

    def __init__(self, *batches: Batch, idle: Batch | None = None) -> None:
        self.batches = list(batches)
        self.idle = idle or batch()
        self.looks = 0
        self.settled: list[Settlement] = []
        self.attempts_to_settle = 0
        self.next_raises: Exception | None = None
        self.settle_raises: list[Exception] = []

    async def next_batch(self, *_: Any) -> Batch:
        self.looks += 1
        await asyncio.sleep(0)
        if self.next_raises:
            raise self.next_raises
        return self.batches.pop(0) if self.batches else self.idle

    async def settle(self, _: int, __: int, settlement: Settlement) -> bool:
        self.attempts_to_settle += 1
        await asyncio.sleep(0)
        if self.settle_raises:
            raise self.settle_raises.pop(0)
        self.settled.append(settlement)
        return True


class FakeReceiver:
    """Answers as it is told; 204 when it was told nothing."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.ids: list[str] = []
        self.hang_at = 0
        self.at_request: Callable[[], None] = lambda: None

    async def post(self, _: str, headers: dict[str, str], __: bytes) -> Answer:
        self.ids.append(headers["webhook-id"])
        self.at_request()
        if len(self.ids) == self.hang_at:
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        return self.answers.pop(0) if self.answers else OK


class Running:
    """A delivery at work; ends it when the test does."""

    def __init__(self, database: FakeDatabase, receiver: FakeReceiver, pace: Pace = PACE) -> None:
        self.delivery = Delivery(
            DESTINATION, database, receiver.post, "worker-1", pace, uniform=lambda low, high: (low + high) / 2, now=lambda: NOW,  # type: ignore[arg-type]
        )  # fmt: skip

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(self.delivery.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def wake_for(self, seconds: float) -> None:
        """A NOTIFY every millisecond."""
        async with asyncio.timeout(seconds + 5):
            for _ in range(int(seconds * 1000)):
                self.delivery.wake()
                await asyncio.sleep(0.001)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_wake_up_leads_to_a_look_at_once_and_one_look_is_not_many() -> None:
    database = FakeDatabase()
    async with Running(database, FakeReceiver(), Pace(poll=60)) as running:
        await until(lambda: database.looks == 1)
        running.delivery.wake()
        await until(lambda: database.looks == 2)
        await asyncio.sleep(0.05)
        assert database.looks == 2


@pytest.mark.parametrize("trouble", [DatabaseAway("away"), DatabaseRefused("no")])
async def test_after_an_error_of_the_database_notifications_do_not_shorten_the_pause(trouble: Exception) -> None:
    database = FakeDatabase()
    database.next_raises = trouble
    async with Running(database, FakeReceiver()) as running:
        await running.wake_for(0.3)
    assert 2 <= database.looks <= 10


@pytest.mark.parametrize("idle", [batch(waiting=True), batch(token=None)], ids=["not due", "another's lease"])
async def test_nothing_that_is_committed_makes_a_destination_due(idle: Batch) -> None:
    database = FakeDatabase(idle=idle)
    async with Running(database, FakeReceiver()) as running:
        await running.wake_for(0.3)
    assert 2 <= database.looks <= 10


async def test_what_was_delivered_is_settled_again_and_again_and_not_sent_again() -> None:
    database, receiver = FakeDatabase(batch(1, 2)), FakeReceiver()
    database.settle_raises = [DatabaseAway("away")] * 3
    async with Running(database, receiver) as running:
        await running.wake_for(0.05)
        assert database.attempts_to_settle <= 3
        await until(lambda: database.settled)
    assert receiver.ids == ["evt_1", "evt_2"]
    assert [settlement.delivered for settlement in database.settled] == [(1, 2)]


async def test_a_delivery_that_is_cancelled_settles_what_was_delivered() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver()
    receiver.hang_at = 3
    async with Running(database, receiver):
        await until(lambda: len(receiver.ids) == 3)
    assert [settlement.delivered for settlement in database.settled] == [(1, 2)]


async def test_a_stop_lets_the_request_in_flight_end_and_sends_no_more() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver()
    async with Running(database, receiver) as running:
        receiver.at_request = running.delivery.stop
        async with asyncio.timeout(5):
            await running.task
    assert receiver.ids == ["evt_1"]
    assert [settlement.delivered for settlement in database.settled] == [(1,)]


async def test_a_batch_that_takes_long_is_settled_bit_by_bit() -> None:
    database, receiver = FakeDatabase(batch(1, 2), batch(2)), FakeReceiver()
    async with Running(database, receiver, Pace(poll=0.05, settle_after=0)):
        await until(lambda: len(database.settled) == 2)
    assert [settlement.delivered for settlement in database.settled] == [(1,), (2,)]


async def test_a_failure_keeps_the_rest_back_and_says_when_to_try_again() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver(OK, Answer(500, 0.01))
    async with Running(database, receiver):
        await until(lambda: database.settled)
    assert receiver.ids == ["evt_1", "evt_2"]
    assert database.settled == [Settlement((1,), 2, 500, "the receiver answered HTTP 500", 5.0)]


@pytest.mark.parametrize(("answers", "retry_in"), [([Answer(500, 0.01)], 600.0), ([OK, Answer(500, 0.01)], 5.0)])
async def test_the_waits_begin_anew_after_a_success(answers: list[Answer], retry_in: float) -> None:
    database = FakeDatabase(batch(1, 2, failures=3))
    async with Running(database, FakeReceiver(*answers)):
        await until(lambda: database.settled)
    assert database.settled[0].retry_in == retry_in
