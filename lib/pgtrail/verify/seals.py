"""Whether a seal holds: the seal in its chain, and every event of its batch."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pgtrail.connection import Connection
from pgtrail.verify import QUERIES
from pgtrail.verify.canonical import Event, Kept, commitment, event_with_text, leaf, pieces
from pgtrail.verify.chain import NO_END, SET_BACK, Finding, Leaves, Seal, batch_of, check_chain, is_set_back
from pgtrail.verify.erased import is_erased
from pgtrail.verify.evidence import Evidence
from pgtrail.verify.log import Log
from pgtrail.verify.source import Source

CLOCKS_DIFFER = timedelta(seconds=2)
STEPPED = timedelta(seconds=1000)
"""How far a clock may have been set back between two seals without them showing it: ntpd's limit."""
ROWS = 2000
CHANGED = "it was changed"


def check_seal(connection: Connection, number: int, log: Log) -> Iterator[Finding]:
    """What does not match in a seal, within a transaction."""
    source = Source()
    present = yield from check_chain(connection, source, number)
    if present is None:
        return
    seal, sealed = present
    high_id = min(seal.up_to_id or NO_END, *(epoch for epoch in log.epochs if epoch > seal.epoch), NO_END)
    yield from _check_removals(seal, sealed, log.evidence)
    own = _Own(connection, source, seal, sealed, batch_of(seal, high_id), log)
    yield from own.problems()


def _check_removals(seal: Seal, sealed: Leaves, evidence: Evidence) -> Iterator[Finding]:
    for removal in evidence.removals:
        expected = removal.expected(seal.months, seal.last_id)
        # (A month can come back by an import, and be dropped again.)
        earlier = [other for other in evidence.removals if other.event_id < removal.event_id]
        expected -= sum(other.ids.among(sealed.ids) for other in earlier if other.overlaps(removal))
        taken = removal.ids.among(sealed.ids)
        if taken != expected:
            problem = f"it removed {taken:,} events of seal {seal.number}, which has {expected:,} of its month"
            yield Finding(seal.number, None, problem, subject=removal.subject)


