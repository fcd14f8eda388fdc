"""What comes back for a request, before anybody judges it. Pure: no I/O, no clock."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

LONGEST_RETRY_AFTER = 24 * 3600.0
"""A receiver can't put an event off for longer, in seconds."""


class Cause(Enum):
    """Why there was no proper answer."""

    UNRESOLVED = "the name does not resolve"
    FORBIDDEN = "the address is not allowed"
    REFUSED = "the connection failed"
    UNTRUSTED = "the receiver's certificate does not hold"
    TIMED_OUT = "no answer in time"
    BROKEN = "the connection broke"
    UNUSABLE = "the URL or a certificate file can't be used"
    TOKEN = "there is no token to send with"  # noqa: S105 - says that there is none


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    :param status: the HTTP status; None where there was no answer, then ``cause`` says why.
    :param seconds: how long it took.
    :param detail: more of the cause, in one line for people; nothing of headers or bodies.
    :param retry_after: the Retry-After header as received.
    :param body: the beginning of the answer's body.
    """

    status: int | None
    seconds: float
    cause: Cause | None = None
    detail: str = ""
    retry_after: str | None = None
    body: bytes = b""


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
