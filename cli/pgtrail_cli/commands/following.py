"""New events as they are committed, for ``pgtrail log -f``: woken by LISTEN, and found by snapshots."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from pgtrail_cli.connection import Connection
from pgtrail_cli.filters import QUERIES, Filters

FOLLOW_SECONDS = 1.0
"""The longest time without a look: a notification is a hint, not a promise."""
IN_FLIGHT_SECONDS = 0.1

Found = Sequence[tuple[int, datetime]]


class Follower:
    """What becomes visible from the moment on at which this is made: in the transaction that lists what there is."""

    def __init__(self, connection: Connection, filters: Filters) -> None:
        self._connection = connection
        self._filters = filters
        self._is_standby = bool(_one(connection, "in_recovery"))
        self._snapshot = self._take()
        self._seen: set[int] = set()
        self._look()

    def events(self) -> Iterator[Found]:
        """Each look that finds something, for ever."""
        if not self._is_standby:
            # (In recovery Postgres lets nobody listen.)
            self._connection.execute("listen pgtrail")
        while True:
            if found := self._look():
                yield found
            # What is in flight notifies nobody when it commits: look again soon.
            in_flight = self._snapshot.split(":")[2] != ""
            for _ in self._connection.notifies(
                timeout=IN_FLIGHT_SECONDS if in_flight else FOLLOW_SECONDS, stop_after=1
            ):
                pass

    def _look(self) -> Found:
        present = self._take()
        asked = {"wanted": self._filters.wanted, "from_snapshot": self._begin(), "to_snapshot": present}
        rows = self._connection.execute(QUERIES["since_snapshot"], asked).fetchall()
        found = [row for row in rows if row[0] not in self._seen]
        self._seen = {row[0] for row in rows} if self._is_standby else set()
        self._snapshot = present
        return found

    def _begin(self) -> str:
        """A standby's snapshot names no transaction in flight: all from the oldest one on are looked at again."""
        oldest = self._snapshot.split(":")[0]
        return f"{oldest}:{oldest}:" if self._is_standby else self._snapshot

    def _take(self) -> str:
        return str(_one(self._connection, "snapshot"))


def _one(connection: Connection, query: str) -> object:
    row = connection.execute(QUERIES[query]).fetchone()
    assert row is not None
    return row[0]