class Checking:
    """The events of one seal, recomputed: at once and, where they differ, one by one."""

    def __init__(
        self, connection: Connection, source: Source, seal: Seal, sealed: Leaves, parameters: Mapping[str, Any]
    ) -> None:
        self.connection = connection
        self.source = source
        self.seal = seal
        self.sealed = sealed
        self.parameters = parameters

    @cached_property
    def epoch_began(self) -> datetime | None:
        """A time before which nothing of the seal's epoch can have been recorded; None: unknown."""
        if self.seal.epoch == 0:
            return None
        asked = {"number": self.seal.number, "epoch": self.seal.epoch}
        row: tuple[datetime | None] | None = self.source.ask(self.connection, "before_epoch", **asked).fetchone()
        return row[0] if row else None

    def problems(self) -> Iterator[Finding]:
        """What does not match."""
        was = dict(zip(self.sealed.ids, pieces(self.sealed.leaves), strict=True))
        present: set[int] = set()
        differing: list[int] = []
        odd: list[tuple[int, str, datetime]] = []
        parameters = {
            **self.parameters,
            "node": self.source.node,
            "secret": self.sealed.secret,
            "from_time": self.seal.from_time or self.epoch_began,
            "to_time": self.seal.to_time,
        }
        with self.connection.cursor("leaves") as cursor:
            cursor.itersize = ROWS
            cursor.execute(self.source.query("leaves"), parameters)
            for event_id, computed, misfiled, odd_xid, occurred_at in cursor:
                present.add(event_id)
                if was.get(event_id) != computed:
                    differing.append(event_id)
                elif misfiled:
                    yield self.found(event_id, CHANGED)
                if odd_xid is not None:
                    odd.append((event_id, odd_xid, occurred_at))
        for event_id in sorted(was.keys() - present):
            if not self.may_be_gone(event_id):
                yield self.found(event_id, "it was deleted")
        yield from self.not_removed(present)
        for event_id in differing:
            if event_id not in was:
                yield self.found(event_id, "it was inserted after its batch had been sealed")
        yield from self.one_by_one({event_id: was[event_id] for event_id in differing if event_id in was})
        yield from self.misdated(odd)

    def found(self, event_id: int, problem: str) -> Finding:
        """Something about an event."""
        return Finding(self.seal.number, event_id, problem)

    def may_be_gone(self, event_id: int) -> bool:
        """Whether a removal took an event."""
        raise NotImplementedError

    def not_removed(self, present: set[int]) -> Iterator[Finding]:
        """Removals that claim events which are still there."""
        return iter(())

    def excuse(
        self, event: Event, was: bytes, kept: list[tuple[Any, ...]], salts: tuple[Any, ...], here_xid: str | None
    ) -> str | None:
        """None if only an erasure changed an event since it was sealed; else what is wrong."""
        raise NotImplementedError

    def kept_of(self, ids: list[int]) -> list[tuple[Any, ...]]:
        """What is kept of the erased parts of these events; the event's id first."""
        raise NotImplementedError

    def one_by_one(self, was: Mapping[int, bytes]) -> Iterator[Finding]:
        """The events whose leaf differs: erased, or changed."""
        ids = list(was)
        for start in range(0, len(ids), ROWS):
            some = ids[start : start + ROWS]
            kept: dict[int, list[tuple[Any, ...]]] = {}
            for event_id, *rest in self.kept_of(some):
                kept.setdefault(event_id, []).append(tuple(rest))
            for row in self.source.ask(self.connection, "texts", **self.parameters, ids=some).fetchall():
                event, (actors, persons, here_xid) = event_with_text(*row[:5]), row[5:]
                wrong = self.excuse(event, was[event.id], kept.get(event.id, []), (actors, persons), here_xid)
                if wrong is not None:
                    yield self.found(event.id, wrong)

    def misdated(self, odd: Sequence[tuple[int, str, datetime]]) -> Iterator[Finding]:
        """The events whose time does not fit their batch: inserted into the past or future, or a clock was set."""
        seal = self.seal
        excused = across = 0
        stepped = []
        for event_id, xid, occurred_at in odd:
            asked = {"number": seal.number, "epoch": seal.epoch, "xid": xid}
            row = self.source.ask(self.connection, "seal_before", **asked).fetchone()
            # (In another cluster transactions begin again.)
            _, before, set_back = row or (None, self.epoch_began, is_set_back(seal))
            tolerance = CLOCKS_DIFFER if event_id > seal.from_id else timedelta(0)
            if before is not None and occurred_at < before - tolerance:
                problem = f"it claims to be from {_at(occurred_at)}, but was recorded after {_at(before)}"
            elif occurred_at > seal.to_time + CLOCKS_DIFFER:
                problem = f"it claims to be from {_at(occurred_at)}, but was recorded before {_at(seal.to_time)}"
            else:
                continue
            latest = max(seal.sealed_at, seal.from_time or seal.sealed_at) + SET_BACK
            if row is None and before is not None and before - SET_BACK < occurred_at < before:
                across += 1
            elif set_back and seal.sealed_at - SET_BACK < occurred_at < latest:
                excused += 1
            elif (before or seal.to_time) - STEPPED < occurred_at < seal.to_time + STEPPED:
                # Those that a clock gave look the same as those that a superuser chose.
                stepped.append(max((before or occurred_at) - occurred_at, occurred_at - seal.to_time))
            else:
                yield self.found(event_id, problem)
        if excused or is_set_back(seal):
            problem = "the clock was set back before it was made"
            if excused:
                problem += f": {excused:,} of its events have times that do not fit"
            yield Finding(seal.number, None, problem, is_warning=True)
        if stepped:
            seconds = max(stepped).total_seconds()
            off = f"{len(stepped):,} of its events have times up to {seconds:,.0f} s off"
            problem = f"{off}: a clock was set back, or forged"
            yield Finding(seal.number, None, problem, is_warning=True)
        if across:
            problem = f"{across:,} of its events have times before its epoch began: another cluster's clock, or forged"
            yield Finding(seal.number, None, problem, is_warning=True)


class _Own(Checking):
    """Of this log's own seals."""

    def __init__(
        self,
        connection: Connection,
        source: Source,
        seal: Seal,
        sealed: Leaves,
        parameters: Mapping[str, Any],
        log: Log,
    ) -> None:
        super().__init__(connection, source, seal, sealed, parameters)
        self.evidence = log.evidence

    def may_be_gone(self, event_id: int) -> bool:
        return self.evidence.is_dropped(event_id)

    def not_removed(self, present: set[int]) -> Iterator[Finding]:
        kept = sorted(event_id for event_id in present if self.evidence.is_dropped(event_id))
        for removal in self.evidence.removals if kept else ():
            count = removal.ids.among(kept)
            if count:
                problem = f"it claims to have removed {count:,} events of seal {self.seal.number} that are still there"
                yield Finding(self.seal.number, None, problem, subject=removal.subject)

    def kept_of(self, ids: list[int]) -> list[tuple[Any, ...]]:
        return self.connection.execute(QUERIES["erased_parts"], {"ids": ids}).fetchall()

    def excuse(
        self, event: Event, was: bytes, kept: list[tuple[Any, ...]], salts: tuple[Any, ...], here_xid: str | None
    ) -> str | None:
        known = {part: Kept(*rest) for part, *rest in kept if rest[3] in self.evidence.pseudonyms}
        ((actor,), (person,)) = salts
        if leaf(event, self.sealed.secret, actor, person, known) != was:
            return CHANGED
        texts = event.texts()
        for part, field in known.items():
            if field.salt is None and part in texts:
                if commitment(b"", texts[part]) != field.redacted:
                    return f"its {part} was changed after the erasure"
                if not is_erased(texts[part], part, self.evidence.pseudonyms[field.erasure or 0]):
                    return f"its {part} was changed under cover of an erasure"
        return None


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"
