"""What came back for a request, before it is judged. Pure: no I/O, no clock."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

MAX_RETRY_AFTER_SECONDS = 24 * 3600.0


class Cause(Enum):
    """Why there was no response."""

    UNRESOLVED = "the name does not resolve"
    FORBIDDEN = "the address is not allowed"
    REFUSED = "the connection failed"
    UNTRUSTED = "the receiver's certificate is not valid"
    TIMED_OUT = "no response in time"
    BROKEN = "the connection broke"
    UNUSABLE = "the URL or a certificate file can't be used"
    NO_SECRET = "there is no token to send with"  # noqa: S105 - says that there is none


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one request.

    :param status: the HTTP status; None: there was no response, for the reason in ``cause``.
    :param seconds: how long it took.
    :param detail: more about the cause, in one line for people; nothing of headers or bodies.
    :param retry_after: the Retry-After header as received.
    :param body: the beginning of the body.
    """

    status: int | None
    seconds: float
    cause: Cause | None = None
    detail: str = ""
    retry_after: str | None = None
    body: bytes = b""


def retry_after_seconds(header: str | None, now: datetime) -> float:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks for; at most 24 h, 0 if it can't be parsed."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)
