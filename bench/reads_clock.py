"""The clock of bench/reads.py: what statements take, as whoever waits has it and as the backend's processor has it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg


class Took(NamedTuple):
    """Milliseconds."""

    clock: float
    busy: float

    def and_then(self, other: "Took") -> "Took":
        """Both, one after the other."""
        return Took(self.clock + other.clock, self.busy + other.busy)


class Clock:
    """What the statements have taken since it was last asked, in milliseconds: by the clock, and of the backend's CPU."""

    taken = busy = 0.0

    @classmethod
    def read(cls) -> Took:
        took = Took(cls.taken * 1000, cls.busy * 1000)
        cls.taken = cls.busy = 0.0
        return took

    @classmethod
    @contextmanager
    def running(cls, connection: Any) -> Iterator[None]:
        """Add to it."""
        schedule = Path(f"/proc/{connection.info.backend_pid}/schedstat")
        busy, started = int(schedule.read_text().split()[0]), time.perf_counter()
        try:
            yield
        finally:
            cls.taken += time.perf_counter() - started
            cls.busy += (int(schedule.read_text().split()[0]) - busy) / 1e9


class TimedCursor(psycopg.Cursor[Any]):
    """Adds to the clock."""

    def execute(self, *given: Any, **named: Any) -> Any:
        with Clock.running(self.connection):
            return super().execute(*given, **named)


class TimedAsyncCursor(psycopg.AsyncCursor[Any]):
    """Adds to the clock."""

    async def execute(self, *given: Any, **named: Any) -> Any:
        with Clock.running(self.connection):
            return await super().execute(*given, **named)
