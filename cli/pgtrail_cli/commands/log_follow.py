"""New events as they are committed, for ``pgtrail log -f``: LISTEN wakes it, and snapshots find them."""

from collections.abc import Iterator, Sequence
from typing import Any

from pgtrail.connection import Connection
from pgtrail.details import MAX_VALUE_CHARS
from pgtrail.export import Filter, as_jsonb
from pgtrail_cli.database import QUERIES

FOLLOW_SECONDS = 1.0
"""The maximum time between two polls: notifications can be missing."""
IN_FLIGHT_SECONDS = 0.1


class Follower:
    """What becomes visible after this was created, in the transaction that lists the existing events."""

    def __init__(self, connection: Connection, wanted: Filter, as_json: bool) -> None:
        self._connection = connection
        self._asked = {"filter": as_jsonb(wanted), "as_json": as_json, "max_chars": MAX_VALUE_CHARS + 1}
        self._snapshot: str
        self._is_standby: bool
        self._snapshot, self._is_standby = connection.fetch_one(QUERIES["snapshot"])
        self._seen: set[int] = set()
        self._look()

    def events(self) -> Iterator[Sequence[tuple[Any, ...]]]:
        """New events, indefinitely; the columns of the query ``arrived``."""
        if not self._is_standby:
            # (A standby does not support LISTEN.)
            self._connection.execute("listen pgtrail")
        while True:
            if found := self._look():
                yield found
            # What is in flight does not notify when it commits: poll again soon.
            in_flight = self._snapshot.split(":")[2] != ""
            for _ in self._connection.notifies(
                timeout=IN_FLIGHT_SECONDS if in_flight else FOLLOW_SECONDS, stop_after=1
            ):
                pass

    def _look(self) -> Sequence[tuple[Any, ...]]:
        rows = self._connection.execute(QUERIES["arrived"], {**self._asked, "from_snapshot": self._begin()}).fetchall()
        self._snapshot = rows[0][-1]
        arrived = [row for row in rows if row[0] is not None]
        found = [row for row in arrived if row[0] not in self._seen]
        self._seen = {row[0] for row in arrived} if self._is_standby else set()
        return found

    def _begin(self) -> str:
        """A standby's snapshot names no transactions in flight: all since the oldest one are read again."""
        oldest = self._snapshot.split(":")[0]
        return f"{oldest}:{oldest}:" if self._is_standby else self._snapshot
