"""What does not match beside the seals: the end of the chain, and events outside of every batch."""

from collections.abc import Iterator

from pgtrail.connection import Connection
from pgtrail.verify import QUERIES
from pgtrail.verify.evidence import Reported
from pgtrail.verify.seals import Log


def check_log(connection: Connection, log: Log) -> Iterator[Reported]:
    """Subject and problem."""
    yield from _head(connection)
    row = connection.execute(QUERIES["present"]).fetchone()
    assert row is not None
    next_xid, last_given, epoch = row
    foreign = connection.execute(QUERIES["last_foreign_id"]).fetchone()
    parameters = {
        "next_xid": next_xid,
        "last_given": last_given,
        "epoch": epoch,
        "last_foreign_id": foreign[0] if foreign else None,
    }
    for event_id, problem in connection.execute(QUERIES["strays"], parameters).fetchall():
        yield f"event {'without an id' if event_id is None else event_id}", problem
    yield from log.evidence.problems


def _head(connection: Connection) -> Iterator[Reported]:
    row = connection.execute(QUERIES["seal_head"]).fetchone()
    if row is None:
        yield "seal head", "it is missing: nothing says which seal was made last"
        return
    number, digest, last_number, last_digest = row
    if (last_number or 0) != number:
        for missing in range((last_number or 0) + 1, number + 1):
            yield f"seal {missing}", f"it is missing: the last seal was number {number}"
        if (last_number or 0) > number:
            yield f"seal {last_number}", f"it was never made: the last seal was number {number}"
    elif number and digest != last_digest:
        yield f"seal {number}", "it is not the seal that was made last"
