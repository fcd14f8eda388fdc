"""Which events of a batch are sent next, and what became of the others. Pure: no I/O, no clock.

Events are queued in runs. A request carries as much of a run as the limits allow. If it is too large, or one of its
events is refused, it is halved and sent again, until the event is alone. At most one request with events of a resource
is in flight, and no event overtakes an earlier one of its resource.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pgtrail_worker.batch import Batch, Framing, RequestLimits
from pgtrail_worker.verdict import Delivered, Failed, Hold, Partial, Poison, TooLarge, Verdict

MAX_DEAD_IN_ROW = 20
"""More dead letters in a row than this are a configuration error."""

LOOK_AHEAD = 256
"""How far ahead to look for an event whose resource has no request in flight."""


@dataclass(frozen=True, slots=True)
class Request:
    """Events to send in one request, by their positions in the batch, ascending."""

    positions: tuple[int, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    event_id: int
    status: int | None
    error: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why sending stopped, and at which event."""

    event_id: int
    status: int | None
    failed: Failed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of events since the last outcome was taken.

    :param through: each event up to this id is delivered or dead.
    """

    delivered: tuple[int, ...]
    dead: tuple[DeadLetter, ...]
    through: int
    dead_in_row: int
    failure: Failure | None

    def __bool__(self) -> bool:
        return bool(self.delivered or self.dead or self.failure)


class SendQueue:
    """The events of a batch that are still to be sent. ``dead_in_row``: dead letters since the last delivery."""

    def __init__(self, batch: Batch, framing: Framing, limits: RequestLimits) -> None:
        self._batch = batch
        self._framing = framing
        self._limits = limits
        self._spans = list(_spans(batch.sizes, len(framing.separator)))
        self._shortened: dict[int, bytes] = {}
        self._runs: deque[tuple[int, ...]] = deque([tuple(range(len(batch.event_ids)))])
        self._busy_keys: set[int] = set()
        self._open = set(range(len(batch.event_ids)))
        self._delivered: list[int] = []
        self._dead: list[DeadLetter] = []
        self._failure: Failure | None = None
        self.dead_in_row = batch.dead_in_row

    @property
    def stopped(self) -> bool:
        """Whether something failed, so that no more is sent."""
        return self._failure is not None

    @property
    def complete(self) -> bool:
        """Whether each event is delivered or dead."""
        return not self._open

    def next_request(self) -> Request | None:
        """The next request; None: sending has stopped, or each event that is left waits for one in flight."""
        if self.stopped:
            return None
        blocked = set(self._busy_keys)
        looked_at = 0
        for index, run in enumerate(self._runs):
            if positions := self._fitting(run, blocked):
                self._dequeue(index, run, positions)
                self._busy_keys.update(self._keys(positions))
                return Request(positions, self._body(positions))
            # What is left behind must not be overtaken.
            blocked.update(self._keys(run[:LOOK_AHEAD]))
            looked_at += len(run)
            if looked_at > LOOK_AHEAD:
                break
        return None

    def record(self, request: Request, verdict: Verdict, status: int | None) -> int | None:
        """Note the verdict on a request.

        :returns: the id of an event that is alone and still too large, which has to be shortened. Else None.
        """
        self._busy_keys.difference_update(self._keys(request.positions))
        is_alone = len(request.positions) == 1
        match verdict:
            case Delivered():
                self._limits.grow()
                self._mark_delivered(request.positions)
            case TooLarge():
                self._limits.halve_bytes(len(request.body))
                if is_alone:
                    self._runs.appendleft(request.positions)
                    return self._batch.event_ids[request.positions[0]]
                self._halve(request)
            case Poison(error) if is_alone:
                self._dead_letter(request.positions[0], status, error)
            case Poison():
                self._halve(request)
            case Partial():
                self._record_partial(request, verdict, status)
            case Failed():
                if verdict.shrink:
                    self._limits.halve_events(len(request.positions))
                self._stop(request.positions, status, verdict)
        return None

    def shorten(self, event_id: int, piece: bytes | None, status: int | None, error: str) -> None:
        """Send this rendering of an event; if it is not shorter, make the event a dead letter."""
        position = self._batch.event_ids.index(event_id)
        if piece is not None and len(piece) < len(self._piece(position)):
            self._shortened[position] = piece
        else:
            self._runs.remove((position,))
            self._dead_letter(position, status, error)

    def size_of(self, event_id: int) -> int:
        """The bytes of an event as it would be sent now."""
        return len(self._piece(self._batch.event_ids.index(event_id)))

    def take_outcome(self) -> Outcome:
        """What became of events since the last call."""
        ids = self._batch.event_ids
        through = ids[min(self._open)] - 1 if self._open else ids[-1]
        outcome = Outcome(tuple(self._delivered), tuple(self._dead), through, self.dead_in_row, self._failure)
        self._delivered, self._dead = [], []
        return outcome

    def _keys(self, positions: Iterable[int]) -> Iterator[int]:
        return (self._batch.resource_keys[position] for position in positions)

    def _fitting(self, run: tuple[int, ...], blocked: set[int]) -> tuple[int, ...]:
        """As much of a run as fits into a request."""
        fitting: list[int] = []
        size = len(self._framing.prefix) + len(self._framing.suffix)
        for position in run[: max(self._limits.events, LOOK_AHEAD)]:
            if self._batch.resource_keys[position] in blocked:
                continue
            more = len(self._piece(position)) + (len(self._framing.separator) if fitting else 0)
            if fitting and (len(fitting) >= self._limits.events or size + more > self._limits.bytes):
                break
            fitting.append(position)
            size += more
        return tuple(fitting)

    def _dequeue(self, index: int, run: tuple[int, ...], positions: tuple[int, ...]) -> None:
        if len(positions) == len(run):
            del self._runs[index]
        elif run[: len(positions)] == positions:
            self._runs[index] = run[len(positions) :]
        else:
            dequeued = set(positions)
            self._runs[index] = tuple(position for position in run if position not in dequeued)

    def _halve(self, request: Request) -> None:
        middle = len(request.positions) // 2
        self._runs.extendleft([request.positions[middle:], request.positions[:middle]])

    def _mark_delivered(self, positions: Sequence[int]) -> None:
        self._delivered.extend(self._batch.event_ids[position] for position in positions)
        self._open.difference_update(positions)
        if positions:
            self.dead_in_row = 0

    def _dead_letter(self, position: int, status: int | None, error: str) -> None:
        if self.dead_in_row >= MAX_DEAD_IN_ROW:
            many = Failed(f"{error}, as to the {MAX_DEAD_IN_ROW} events before it", hold=Hold.ATTENTION)
            self._stop((position,), status, many)
            return
        self.dead_in_row += 1
        self._dead.append(DeadLetter(self._batch.event_ids[position], status, error))
        self._open.discard(position)

    def _record_partial(self, request: Request, partial: Partial, status: int | None) -> None:
        self._mark_delivered([request.positions[at] for at in partial.delivered])
        for at, error in partial.poison:
            self._dead_letter(request.positions[at], status, error)
        left = tuple(position for position in request.positions if position in self._open)
        if partial.failed is not None and left:
            self._stop(left, status, partial.failed)
        elif left:
            self._runs.appendleft(left)

    def _stop(self, positions: tuple[int, ...], status: int | None, failed: Failed) -> None:
        self._runs.appendleft(positions)
        if self._failure is None or failed.hold:
            self._failure = Failure(self._batch.event_ids[positions[0]], status, failed)

    def _piece(self, position: int) -> bytes | memoryview:
        start, end = self._spans[position]
        return self._shortened.get(position) or memoryview(self._batch.body)[start:end]

    def _body(self, positions: tuple[int, ...]) -> bytes:
        first, last = positions[0], positions[-1]
        if last - first + 1 == len(positions) and not self._shortened:
            # Neighbours are in the body as they are sent, separators included.
            middle = self._batch.body[self._spans[first][0] : self._spans[last][1]]
        else:
            middle = self._framing.separator.join(self._piece(position) for position in positions)
        return self._framing.prefix + middle + self._framing.suffix


def _spans(sizes: Sequence[int], separator: int) -> Iterator[tuple[int, int]]:
    start = 0
    for size in sizes:
        yield start, start + size
        start += size + separator
