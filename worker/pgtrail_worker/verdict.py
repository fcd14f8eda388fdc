"""What an answer means. Pure: no I/O, no clock."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, assert_never

from pgtrail_worker.answer import Answer, Cause, retry_after_seconds


class Reads(Enum):
    """Where a receiver says what became of the events."""

    STATUS = "status"
    CODE = "code"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a format's receivers mean by their answers; a row of ``audit.format``.

    :param success: statuses that mean delivered; empty: any 2xx.
    :param poison: statuses by which one event spoils its request.
    :param configuration: statuses that an operator has to see to.
    :param poison_codes: the same, of the code in the body.
    :param configuration_codes: the same, of the code in the body.
    :param success_codes: codes in the body that, with a status of success, mean delivered.
    """

    reads: Reads = Reads.STATUS
    success: frozenset[int] = frozenset()
    poison: frozenset[int] = frozenset({400, 415, 422})
    configuration: frozenset[int] = frozenset({401, 403, 404})
    poison_codes: frozenset[int] = frozenset()
    configuration_codes: frozenset[int] = frozenset()
    success_codes: frozenset[int] = frozenset()


class Hold(Enum):
    """What a failure does to its destination beyond waiting."""

    ATTENTION = "attention"
    """An operator has to see to it; it is probed every 15 minutes."""
    GONE = "gone"
    """The receiver wants nothing more: paused."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has every event of the request.

    :param ack_id: it will say under this number when they are indexed; None: nothing more to wait for.
    """

    ack_id: int | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request is larger than the receiver takes."""

    error: str


@dataclass(frozen=True, slots=True)
class Poison:
    """One event of the request, or what they are rendered as, spoils it."""

    error: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver does not have the events.

    :param error: for people, with nothing of the event in it.
    :param at_least: seconds that must pass before the next attempt.
    :param at_once: whether a first failure of this kind is worth an immediate second try.
    :param heavy: whether a smaller request might have passed.
    """

    error: str
    at_least: float = 0.0
    at_once: bool = False
    hold: Hold | None = None
    heavy: bool = False


@dataclass(frozen=True, slots=True)
class Partial:
    """The receiver has some events of the request; positions in it.

    :param poison: those that it refuses, with the reason.
    :param failed: why it does not have the others; None: it never looked at them.
    """

    delivered: tuple[int, ...]
    poison: tuple[tuple[int, str], ...] = ()
    failed: Failed | None = None


Verdict = Delivered | Partial | TooLarge | Poison | Failed

PATIENCE = 60.0
"""After 429 or a time-out the receiver is left alone for this long, in seconds."""
QUICK = 1.0
"""A connection that failed within this time may have met a restart: try again at once. Seconds."""

TIMED_OUT_STATUSES = frozenset({408, 504})
THROTTLED_STATUS = 429
GONE_STATUS = 410
TOO_LARGE_STATUS = 413
CONFLICT_STATUS = 409
MOST_NUMBER = 2**63 - 1
"""Numbers in a response that are larger count as none."""
CERTIFICATE_COMPLAINTS = (b"No required SSL certificate was sent", b"The SSL certificate error")
"""What nginx answers with HTTP 400 to a client certificate that is missing or not good: no event is to blame."""


def judge(answer: Answer, rules: Rules, events: int, now: datetime) -> Verdict:
    """What one answer means for the events of its request.

    :param events: how many there were.
    :param now: aware; a Retry-After date is counted from it.
    """
    if answer.status is None:
        return _no_answer(answer)
    match rules.reads:
        case Reads.STATUS:
            return _by_status(answer, answer.status, rules, now)
        case Reads.CODE:
            return _by_code(answer, answer.status, rules, events, now)
        case Reads.ITEMS:
            return _by_items(answer, answer.status, rules, events, now)
        case never:
            assert_never(never)


def _no_answer(answer: Answer) -> Failed:
    cause = answer.cause or Cause.BROKEN
    return Failed(
        f"{cause.value} ({answer.detail})" if answer.detail else cause.value,
        at_least=PATIENCE if cause is Cause.TIMED_OUT else 0.0,
        at_once=cause in (Cause.REFUSED, Cause.UNRESOLVED) and answer.seconds < QUICK,
        hold=Hold.ATTENTION if cause in (Cause.FORBIDDEN, Cause.UNTRUSTED, Cause.UNUSABLE, Cause.TOKEN) else None,
        heavy=cause is Cause.TIMED_OUT,
    )


