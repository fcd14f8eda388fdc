"""On a hub: whether the seals of its nodes hold, over the nodes' events as they arrived."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from itertools import product
from typing import Any

from pgtrail.connection import Connection
from pgtrail.verify import QUERIES
from pgtrail.verify.canonical import Event, Kept, commitment, leaf
from pgtrail.verify.chain import NO_END, Finding, Leaves, Seal, batch_of, check_chain, first_leaves
from pgtrail.verify.erased import is_erased, is_pseudonym
from pgtrail.verify.evidence import Evidence, Reported
from pgtrail.verify.ids import Ids
from pgtrail.verify.log import missing_seals
from pgtrail.verify.seals import CHANGED, Checking
from pgtrail.verify.source import Source

MAX_COMBINATIONS = 1024
"""Of what is kept of an event's fields, that are tried."""


def check_node_seal(connection: Connection, node: str, number: int, evidence: Evidence) -> Iterator[Finding]:
    """What does not match in a seal of a node, within a transaction; ids are those at the node."""
    source = Source(node)
    present = yield from check_chain(connection, source, number)
    if present is not None:
        yield from _Node(connection, source, *present, evidence).problems()


class _Node(Checking):
    def __init__(self, connection: Connection, source: Source, seal: Seal, sealed: Leaves, evidence: Evidence) -> None:
        node = source.node
        rows = connection.execute(QUERIES["node_epochs"], {"node": node, "epoch": seal.epoch}).fetchone()
        epoch = rows[0] if rows and rows[0] is not None else NO_END
        high_id = min(seal.up_to_id or NO_END, epoch)
        super().__init__(connection, source, seal, sealed, batch_of(seal, high_id))
        self.evidence = evidence
        self.dropped = Ids(*(row[1] for row in connection.execute(QUERIES["node_dropped"], {"node": node})))
        self.copies = {row[0] for row in connection.execute(QUERIES["copied_in"], {"node": node})}

    def problems(self) -> Iterator[Finding]:
        # (Erased here before it was sealed there: this hub's own seals cover it.)
        kept = self.connection.execute(
            QUERIES["node_erased_parts"], {"node": self.source.node, "ids": self.sealed.ids}
        ).fetchall()
        unsealed = {event_id for event_id, _, digest, _, _, here in kept if here and digest is None}
        for found in super().problems():
            if found.event_id not in unsealed or found.problem != CHANGED:
                yield found

    def may_be_gone(self, event_id: int) -> bool:
        return event_id in self.dropped

    def kept_of(self, ids: list[int]) -> list[tuple[Any, ...]]:
        asked = {"node": self.source.node, "ids": ids}
        return self.connection.execute(QUERIES["node_erased_parts"], asked).fetchall()

    def excuse(
        self, event: Event, was: bytes, kept: list[tuple[Any, ...]], salts: tuple[Any, ...], here_xid: str | None
    ) -> str | None:
        texts = event.texts()
        offers: dict[str, list[Kept]] = {}
        for part, digest, salt, redacted, here in kept:
            if digest is not None and self._may_be(part, texts.get(part), salt, redacted, here, here_xid):
                offers.setdefault(part, []).append(Kept(digest, salt, redacted))
        actors, persons = ([*(given or []), None] for given in salts)
        for actor, person in product(actors, persons):
            # (If several are kept of a field, one of them is in the leaf.)
            for choice in product(*offers.values()) if _are_few(offers) else ():
                known: Mapping[str, Kept] = dict(zip(offers, choice, strict=True))
                if leaf(event, self.sealed.secret, actor, person, known) == was:
                    return None
            if leaf(event, self.sealed.secret, actor, person) == was:
                return None
        return CHANGED

    def _may_be(
        self, part: str, text: str | None, salt: bytes | None, redacted: bytes | None, here: bool, here_xid: str | None
    ) -> bool:
        """Whether what is kept of a field may replace it."""
        if text is None:
            return False
        if salt is not None:
            return True
        if here:
            return any(is_erased(text, part, pseudonym) for pseudonym in self.evidence.pseudonyms.values())
        # The node says so, which counts only for an event that was copied as that erasure left it.
        return here_xid in self.copies and redacted == commitment(b"", text) and is_pseudonym(text, part)


def _are_few(offers: Mapping[str, list[Kept]]) -> bool:
    return math.prod(map(len, offers.values())) <= MAX_COMBINATIONS


def check_node(connection: Connection, node: str) -> Iterator[Reported]:
    """What does not match of a node beside its seals."""
    source = Source(node)
    numbers = list(source.numbers(connection))
    for missing in missing_seals(numbers, 1):
        yield f"node {node} seal {missing}", "it is missing"
    for (event_id,) in connection.execute(QUERIES["node_doubles"], {"node": node}).fetchall():
        yield (
            f"event {node}:{event_id}",
            "there are two of them: the node's history was rewritten, or restored from a backup",
        )
    yield from _removals(connection, node)
    yield from _uncovered(connection, source, numbers)


def _removals(connection: Connection, node: str) -> Iterator[Reported]:
    reported = set(connection.execute(QUERIES["node_removal_events"], {"node": node}).fetchall())
    dropped = connection.execute(QUERIES["node_dropped"], {"node": node}).fetchall()
    here = [Ids(ids) for _, ids, is_here, _ in dropped if is_here]
    for name, ids, is_here, reported_by in dropped:
        # What a node says that it dropped, its events say too; unless that was dropped here since.
        is_reported = is_here or (name, sha256(ids.encode()).hexdigest()) in reported
        if not is_reported and not any(reported_by in held for held in here):
            yield f"node {node} partition {name}", "it is not what the event of its removal says"


def _uncovered(connection: Connection, source: Source, numbers: list[int]) -> Iterator[Reported]:
    """Events in none of its seals: of transactions that had ended, and those older than a day."""
    node = source.node
    covered: set[int] = set()
    last: Seal | None = None
    for number in numbers:
        row = source.ask(connection, "seal", numbers=[number]).fetchone()
        assert row is not None
        seal = Seal(*row)
        sealed = first_leaves(connection, source, seal)
        covered.update(sealed.ids if sealed else ())
        last = seal
    below = "3" if last is None else (last.to_snapshot if last.up_to_id is None else last.from_snapshot).split(":")[0]
    asked = {"node": node, "sealed_below": below if last is not None else "0"}
    for (event_id,) in connection.execute(QUERIES["node_uncovered"], asked):
        if event_id not in covered:
            yield (
                f"event {node}:{event_id}",
                "it is in no seal, though its transaction had ended when the last one was made",
            )
    waiting: list[tuple[int, datetime]] = [
        (event_id, at)
        for event_id, at in connection.execute(QUERIES["node_waiting"], {"node": node, "sealed_below": below})
        if event_id not in covered
    ]
    if waiting:
        since = min(at for _, at in waiting)
        yield (
            f"node {node} seal {(last.number if last else 0) + 1}",
            f"it has not arrived: {len(waiting)} events wait for it, the oldest since {since:%Y-%m-%dT%H:%M:%S.%fZ}",
        )
