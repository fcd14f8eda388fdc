"""Sets of event ids, as multiranges. Pure: no I/O."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

_RANGE = re.compile(r"[\[(](-?\d+),(-?\d+)\)")


class Ids:
    """A set of ids.

    :param texts: int8multiranges as Postgres writes them: ``{[1,5),[7,8)}``.
    """

    def __init__(self, *texts: str) -> None:
        spans = sorted((int(low), int(high)) for text in texts for low, high in _RANGE.findall(text))
        self._lows = [low for low, _ in spans]
        self._highs = [high for _, high in spans]
        self.count = sum(high - low for low, high in spans)
        self.overlaps = any(one > other for one, other in pairwise_bounds(spans))

    def __contains__(self, event_id: int) -> bool:
        place = bisect_right(self._lows, event_id) - 1
        return place >= 0 and event_id < self._highs[place]

    def among(self, event_ids: Iterable[int]) -> int:
        """How many of these are in it."""
        return sum(event_id in self for event_id in event_ids)


def pairwise_bounds(spans: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Where each span ends, and where the next one begins."""
    return ((one[1], other[0]) for one, other in pairwise(spans))
