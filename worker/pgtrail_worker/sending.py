"""What is sent next, and what became of it. Pure: no I/O, no clock.

Events come in runs. A run is sent as large as the limits allow; one that the receiver finds too large, or of which it
refuses an event, is halved and sent again, until the event is alone. Of one resource at most one request is in flight,
and nothing overtakes an earlier event of the same resource.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgtrail_worker.handout import Framing, Handout, Limits
from pgtrail_worker.verdict import Delivered, Failed, Hold, Partial, Poison, TooLarge, Verdict

MOST_DEAD_IN_ROW = 20
"""More dead letters in a row than this are no poison but a configuration error."""

LOOK_AHEAD = 256
"""How far ahead an event is looked for whose resource has no request in flight."""


@dataclass(frozen=True, slots=True)
class Request:
    """Events to send at once.

    :param positions: in the handout, rising.
    """

    positions: tuple[int, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that the receiver refuses."""

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
    """What became of events since the last time that it was asked.

    :param through: everything to this id is delivered or dead; 0: nothing more than before.
    """

    delivered: tuple[int, ...]
    dead: tuple[DeadLetter, ...]
    through: int
    dead_in_row: int
    failure: Failure | None

    def __bool__(self) -> bool:
        return bool(self.delivered or self.dead or self.failure)


