"""One destination, with a database and a receiver that do as they are told."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pgtrail_worker.batch import Batch, Framing
from pgtrail_worker.delivery import Delivery
from pgtrail_worker.destination import Destination, TokenSource
from pgtrail_worker.errors import DatabaseUnavailable, StatementFailed
from pgtrail_worker.metrics import Metrics
from pgtrail_worker.pace import Pace
from pgtrail_worker.response import Response
from pgtrail_worker.send_queue import Outcome
from pgtrail_worker.verdict import Delivered, Failed, Poison, ResponseRules, Verdict

DESTINATION = Destination(
    cursor_id=1, name="siem", replay_id=None, url="https://siem.example", content_type="application/json", headers=(),
    channel="", framing=Framing(), max_events=1, max_bytes=1000, max_in_flight=1, gzip=False, rules=ResponseRules(),
    signing_secrets=(), token=TokenSource(), oauth=None, allowed_networks=(), ca_file=None, client_cert_file=None,
)  # fmt: skip
PACE = Pace(poll=0.05, after_unavailable=0.05, after_failed_statement=0.05, settle_after=60, last_settle=1)
OK = Delivered()
DOWN = Failed("the receiver responded with HTTP 500")


def batch(*ids: int, failures: int = 0, token: int | None = 1, waiting: bool = False) -> Batch:
    return Batch(token, ids, ids, [2] * len(ids), b"{}" * len(ids), failures=failures, waiting=waiting)


class FakeDatabase:
    """Hands out the batches one after the other, then empty ones; what it is asked for ahead is nothing."""

    def __init__(self, *batches: Batch, idle: Batch | None = None) -> None:
        self.batches = list(batches)
        self.idle = idle or batch()
        self.looks = 0
        self.settled: list[tuple[Outcome, float | None]] = []
        self.attempts_to_settle = 0
        self.next_raises: Exception | None = None
        self.settle_raises: list[Exception] = []
        self.lease_holds = True
        self.ahead: list[Batch] = []
        self.asked_ahead: list[int] = []

    async def next_batch(self, _: int, __: str, ___: float, ____: int, after: int | None = None) -> Batch:
        await asyncio.sleep(0)
        if after is not None:
            self.asked_ahead.append(after)
            return self.ahead.pop(0) if self.ahead else batch()
        self.looks += 1
        if self.next_raises:
            raise self.next_raises
        return self.batches.pop(0) if self.batches else self.idle

    async def renew_lease(self, *_: Any) -> bool:
        return self.lease_holds

    async def render_shortened(self, *_: Any) -> bytes | None:
        return None

    async def record_delivery(self, _: int, __: int, outcome: Outcome, retry_in: float | None) -> bool:
        self.attempts_to_settle += 1
        await asyncio.sleep(0)
        if self.settle_raises:
            raise self.settle_raises.pop(0)
        self.settled.append((outcome, retry_in))
        return self.lease_holds

    @property
    def delivered(self) -> list[tuple[int, ...]]:
        return [outcome.delivered for outcome, _ in self.settled]


class FakeReceiver:
    """Answers as it is told; takes everything when it was told nothing."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts)
        self.ids: list[str] = []
        self.hang_at = 0
        self.at_request: Callable[[], None] = lambda: None
        self.at_once = self.most_at_once = 0

    async def send(self, message_id: str, _: bytes, __: int) -> tuple[Response, Verdict]:
        self.ids.append(message_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.at_request()
        if len(self.ids) == self.hang_at:
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        self.at_once -= 1
        verdict = self.verdicts.pop(0) if self.verdicts else OK
        return Response(204 if verdict == OK else 500, 0.01), verdict


class Running:
    """A delivery at work; ends it when the test does."""

    def __init__(
        self, database: FakeDatabase, receiver: FakeReceiver, pace: Pace = PACE, destination: Destination = DESTINATION
    ) -> None:
        self.delivery = Delivery(
            destination, database, receiver.send, "worker-1", pace, Metrics(), uniform=lambda low, high: (low + high) / 2,  # type: ignore[arg-type]
        )  # fmt: skip

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(self.delivery.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def wake_for(self, seconds: float) -> None:
        """A NOTIFY every millisecond."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
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


@pytest.mark.parametrize("trouble", [DatabaseUnavailable("away"), StatementFailed("no")])
async def test_after_an_error_of_the_database_notifications_do_not_shorten_the_pause(trouble: Exception) -> None:
    database = FakeDatabase()
    database.next_raises = trouble
    async with Running(database, FakeReceiver()) as running:
        await running.wake_for(0.3)
    assert 2 <= database.looks <= 12, "one each 50 ms and not one a wake-up"


@pytest.mark.parametrize("idle", [batch(waiting=True), batch(token=None)], ids=["not due", "another's lease"])
async def test_nothing_that_is_committed_makes_a_destination_due(idle: Batch) -> None:
    database = FakeDatabase(idle=idle)
    async with Running(database, FakeReceiver()) as running:
        await running.wake_for(0.3)
    assert 2 <= database.looks <= 12, "one each 50 ms and not one a wake-up"


async def test_what_was_delivered_is_settled_again_and_again_and_not_sent_again() -> None:
    database, receiver = FakeDatabase(batch(1, 2)), FakeReceiver()
    database.settle_raises = [DatabaseUnavailable("away")] * 3
    async with Running(database, receiver) as running:
        await running.wake_for(0.05)
        assert database.attempts_to_settle <= 3
        await until(lambda: database.settled)
    assert receiver.ids == ["evt_1", "evt_2"]
    assert database.delivered == [(1, 2)]


async def test_a_delivery_that_is_cancelled_settles_what_was_delivered() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver()
    receiver.hang_at = 3
    async with Running(database, receiver):
        await until(lambda: len(receiver.ids) == 3)
    assert database.delivered == [(1, 2)]


async def test_a_stop_lets_the_request_in_flight_end_and_sends_no_more() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver()
    async with Running(database, receiver) as running:
        receiver.at_request = running.delivery.stop
        async with asyncio.timeout(5):
            await running.task
    assert receiver.ids == ["evt_1"]
    assert database.delivered == [(1,)]


async def test_a_batch_that_takes_long_is_settled_bit_by_bit() -> None:
    database, receiver = FakeDatabase(batch(1, 2)), FakeReceiver()
    async with Running(database, receiver, Pace(poll=0.05, settle_after=0)):
        await until(lambda: len(database.settled) == 2)
    assert [(outcome.delivered, outcome.through) for outcome, _ in database.settled] == [((1,), 1), ((2,), 2)]


async def test_a_failure_keeps_the_rest_back_and_says_when_to_try_again() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver(OK, DOWN)
    async with Running(database, receiver):
        await until(lambda: database.settled)
    assert receiver.ids == ["evt_1", "evt_2"]
    ((outcome, retry_in),) = database.settled
    assert (outcome.delivered, outcome.through, retry_in) == ((1,), 1, 5.0)
    assert outcome.failure is not None
    assert (outcome.failure.event_id, outcome.failure.status, outcome.failure.failed) == (2, 500, DOWN)


async def test_a_failure_that_takes_long_is_recorded_once_and_after_what_was_in_flight_with_it() -> None:
    database, receiver = FakeDatabase(batch(1, 2)), FakeReceiver(DOWN, OK)
    async with Running(database, receiver, Pace(poll=0.05, settle_after=0), replace(DESTINATION, max_in_flight=2)):
        await until(lambda: database.looks > 1)
    ((outcome, _),) = database.settled
    assert (outcome.delivered, outcome.through) == ((2,), 0)
    assert outcome.failure is not None


@pytest.mark.parametrize(("answers", "retry_in"), [([DOWN], 600.0), ([OK, DOWN], 5.0)])
async def test_the_waits_begin_anew_after_a_success(answers: list[Verdict], retry_in: float) -> None:
    database = FakeDatabase(batch(1, 2, failures=3))
    async with Running(database, FakeReceiver(*answers)):
        await until(lambda: database.settled)
    assert database.settled[0][1] == retry_in


async def test_requests_are_in_flight_together_up_to_the_destinations_number() -> None:
    database, receiver = FakeDatabase(batch(*range(1, 20))), FakeReceiver()
    async with Running(database, receiver, destination=replace(DESTINATION, max_in_flight=4)):
        await until(lambda: database.settled)
    assert receiver.most_at_once == 4


async def test_a_destination_that_failed_is_probed_with_one_event() -> None:
    database, receiver = FakeDatabase(batch(*range(1, 20), failures=1)), FakeReceiver(DOWN)
    many = replace(DESTINATION, max_in_flight=4, max_events=100)
    async with Running(database, receiver, destination=many):
        await until(lambda: database.settled)
    assert receiver.ids == ["evt_1"]


async def test_the_next_events_are_rendered_while_these_are_sent_and_thrown_away_if_these_fail() -> None:
    database, receiver = FakeDatabase(batch(1, 2)), FakeReceiver()
    database.ahead = [batch(3, 4)]
    async with Running(database, receiver):
        await until(lambda: len(database.settled) == 2)
    assert database.asked_ahead == [2, 4]
    assert database.delivered == [(1, 2), (3, 4)]

    database, receiver = FakeDatabase(batch(1, 2)), FakeReceiver(OK, DOWN)
    database.ahead = [batch(3, 4)]
    async with Running(database, receiver):
        await until(lambda: database.looks > 1)
    assert receiver.ids == ["evt_1", "evt_2"]


async def test_dead_letters_in_a_row_are_counted_from_one_batch_to_the_next() -> None:
    database = FakeDatabase(batch(*range(1, 16)))
    database.ahead = [batch(*range(16, 31))]
    async with Running(database, FakeReceiver(*[Poison("the receiver responded with HTTP 400")] * 30)):
        await until(lambda: len(database.settled) == 2)
    assert [len(outcome.dead) for outcome, _ in database.settled] == [15, 5]
    assert database.settled[1][0].failure is not None


async def test_after_the_lease_is_lost_nothing_more_is_sent() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver()
    database.lease_holds = False
    database.ahead = [batch(4)]
    async with Running(database, receiver, Pace(poll=0.05, settle_after=0)):
        await until(lambda: database.looks > 1)
    assert receiver.ids == ["evt_1"]


async def test_a_worker_that_slept_through_the_end_of_its_lease_sends_nothing_more() -> None:
    database, receiver = FakeDatabase(batch(1, 2, 3)), FakeReceiver()
    pace = replace(PACE, lease=0.05)
    # Renewals fail, as they would for a process that was stopped.
    database.lease_holds = False
    receiver.at_request = lambda: time.sleep(0.06)
    async with Running(database, receiver, pace):
        await until(lambda: database.looks > 1)
    assert receiver.ids == ["evt_1"]


async def test_an_error_that_nothing_foresaw_is_reported_and_does_not_end_the_delivery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = FakeDatabase(batch(1))
    database.next_raises = ZeroDivisionError("secret")
    async with Running(database, FakeReceiver()) as running:
        await until(lambda: database.looks > 2)
        assert running.delivery.error == "its delivery failed with ZeroDivisionError"
        database.next_raises = None
        await until(lambda: running.delivery.is_healthy)
    assert running.delivery.error is None
    assert database.delivered == [(1,)]
    assert [record.message for record in caplog.records if record.exc_info] == ["the delivery failed"]
