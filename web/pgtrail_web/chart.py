"""The geometry of the chart of events by day and category, which the template draws."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

WIDTH, HEIGHT = 960, 88
GAP = 0.25
"""As a fraction of a bar's width."""
MAX_BARS = 62


@dataclass(frozen=True, slots=True)
class Count:
    """The number of events of a category in the unit that begins on a day."""

    begins: date
    category: str
    events: int


@dataclass(frozen=True, slots=True)
class Part:
    """A category's share of a bar, in units of the chart."""

    category: str
    events: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A day, a week or a month.

    :param first, last: its days, both included.
    """

    first: date
    last: date
    x: float
    width: float
    events: int
    parts: tuple[Part, ...]

    @property
    def days(self) -> str:
        """The day, or the first and the last."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    @property
    def label(self) -> str:
        """The days, and how many events."""
        return f"{self.days}: {self.events:,} {'event' if self.events == 1 else 'events'}"


def unit_for(days: int | None) -> str:
    """The unit of a bar: the smallest of which not too many are needed; None: all time."""
    if days is not None and days <= MAX_BARS:
        return "day"
    return "week" if days is not None and days <= 7 * MAX_BARS else "month"


def bars(counts: Sequence[Count], unit: str, first: date | None, last: date, order: Sequence[str]) -> list[Bar]:
    """Bars from the first day (or the first with events) to the last, empty ones included."""
    by_day: dict[date, Counter[str]] = {}
    for count in counts:
        by_day.setdefault(count.begins, Counter())[count.category] += count.events
    if not by_day:
        return []
    wanted = first
    # By month, bars begin with the first events.
    first = min(by_day) if first is None or unit == "month" else min(first, *by_day)
    last = max(last, *by_day)
    beginnings = list(_beginnings(_begin(first, unit), last, unit))
    highest = max(day.total() for day in by_day.values())
    step = WIDTH / len(beginnings)
    drawn = [
        _bar(begins, unit, by_day.get(begins, Counter()), highest, index * step, step, order)
        for index, begins in enumerate(beginnings)
    ]
    # The first and the last bar may be a part of a week or month.
    return [
        replace(bar, first=max(bar.first, wanted or bar.first), last=max(min(bar.last, last), bar.first))
        for bar in drawn
    ]


def _bar(
    begins: date, unit: str, events: Counter[str], highest: int, x: float, step: float, order: Sequence[str]
) -> Bar:
    parts, y = [], float(HEIGHT)
    for category in sorted(events, key=lambda name: order.index(name) if name in order else len(order)):
        height = max(1.0, events[category] / highest * (HEIGHT - 4))
        y = max(0.0, y - height)
        parts.append(Part(category, events[category], round(y, 2), round(height, 2)))
    last = _next(begins, unit) - timedelta(days=1)
    return Bar(begins, last, round(x + step * GAP / 2, 2), round(step * (1 - GAP), 2), events.total(), tuple(parts))


def _beginnings(first: date, last: date, unit: str) -> Iterable[date]:
    while first <= last:
        yield first
        first = _next(first, unit)


def _begin(day: date, unit: str) -> date:
    """The first day of its week (Monday) or month, as in date_trunc()."""
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _next(begins: date, unit: str) -> date:
    if unit == "month":
        return (begins.replace(day=1) + timedelta(days=32)).replace(day=1)
    return begins + timedelta(days=7 if unit == "week" else 1)
