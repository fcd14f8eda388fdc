"""What a log of so many organizations needs: docs/operate/scale.md, out of what the other benchmarks measured.

A model, not a measurement: each figure is a rate or a size of bench/results, multiplied.

Example:
  python bench/capacity.py
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import results

EVENTS_AN_ORGANIZATION = 2_000
"""A month: an audited change every 20 minutes, around the clock."""
PEAK = 10
"""How many times the mean the busiest second is."""
SPARE = 0.5
"""How much of what was measured is planned with."""
SECONDS_A_MONTH = 2_629_746
DISK_BYTES, MEMORY_BYTES = 4e12, 256e9
"""Of a large database server."""
MOST_MONTHS = 13
FORWARDED = 40_000
"""Events a second to a receiver that takes batches, of one destination (docs/operate/performance.md)."""
SEARCH_INDEX = 60
"""Bytes of an event in the search index, in a history of a million (bench/history.py)."""
SIZES = (1_000, 100_000, 10_000_000)


@dataclass(frozen=True, slots=True)
class Measured:
    """The constants of the model.

    :param writes: audited updates of a row of 400 bytes, a second, on two processors.
    :param live, indexes, sealed, archived: bytes an event.
    :param followed: events a second that a hub takes in of one node; of many, for each processor.
    :param verified, read_back: events a second, on one processor.
    """

    writes: float
    live: float
    indexes: float
    sealed: float
    archived: float
    followed: float
    taken_in: float
    verified: float
    read_back: float

    @classmethod
    def load(cls) -> "Measured":
        """From bench/results."""
        live, indexes = (_median("writes", f"update, log {part}", "pgtrail") for part in ("heap", "indexes"))
        return cls(
            writes=_median("writes", "update, 8 clients", "pgtrail"),
            live=live + indexes + SEARCH_INDEX,
            indexes=indexes,
            sealed=_median("archive", "an event", "seals in the database"),
            archived=_median("archive", "an event", "archive: all files"),
            followed=_median("hub", "what has piled up", "of 1"),
            taken_in=1e6 / _median("hub", "what has piled up: processor of the hub", "of 3"),
            verified=_median("growth", "verifying", "20 million"),
            read_back=_median("archive", "rate", "read back and verified"),
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """What so many organizations need."""

    organizations: int
    measured: Measured

    @property
    def events(self) -> float:
        """A month."""
        return self.organizations * EVENTS_AN_ORGANIZATION

    @property
    def mean(self) -> float:
        """Events a second."""
        return self.events / SECONDS_A_MONTH

    @property
    def peak(self) -> float:
        """Events in the busiest second."""
        return self.mean * PEAK

    @property
    def month_bytes(self) -> float:
        """Live, with its indexes and its seals."""
        return self.events * (self.measured.live + self.measured.sealed)

    @property
    def index_bytes(self) -> float:
        """Of a month: histories and activities are written all over theirs, so the present month's belong in memory."""
        return self.events * self.measured.indexes

    @property
    def servers(self) -> int:
        """Large ones that hold a month: by disk and by memory."""
        return math.ceil(max(self.month_bytes / (SPARE * DISK_BYTES), self.index_bytes / MEMORY_BYTES))

    @property
    def nodes(self) -> int:
        """Databases of the application, for the log's sake."""
        return max(self.servers, math.ceil(self.peak / (SPARE * self.measured.writes)))

    @property
    def months(self) -> int:
        """That a node's disk keeps."""
        return max(1, min(MOST_MONTHS, math.floor(SPARE * DISK_BYTES * self.nodes / self.month_bytes)))

    def used(self) -> dict[str, float]:
        """How much of each limit is taken in this layout."""
        return {
            "writing": self.peak / self.nodes / self.measured.writes,
            "the disk of a database": self.months * self.month_bytes / self.nodes / DISK_BYTES,
            "memory for the present month's indexes": self.index_bytes / self.nodes / MEMORY_BYTES,
            "what a hub takes in of one database": self.peak / self.nodes / self.measured.followed,
            "one destination that gets everything": self.peak / FORWARDED,
        }

    @property
    def first_limit(self) -> str:
        """What is met first as it grows."""
        used = self.used()
        first = max(used, key=lambda name: used[name])
        return f"{first} ({used[first] * 100:.0f} % of it is used)"


def table() -> str:
    """Markdown."""
    measured = Measured.load()
    layouts = [Layout(size, measured) for size in SIZES]
    head = " | ".join(f"{size:,} organizations" for size in SIZES)
    lines = [f"| | {head} |", "| --- |" + " --- |" * len(SIZES)]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in _rows(layouts)]
    return "\n".join(lines)


def _rows(layouts: list[Layout]) -> Iterator[tuple[str, list[str]]]:
    yield "events a month", [_round(each.events) for each in layouts]
    yield "events a second: mean, peak", [f"{_round(each.mean)}, {_round(each.peak)}" for each in layouts]
    yield "a month in the database", [_bytes(each.month_bytes) for each in layouts]
    yield "of that, indexes that belong in memory", [_bytes(each.index_bytes) for each in layouts]
    yield "a month in the archive", [_bytes(each.events * each.measured.archived) for each in layouts]
    yield "databases, for the log's sake", [str(each.nodes) for each in layouts]
    yield "months that each keeps, before they are archived", [str(each.months) for each in layouts]
    yield "hub", [_hub(each) for each in layouts]
    yield (
        "workers for one destination of everything",
        [str(math.ceil(each.peak / (SPARE * FORWARDED))) for each in layouts],
    )
    yield "to verify a month, on one processor", [_time(each.events / each.measured.verified) for each in layouts]
    yield "to read an archived month back, on two", [_time(each.events / each.measured.read_back) for each in layouts]
    yield "what is met first", [each.first_limit for each in layouts]


def _hub(layout: Layout) -> str:
    if layout.servers > 1:
        return f"a month of everything takes {layout.servers} servers: hubs by region"
    processors = math.ceil(layout.peak / (SPARE * layout.measured.taken_in))
    return (
        f"one, if the application is spread over many databases: {processors} processor{'s' if processors > 1 else ''}"
    )


def _median(name: str, work: str, variant: str) -> float:
    _, figures = results.load(name)
    return statistics.median(
        value for each in figures if (each.work, each.variant) == (work, variant) for value in each.values
    )


def _round(number: float) -> str:
    digits = 1 if number < 10 else 2 - int(math.log10(number))
    rounded = round(number, min(digits, 1))
    if rounded >= 1e6:
        return f"{rounded / 1e6:,.0f} million"
    return f"{rounded:,.1f}" if rounded < 10 else f"{rounded:,.0f}"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e6:,.0f} MB"


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


if __name__ == "__main__":
    print(table())
