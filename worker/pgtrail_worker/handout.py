"""Events as the database hands them out, and how many of them a request may have. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Framing:
    """How pieces become a body."""

    prefix: bytes = b""
    separator: bytes = b""
    suffix: bytes = b""


@dataclass(frozen=True, slots=True)
class Handout:
    """Rendered events as the database handed them out, in the order of their ids.

    :param keys: events with the same number may be of one resource.
    :param sizes: the bytes of each event in ``body``, between which the format's separator stands.
    :param uids: what each is called outside, where other databases' events are among them.
    """

    event_ids: Sequence[int]
    keys: Sequence[int]
    sizes: Sequence[int]
    body: bytes
    uids: Sequence[str] | None = None

    def message_id(self, positions: Sequence[int]) -> str:
        """The idempotency key of a request with these events."""
        first, last = positions[0], positions[-1]
        if first != last:
            return f"evt_{self.event_ids[first]}_{self.event_ids[last]}"
        return self.uids[first] if self.uids else f"evt_{self.event_ids[first]}"


@dataclass(slots=True)
class Limits:
    """How large a request may be. The receiver's answers change it; the format's row is the most.

    :param events: the most events of a request.
    :param bytes: the most bytes of its body; one event alone may be larger.
    """

    most_events: int
    most_bytes: int
    events: int = field(init=False)
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.events, self.bytes = self.most_events, self.most_bytes

    def probe(self) -> None:
        """The receiver failed last time: begin with one event."""
        self.events = 1

    def shrink(self, events: int) -> None:
        """The receiver did not take a request of so many: try half of it."""
        self.events = max(1, min(self.events, events) // 2)

    def found_too_large(self, size: int) -> None:
        """A body of this size is refused."""
        self.bytes = max(1, min(self.bytes, size // 2))

    def grow(self) -> None:
        """The receiver took one."""
        self.events = min(self.events * 2, self.most_events)
        self.bytes = min(self.bytes + self.bytes // 64 + 1, self.most_bytes)
