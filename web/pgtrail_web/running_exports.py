"""The exports of this process: how many there may be, and how far they are."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pgtrail_web.database import MAX_CONNECTIONS
from pgtrail_web.errors import Busy
from pgtrail_web.shares import Key, key_of
from pgtrail_web.viewer import Viewer

MAX_AT_ONCE = MAX_CONNECTIONS // 2
MAX_PER_VIEWER = 2
"""Fewer than a viewer's connections, who goes on reading meanwhile."""
MAX_REMEMBERED = 100


@dataclass
class Progress:
    events: int
    sent: int = 0
    done: bool = False
    ended: bool = False


class RunningExports:
    """Limits exports, so that connections are left for those who read, and remembers their progress."""

    def __init__(self) -> None:
        self._progress: OrderedDict[str, Progress] = OrderedDict()
        self._running: Counter[Key] = Counter()

    @contextmanager
    def slot(self, viewer: Viewer) -> Iterator[None]:
        """Count one more export.

        :raises Busy: as many as allowed are running.
        """
        key = key_of(viewer)
        if self._running[key] >= MAX_PER_VIEWER:
            raise Busy(f"{MAX_PER_VIEWER} of your exports are running.", "Wait until one has ended, and try again.")
        if self._running.total() >= MAX_AT_ONCE:
            raise Busy(f"{MAX_AT_ONCE} exports are running.", "Wait until one has ended, and try again.")
        self._running[key] += 1
        try:
            yield
        finally:
            self._running -= Counter([key])

    @contextmanager
    def tracked(self, export_id: str, events: int) -> Iterator[Progress]:
        """The progress of an export that has begun, until it ends."""
        progress = self._progress[export_id] = Progress(events)
        while len(self._progress) > MAX_REMEMBERED:
            self._progress.popitem(last=False)
        try:
            yield progress
        finally:
            progress.ended = True

    def get(self, export_id: str) -> Progress | None:
        """How far it is; None: it has not begun, or was long ago."""
        return self._progress.get(export_id)