def _by_status(answer: Answer, status: int, rules: Rules, now: datetime) -> Verdict:
    if status in rules.success or (not rules.success and 200 <= status < 300):
        return Delivered()
    if status == 400 and any(complaint in answer.body for complaint in CERTIFICATE_COMPLAINTS):
        return Failed("the receiver wants a client certificate, or another one", hold=Hold.ATTENTION)
    return _failure(status, f"the receiver answered HTTP {status}", rules, answer, now)


def _failure(status: int, error: str, rules: Rules, answer: Answer, now: datetime) -> TooLarge | Poison | Failed:
    at_least = retry_after_seconds(answer.retry_after, now)
    if status == TOO_LARGE_STATUS:
        return TooLarge(error)
    if status in rules.poison:
        return Poison(error)
    if status == GONE_STATUS:
        return Failed(f"{error}: it wants no more events", at_least, hold=Hold.GONE)
    if status in rules.configuration:
        return Failed(error, at_least, hold=Hold.ATTENTION)
    if 200 <= status < 300:
        return Failed(f"{error}, which does not say that it has stored anything", at_least)
    if 300 <= status < 400:
        return Failed(f"the receiver redirects (HTTP {status}); redirects are not followed", at_least)
    if status == THROTTLED_STATUS or status in TIMED_OUT_STATUSES:
        return Failed(error, max(at_least, PATIENCE), heavy=status in TIMED_OUT_STATUSES)
    return Failed(error, at_least)


def _by_code(answer: Answer, status: int, rules: Rules, events: int, now: datetime) -> Verdict:
    """Splunk: a number in the body, and the position of the event at which it stopped."""
    body = _object(answer.body)
    code = _number(body.get("code"))
    if code is None:
        failure = _failure(status, f"the receiver answered HTTP {status} without a code", rules, answer, now)
        # Some page of a proxy, say: nothing in it is about an event.
        return Failed(failure.error) if isinstance(failure, Poison) else failure
    error = f"the receiver answered HTTP {status}, code {code}"
    if code in rules.success_codes and status in rules.success:
        return Delivered(_number(body.get("ackId")))
    if code in rules.poison_codes:
        stopped_at = _number(body.get("invalid-event-number"))
        if stopped_at is not None and stopped_at < events:
            return Partial(tuple(range(stopped_at)), ((stopped_at, error),))
        return Poison(error)
    if code in rules.configuration_codes:
        return Failed(error, retry_after_seconds(answer.retry_after, now), hold=Hold.ATTENTION)
    failure = _failure(status, error, rules, answer, now)
    return Failed(error) if isinstance(failure, Poison) else failure


def _by_items(answer: Answer, status: int, rules: Rules, events: int, now: datetime) -> Verdict:
    """Elastic: the body has an item for each event, with a status of its own."""
    if status not in rules.success:
        return _by_status(answer, status, rules, now)
    items = _object(answer.body).get("items")
    outcomes = [_item(item) for item in items] if isinstance(items, list) else []
    if len(outcomes) != events:
        return Failed(f"the receiver answered HTTP {status} and {len(outcomes)} items for {events} events")
    delivered, poison, failures = [], [], []
    for position, (item_status, error) in enumerate(outcomes):
        if 200 <= item_status < 300 or item_status == CONFLICT_STATUS:
            delivered.append(position)
            continue
        failure = _failure(item_status, error, rules, answer, now)
        if isinstance(failure, Failed):
            failures.append(failure)
        else:
            poison.append((position, failure.error))
    if len(delivered) == events:
        return Delivered()
    return Partial(tuple(delivered), tuple(poison), _worst(failures))


def _worst(failures: list[Failed]) -> Failed | None:
    """The failure that holds the most, or waits the longest."""
    return max(failures, key=lambda failed: (failed.hold is not None, failed.at_least), default=None)


def _item(item: Any) -> tuple[int, str]:
    """The status of an item, and an error with the type of what went wrong; its reason may quote the event."""
    outcome = next(iter(item.values()), None) if isinstance(item, dict) else None
    outcome = outcome if isinstance(outcome, dict) else {}
    status = _number(outcome.get("status")) or 0
    kind = outcome["error"].get("type") if isinstance(outcome.get("error"), dict) else None
    named = f" ({kind})" if isinstance(kind, str) and re.fullmatch(r"[a-z_]{1,60}", kind) else ""
    return status, f"the receiver answered {status} for the event{named}"


def _number(value: Any) -> int | None:
    """A number that a receiver counts with; None: it is something else. (To Python true is a number.)"""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_NUMBER else None


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def is_acknowledged(answer: Answer, ack_id: int) -> bool:
    """Whether the answer to a question for one acknowledgement (Splunk) says that it is there."""
    acks = _object(answer.body).get("acks")
    return answer.status == 200 and isinstance(acks, dict) and acks.get(str(ack_id)) is True
