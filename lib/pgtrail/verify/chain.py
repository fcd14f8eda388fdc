"""A seal by itself, and its position in the chain."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from pgtrail.connection import Connection
from pgtrail.verify.canonical import merkle_root, pieces
from pgtrail.verify.source import Source

NOTHING = bytes(32)
NO_END = (1 << 63) - 1
SET_BACK = timedelta(days=1)
"""If a seal shows that a clock was set back, events may claim to be older than it by this much."""
REMADE = "its list of leaves was changed: it has a different root"


class Seal(NamedTuple):
    """A row of audit.seal, in the order of the statement `seal`."""

    number: int
    sealed_at: datetime
    from_snapshot: str
    from_time: datetime | None
    from_xid: str | None
    from_id: int
    to_snapshot: str
    to_time: datetime
    epoch: int
    above_id: int
    up_to_id: int | None
    events: int
    first_id: int
    last_id: int
    personal: list[str]
    months: list[str]
    root: bytes
    previous: bytes
    hash: bytes
    text: str
    system_identifier: str


class Leaves(NamedTuple):
    """A row of audit.seal_leaves."""

    ids: list[int]
    leaves: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or a warning about a seal, or an event of it.

    :param event_id: None: it is about the seal itself.
    :param is_warning: it may have an innocent cause.
    :param subject: something else that it is about.
    """

    number: int
    event_id: int | None
    problem: str
    is_warning: bool = False
    subject: str | None = None


def check_chain(
    connection: Connection, source: Source, number: int
) -> Generator[Finding, None, tuple[Seal, Leaves] | None]:
    """Check a seal, its position in the chain and its list of leaves; returns the seal and the leaves."""
    known: dict[int, Seal] = {}
    for row in source.ask(connection, "seal", numbers=[number, number - 1]):
        other = Seal(*row)
        if known.setdefault(other.number, other).hash != other.hash and other.number == number:
            made = f"it was made again, with the hash {other.hash.hex()}"
            yield Finding(number, None, f"{made}: the node's history was rewritten, or restored from a backup")
    seal = known.get(number)
    if seal is None:
        yield Finding(number, None, "it is missing")
        return None
    for wrong in wrong_in_chain(seal, known.get(number - 1)):
        yield Finding(number, None, wrong)
    yield from new_epoch(seal, known.get(number - 1))
    sealed = first_leaves(connection, source, seal)
    if sealed is None:
        yield Finding(number, None, REMADE)
        return None
    return seal, sealed


def first_leaves(connection: Connection, source: Source, seal: Seal) -> Leaves | None:
    """The leaves that arrived first of those that have the seal's root."""
    for row in source.ask(connection, "sealed_leaves", number=seal.number).fetchall():
        sealed = Leaves(*row)
        if sealed.secret is not None and merkle_root(pieces(sealed.leaves)) == seal.root:
            return sealed
    return None


def wrong_in_chain(seal: Seal, before: Seal | None) -> Iterator[str]:
    """What does not match of a seal by itself, and with the one before it (None: it is the first)."""
    if sha256(seal.text.encode()).digest() != seal.hash:
        yield "it was changed: its hash differs"
    if seal.previous != (before.hash if before else NOTHING):
        yield "the chain is broken: it follows another seal than the one before it"
    elif not _follows(seal, before):
        yield "it does not begin where the seal before it ends"


def _follows(seal: Seal, before: Seal | None) -> bool:
    if before is None:
        return seal.number == 1 and seal.from_snapshot == "1:1:" and seal.above_id == seal.epoch == 0
    if seal.epoch != before.epoch:
        return seal.from_snapshot == "1:1:" and seal.epoch >= before.last_id and before.up_to_id is None
    if before.up_to_id is not None:
        return (seal.above_id, seal.from_snapshot, seal.to_snapshot) == (
            before.up_to_id,
            before.from_snapshot,
            before.to_snapshot,
        )
    # (Both are of the transaction that took that snapshot, which begins before its clock is read.)
    is_of_its_time = seal.from_time is not None and seal.from_time > before.to_time - SET_BACK
    return seal.above_id == seal.epoch and seal.from_snapshot == before.to_snapshot and is_of_its_time


def new_epoch(seal: Seal, before: Seal | None) -> Iterator[Finding]:
    """Report a seal that begins a new epoch: the database was restored, which is a warning unless it was forged."""
    if before is None or seal.epoch == before.epoch:
        return
    if seal.system_identifier == before.system_identifier:
        problem = "it begins a new epoch, as after a restore, but the seal before it is of the same cluster"
        yield Finding(seal.number, None, problem)
    else:
        problem = f"a new epoch begins with it: the database was restored into cluster {seal.system_identifier}"
        yield Finding(seal.number, None, problem, is_warning=True)


def batch_of(seal: Seal, high_id: int) -> dict[str, Any]:
    """The parameters of the events in a seal's batch."""
    _, from_xmax, still_open = seal.from_snapshot.split(":")
    return {
        "personal": seal.personal,
        "above_id": seal.above_id,
        "high_id": high_id,
        "open": [xid for xid in still_open.split(",") if xid],
        "from_xmax": from_xmax,
        "to_xmax": seal.to_snapshot.split(":")[1],
        "to_snapshot": seal.to_snapshot,
    }


def is_set_back(seal: Seal) -> bool:
    """Whether a clock was set back between two seals, as they themselves say."""
    return seal.from_time is not None and seal.sealed_at < seal.from_time
