"""A batch of events, and how many of them a request may carry. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Framing:
    """What is around and between the events of a body."""

    prefix: bytes = b""
    separator: bytes = b""
    suffix: bytes = b""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to send, rendered, in the order of their ids.

    :param lease_token: None: another worker serves the destination.
    :param resource_keys: events with the same number may be of one resource.
    :param sizes: the bytes of each event in ``body``, with the format's separator between them.
    :param event_uids: the events' names outside, where other databases' events are among them.
    :param failures: failed attempts since the last success.
    :param failing_for: seconds since the first of them.
    :param dead_in_row: dead letters since the last delivery.
    :param in_flight: a writing transaction is open: look again soon.
    :param waiting: the next attempt is not due yet.
    """

    lease_token: int | None
    event_ids: Sequence[int]
    resource_keys: Sequence[int]
    sizes: Sequence[int]
    body: bytes
    event_uids: Sequence[str] | None = None
    failures: int = 0
    failing_for: float = 0.0
    dead_in_row: int = 0
    in_flight: bool = False
    waiting: bool = False

    def message_id(self, positions: Sequence[int]) -> str:
        """The idempotency key of a request with these events."""
        first, last = positions[0], positions[-1]
        if first != last:
            return f"evt_{self.event_ids[first]}_{self.event_ids[last]}"
        return self.event_uids[first] if self.event_uids else f"evt_{self.event_ids[first]}"


@dataclass(slots=True)
class RequestLimits:
    """How large a request may be: what the receiver's responses have shown, up to the format's own maximum.

    :param bytes: one event alone may be larger.
    """

    max_events: int
    max_bytes: int
    events: int = field(init=False)
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.events, self.bytes = self.max_events, self.max_bytes

    def probe(self) -> None:
        """The receiver failed last time: begin with one event."""
        self.events = 1

    def halve_events(self, sent: int) -> None:
        """A request with so many events timed out."""
        self.events = max(1, min(self.events, sent) // 2)

    def halve_bytes(self, sent: int) -> None:
        """A body of this size was refused."""
        self.bytes = max(1, min(self.bytes, sent // 2))

    def grow(self) -> None:
        """A request was accepted."""
        self.events = min(self.events * 2, self.max_events)
        self.bytes = min(self.bytes + self.bytes // 64 + 1, self.max_bytes)
