"""Sets of event ids, as multiranges. Pure: no I/O."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

_RANGE = re.compile(r"[\[(](-?\d+),(-?\d+)\)")


class Ids:
    """A set of ids.

    :param texts: int8multiranges as Postgres writes them: ``{[1,5),[7,8)}``.
    """

    def __init__(self, *texts: str) -> None:
        spans = sorted((int(low), int(high)) for text in texts for low, high in _RANGE.findall(text))
        self.spans = spans
        self._lows = [low for low, _ in spans]
        # (Of several texts they may overlap.)
        self._highs = list(accumulate((high for _, high in spans), max))
        self.count = sum(high - low for low, high in spans)
        self.overlaps = any(one > other for one, other in pairwise_bounds(spans))

    def __contains__(self, event_id: int) -> bool:
        index = bisect_right(self._lows, event_id) - 1
        return index >= 0 and event_id < self._highs[index]

    def among(self, event_ids: Iterable[int]) -> int:
        """How many of these are in it."""
        return sum(event_id in self for event_id in event_ids)


def pairwise_bounds(spans: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Where each span ends, and where the next one begins."""
    return ((one[1], other[0]) for one, other in pairwise(spans))


def overlapping(sets: Sequence[Ids]) -> Iterator[tuple[int, int]]:
    """Which of these sets have an id in common with which earlier one: their indexes, each pair that is found once."""
    spans = sorted((low, high, index) for index, ids in enumerate(sets) for low, high in ids.spans)
    found: set[tuple[int, int]] = set()
    reach, owner = 0, -1
    for low, high, index in spans:
        if owner >= 0 and low < reach and index != owner:
            pair = (min(index, owner), max(index, owner))
            if pair not in found:
                found.add(pair)
                yield pair
        if owner < 0 or high > reach:
            reach, owner = high, index