class Sending:
    """One handout on its way.

    :param dead_in_row: dead letters since the last delivery, before this handout.
    """

    def __init__(self, handout: Handout, framing: Framing, limits: Limits, dead_in_row: int = 0) -> None:
        self._handout = handout
        self._framing = framing
        self._limits = limits
        self._spans = list(_spans(handout.sizes, len(framing.separator)))
        self._shortened: dict[int, bytes] = {}
        self._runs: deque[tuple[int, ...]] = deque([tuple(range(len(handout.event_ids)))])
        self._busy: set[int] = set()
        self._open = set(range(len(handout.event_ids)))
        self._delivered: list[int] = []
        self._dead: list[DeadLetter] = []
        self._dead_in_row = dead_in_row
        self._failure: Failure | None = None
        self.in_flight = 0

    @property
    def dead_in_row(self) -> int:
        """Dead letters since the last delivery."""
        return self._dead_in_row

    @property
    def stopped(self) -> bool:
        """Whether something failed: no more is sent."""
        return self._failure is not None

    @property
    def complete(self) -> bool:
        """Whether every event is delivered or dead."""
        return not self._open

    def next(self) -> Request | None:
        """The next request; None where each event that is left waits for one in flight, or sending has stopped."""
        if self._failure is not None:
            return None
        blocked = set(self._busy)
        looked_at = 0
        for number, run in enumerate(self._runs):
            taken = self._take(run, blocked)
            if taken:
                self._leave(number, run, taken)
                self._busy.update(self._handout.keys[position] for position in taken)
                self.in_flight += 1
                return Request(taken, self._body(taken))
            # What stays behind must not be overtaken.
            blocked.update(self._handout.keys[position] for position in run[:LOOK_AHEAD])
            looked_at += len(run)
            if looked_at > LOOK_AHEAD:
                return None
        return None

    def take(self, request: Request, verdict: Verdict, status: int | None) -> int | None:
        """Note the answer to a request.

        :returns: the id of an event that is alone and still too large; give it to `shorten`. Else None.
        """
        self.in_flight -= 1
        self._busy.difference_update(self._handout.keys[position] for position in request.positions)
        match verdict:
            case Delivered():
                self._limits.grow()
                self._settle(request.positions)
            case TooLarge(error):
                self._limits.found_too_large(len(request.body))
                if len(request.positions) == 1:
                    self._runs.appendleft(request.positions)
                    return self._handout.event_ids[request.positions[0]]
                self._halve(request)
            case Poison(error):
                if len(request.positions) == 1:
                    self._bury(request.positions[0], status, error)
                else:
                    self._halve(request)
            case Partial():
                self._take_partial(request, verdict, status)
            case Failed():
                if verdict.heavy:
                    self._limits.shrink(len(request.positions))
                self._stop(request.positions, status, verdict)
        return None

    def shorten(self, event_id: int, piece: bytes | None, status: int | None, error: str) -> None:
        """Send a shorter rendering of an event, or give the event up where there is none that is shorter."""
        position = self._handout.event_ids.index(event_id)
        if piece is not None and len(piece) < len(self._piece(position)):
            self._shortened[position] = piece
        else:
            self._runs.remove((position,))
            self._bury(position, status, error)

    def size_of(self, event_id: int) -> int:
        """The bytes of an event as it would be sent now."""
        return len(self._piece(self._handout.event_ids.index(event_id)))

    def outcome(self) -> Outcome:
        """What became of events since the last call."""
        ids = self._handout.event_ids
        through = ids[min(self._open)] - 1 if self._open else ids[-1]
        made = Outcome(tuple(self._delivered), tuple(self._dead), through, self._dead_in_row, self._failure)
        self._delivered, self._dead = [], []
        return made

    def _take(self, run: tuple[int, ...], blocked: set[int]) -> tuple[int, ...]:
        taken: list[int] = []
        size = len(self._framing.prefix) + len(self._framing.suffix)
        for position in run[: max(self._limits.events, LOOK_AHEAD)]:
            key = self._handout.keys[position]
            if key in blocked:
                continue
            more = len(self._piece(position)) + (len(self._framing.separator) if taken else 0)
            if taken and (len(taken) >= self._limits.events or size + more > self._limits.bytes):
                break
            taken.append(position)
            size += more
        return tuple(taken)

    def _leave(self, number: int, run: tuple[int, ...], taken: tuple[int, ...]) -> None:
        if len(taken) == len(run):
            del self._runs[number]
        elif run[: len(taken)] == taken:
            self._runs[number] = run[len(taken) :]
        else:
            gone = set(taken)
            self._runs[number] = tuple(position for position in run if position not in gone)

    def _halve(self, request: Request) -> None:
        middle = len(request.positions) // 2
        self._runs.extendleft([request.positions[middle:], request.positions[:middle]])

    def _settle(self, positions: Sequence[int]) -> None:
        self._delivered.extend(self._handout.event_ids[position] for position in positions)
        self._open.difference_update(positions)
        if positions:
            self._dead_in_row = 0

    def _bury(self, position: int, status: int | None, error: str) -> None:
        if self._dead_in_row >= MOST_DEAD_IN_ROW:
            many = Failed(f"{error}, as to the {MOST_DEAD_IN_ROW} events before it", hold=Hold.ATTENTION)
            self._stop((position,), status, many)
            return
        self._dead_in_row += 1
        self._dead.append(DeadLetter(self._handout.event_ids[position], status, error))
        self._open.discard(position)

    def _take_partial(self, request: Request, partial: Partial, status: int | None) -> None:
        self._settle([request.positions[at] for at in partial.delivered])
        for at, error in partial.poison:
            self._bury(request.positions[at], status, error)
        left = tuple(position for position in request.positions if position in self._open)
        if partial.failed is not None and left:
            self._stop(left, status, partial.failed)
        elif left:
            self._runs.appendleft(left)

    def _stop(self, positions: tuple[int, ...], status: int | None, failed: Failed) -> None:
        self._runs.appendleft(positions)
        if self._failure is None or failed.hold:
            self._failure = Failure(self._handout.event_ids[positions[0]], status, failed)

    def _piece(self, position: int) -> bytes | memoryview:
        start, end = self._spans[position]
        return self._shortened.get(position) or memoryview(self._handout.body)[start:end]

    def _body(self, positions: tuple[int, ...]) -> bytes:
        first, last = positions[0], positions[-1]
        if last - first + 1 == len(positions) and not self._shortened:
            # Neighbours stand in the body as they are sent, separators included.
            middle = self._handout.body[self._spans[first][0] : self._spans[last][1]]
        else:
            middle = self._framing.separator.join(self._piece(position) for position in positions)
        return self._framing.prefix + middle + self._framing.suffix


def _spans(sizes: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    start = 0
    for size in sizes:
        yield start, start + size
        start += size + gap
