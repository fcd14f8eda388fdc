"""What of a log is checked beside its seals: that no seal is missing, and that every event belongs to one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pgtrail.connection import Connection
from pgtrail.verify import QUERIES
from pgtrail.verify.evidence import Evidence, Reported


@dataclass(frozen=True, slots=True)
class Log:
    """What is known of a log before its seals are checked.

    :param epochs: the ids at which the database was restored into another cluster.
    """

    epochs: tuple[int, ...]
    evidence: Evidence


def read_log(connection: Connection, evidence: Evidence) -> Log:
    """What all seals are checked against."""
    epochs = {row[0] for row in connection.execute(QUERIES["epochs"])}
    epochs.update(connection.execute(QUERIES["last_foreign_id"]).fetchone() or ())
    return Log(tuple(sorted(epochs - {None})), evidence)


def check_log(connection: Connection, log: Log) -> Iterator[Reported]:
    """Subject and problem."""
    yield from _head(connection)
    ((next_xid, last_given, epoch),) = connection.execute(QUERIES["present"])
    (last_foreign_id,) = connection.execute(QUERIES["last_foreign_id"]).fetchone() or (None,)
    parameters = {
        "next_xid": next_xid,
        "last_given": last_given,
        "epoch": epoch,
        "last_foreign_id": last_foreign_id,
    }
    for event_id, problem in connection.execute(QUERIES["strays"], parameters).fetchall():
        yield f"event {'without an id' if event_id is None else event_id}", problem
    yield from log.evidence.problems


def missing_seals(numbers: Collection[int], first: int) -> list[int]:
    """The gaps in a chain that should begin with a seal."""
    return sorted(set(range(first, max(numbers, default=0))) - set(numbers))


def _head(connection: Connection) -> Iterator[Reported]:
    row = connection.execute(QUERIES["seal_head"]).fetchone()
    if row is None:
        yield "seal head", "it is missing: nothing says which seal was made last"
        return
    number, digest, last_number, last_digest = row
    last_number = last_number or 0
    for missing in range(last_number + 1, number + 1):
        yield f"seal {missing}", f"it is missing: the last seal was number {number}"
    if last_number > number:
        yield f"seal {last_number}", f"it was never made: the last seal was number {number}"
    elif last_number == number != 0 and digest != last_digest:
        yield f"seal {number}", "it is not the seal that was made last"
