"""From a response to a verdict. Pure: no I/O, no clock."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from pgtrail_worker.response import Cause, Response, retry_after_seconds
from pgtrail_worker.verdict import Delivered, Failed, Hold, Partial, Poison, Reads, ResponseRules, TooLarge, Verdict

BACK_OFF_SECONDS = 60.0
"""For at least this long no request is sent after a 429 or a time-out."""
QUICK_FAILURE_SECONDS = 1.0
"""A connection that failed within this time may have met a restart: it is tried again at once."""

CAUSES_FOR_OPERATORS = (Cause.FORBIDDEN, Cause.UNTRUSTED, Cause.UNUSABLE, Cause.NO_SECRET)
TIMED_OUT_STATUSES = frozenset({408, 504})
THROTTLED_STATUS = 429
GONE_STATUS = 410
TOO_LARGE_STATUS = 413
CONFLICT_STATUS = 409
MAX_NUMBER = 2**63 - 1
"""Larger numbers in a response are ignored."""
CERTIFICATE_ERRORS = (b"No required SSL certificate was sent", b"The SSL certificate error")
"""What nginx sends with HTTP 400 where the client certificate is missing or not valid: no event is to blame."""


def judge(response: Response, rules: ResponseRules, events: int, now: datetime) -> Verdict:
    """What a response means for the events of its request.

    :param events: how many there were.
    :param now: aware; a Retry-After date is counted from it.
    """
    if response.status is None:
        return _no_response(response)
    retry_after = retry_after_seconds(response.retry_after, now)
    match rules.reads:
        case Reads.STATUS:
            return _by_status(response.body, response.status, rules, retry_after)
        case Reads.CODE:
            return _by_code(response.body, response.status, rules, retry_after, events)
        case Reads.ITEMS:
            return _by_items(response.body, response.status, rules, retry_after, events)
        case never:
            assert_never(never)


def _no_response(response: Response) -> Failed:
    cause = response.cause or Cause.BROKEN
    return Failed(
        f"{cause.value} ({response.detail})" if response.detail else cause.value,
        retry_after=BACK_OFF_SECONDS if cause is Cause.TIMED_OUT else 0.0,
        retry_at_once=cause in (Cause.REFUSED, Cause.UNRESOLVED) and response.seconds < QUICK_FAILURE_SECONDS,
        hold=Hold.ATTENTION if cause in CAUSES_FOR_OPERATORS else None,
        shrink=cause is Cause.TIMED_OUT,
    )


def _by_status(body: bytes, status: int, rules: ResponseRules, retry_after: float) -> Verdict:
    if status in rules.success_statuses or (not rules.success_statuses and 200 <= status < 300):
        return Delivered()
    if status == 400 and any(error in body for error in CERTIFICATE_ERRORS):
        return Failed("the receiver wants a client certificate, or another one", hold=Hold.ATTENTION)
    return _failure(status, f"the receiver responded with HTTP {status}", rules, retry_after)


def _failure(status: int, error: str, rules: ResponseRules, retry_after: float) -> TooLarge | Poison | Failed:
    if status == TOO_LARGE_STATUS:
        return TooLarge(error)
    if status in rules.poison_statuses:
        return Poison(error)
    if status == GONE_STATUS:
        return Failed(f"{error}: it wants no more events", retry_after, hold=Hold.GONE)
    if status in rules.configuration_statuses:
        return Failed(error, retry_after, hold=Hold.ATTENTION)
    if 200 <= status < 300:
        return Failed(f"{error}, which does not say that it has stored anything", retry_after)
    if 300 <= status < 400:
        return Failed(f"the receiver redirects (HTTP {status}); redirects are not followed", retry_after)
    if status == THROTTLED_STATUS or status in TIMED_OUT_STATUSES:
        return Failed(error, max(retry_after, BACK_OFF_SECONDS), shrink=status in TIMED_OUT_STATUSES)
    return Failed(error, retry_after)


def _by_code(body: bytes, status: int, rules: ResponseRules, retry_after: float, events: int) -> Verdict:
    """Splunk: a number in the body, and the position of the event at which it stopped."""
    parsed = _object(body)
    code = _number(parsed.get("code"))
    error = f"the receiver responded with HTTP {status}{' without a code' if code is None else f', code {code}'}"
    if code in rules.success_codes and status in rules.success_statuses:
        return Delivered(_number(parsed.get("ackId")))
    if code in rules.poison_codes:
        stopped_at = _number(parsed.get("invalid-event-number"))
        if stopped_at is not None and stopped_at < events:
            return Partial(tuple(range(stopped_at)), ((stopped_at, error),))
        return Poison(error)
    if code in rules.configuration_codes:
        return Failed(error, retry_after, hold=Hold.ATTENTION)
    failure = _failure(status, error, rules, retry_after)
    # The status alone, on a proxy's page for example, does not blame an event.
    return Failed(error) if isinstance(failure, Poison) else failure


def _by_items(body: bytes, status: int, rules: ResponseRules, retry_after: float, events: int) -> Verdict:
    """Elastic: the body has an item for each event, with a status of its own."""
    if status not in rules.success_statuses:
        return _by_status(body, status, rules, retry_after)
    items = _object(body).get("items")
    outcomes = [_item(item) for item in items] if isinstance(items, list) else []
    if len(outcomes) != events:
        return Failed(f"the receiver responded with HTTP {status} and {len(outcomes)} items for {events} events")
    delivered, poison, failures = [], [], []
    for position, (item_status, error) in enumerate(outcomes):
        if 200 <= item_status < 300 or item_status == CONFLICT_STATUS:
            delivered.append(position)
            continue
        failure = _failure(item_status, error, rules, retry_after)
        if isinstance(failure, Failed):
            failures.append(failure)
        else:
            poison.append((position, failure.error))
    if len(delivered) == events:
        return Delivered()
    worst = max(failures, key=lambda failed: (failed.hold is not None, failed.retry_after), default=None)
    return Partial(tuple(delivered), tuple(poison), worst)


def _item(item: Any) -> tuple[int, str]:
    """The status of an item, and an error with the type of what went wrong; its reason may quote the event."""
    outcome = next(iter(item.values()), None) if isinstance(item, dict) else None
    outcome = outcome if isinstance(outcome, dict) else {}
    status = _number(outcome.get("status")) or 0
    kind = outcome["error"].get("type") if isinstance(outcome.get("error"), dict) else None
    named = f" ({kind})" if isinstance(kind, str) and re.fullmatch(r"[a-z_]{1,60}", kind) else ""
    return status, f"the receiver responded with {status} for the event{named}"


def _number(value: Any) -> int | None:
    """A number that a receiver counts with; None: it is something else. (In Python True is a number.)"""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER else None


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def is_acknowledged(response: Response, ack_id: int) -> bool:
    """Whether a response to a query for acknowledgements (Splunk) says that this one is there."""
    acks = _object(response.body).get("acks")
    return response.status == 200 and isinstance(acks, dict) and acks.get(str(ack_id)) is True
