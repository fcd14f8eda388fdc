"""What an answer means. Pure: no I/O, no clock."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum


class Cause(Enum):
    """Why there was no proper answer."""

    REFUSED = "the connection failed"
    TIMED_OUT = "no answer in time"
    BROKEN = "the connection broke"
    UNUSABLE = "the URL can't be used"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    :param status: the HTTP status; None where there was no answer, then ``cause`` says why.
    :param seconds: how long it took.
    :param retry_after: the Retry-After header as received.
    """

    status: int | None
    seconds: float
    cause: Cause | None = None
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has the event."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver does not have it.

    :param error: for people, with nothing of the event in it.
    :param at_least: seconds that must pass before the next attempt.
    :param at_once: whether a first failure of this kind is worth an immediate second try.
    """

    error: str
    at_least: float = 0.0
    at_once: bool = False


LONGEST_RETRY_AFTER = 24 * 3600.0
"""A receiver can't put an event off for longer, in seconds."""

PATIENCE = 60.0
"""After 429 or a time-out the receiver is left alone for this long, in seconds."""

QUICK = 1.0
"""A connection that failed within this time may have met a restart: try again at once. Seconds."""


def judge(answer: Answer, now: datetime) -> Delivered | Failed:
    """What one answer means for its event.

    :param now: aware; a Retry-After date is counted from it.
    """
    if answer.status is None:
        cause = answer.cause or Cause.BROKEN
        return Failed(
            cause.value,
            at_least=PATIENCE if cause is Cause.TIMED_OUT else 0.0,
            at_once=cause is Cause.REFUSED and answer.seconds < QUICK,
        )
    if 200 <= answer.status < 300:
        return Delivered()
    if 300 <= answer.status < 400:
        return Failed(f"the receiver redirects (HTTP {answer.status}); redirects are not followed")
    asked = retry_after_seconds(answer.retry_after, now)
    floor = PATIENCE if answer.status == 429 else 0.0
    return Failed(f"the receiver answered HTTP {answer.status}", at_least=max(asked, floor))


def retry_after_seconds(header: str | None, now: datetime) -> float:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks for; at most 24 h, 0 if it can't be read."""
    if header is None:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)
