"""Erasures and removals: differences from the seals that the log itself explains."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pgtrail.connection import Connection
from pgtrail.verify import QUERIES
from pgtrail.verify.ids import Ids, overlapping

Reported = tuple[str, str]
"""Subject and problem."""
ERASURE, REMOVAL = "erasure", "removal"
NOT_OURS = "it does not have the form that pgtrail gives it"


@dataclass(frozen=True, slots=True)
class Removal:
    """A month that retention dropped, as the event of it says.

    :param event_id: of that event; seals from before it have lost the whole month.
    """

    name: str
    begins: datetime
    ends: datetime
    events: int
    ids: Ids
    event_id: int

    @property
    def subject(self) -> str:
        """Its name in a problem."""
        return f"{REMOVAL} {self.name}"

    def overlaps(self, other: "Removal") -> bool:
        """Whether both are of the same time."""
        return self.begins < other.ends and other.begins < self.ends

    def expected(self, months: list[str], last_id: int) -> int:
        """How many events of a seal it should have removed.

        :param months, last_id: of the seal.
        """
        if last_id >= self.event_id:
            return 0
        return sum(count for month, count in counted(months) if self.begins <= month < self.ends)


def counted(months: list[str]) -> Iterator[tuple[datetime, int]]:
    """How many events a seal has of each month; what does not say so is left out: the seal has another hash then."""
    for month, _, count in (entry.partition(" ") for entry in months):
        with suppress(ValueError):
            yield datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC), int(count)


@dataclass(slots=True)
class Evidence:
    """What was erased and removed, according to the log.

    :param pseudonyms: of the erasures that match their events, by their ids.
    :param gone: all ids that were removed.
    :param listed: each erasure and removal, so that none goes unmentioned.
    """

    pseudonyms: dict[int, str] = field(default_factory=dict)
    removals: list[Removal] = field(default_factory=list)
    gone: Ids = field(default_factory=Ids)
    problems: list[Reported] = field(default_factory=list)
    listed: list[tuple[str, str, str]] = field(default_factory=list)

    def is_dropped(self, event_id: int) -> bool:
        """Whether a removal took an event."""
        return event_id in self.gone


def read_evidence(connection: Connection) -> Evidence:
    """Read and check all of it."""
    evidence = Evidence()
    carried: dict[str, Mapping[str, Any]] = {}
    for event_id, reported in connection.execute(QUERIES["carried"]):
        if isinstance(reported, dict) and all(isinstance(each, dict) for each in reported.values()):
            carried |= reported
        else:
            evidence.problems.append((f"event {event_id}", f"what it says of earlier removals: {NOT_OURS}"))
    _removals(connection, evidence, carried)
    _erasures(connection, evidence, carried)
    for node, action, subject, at, by, after in connection.execute(QUERIES["reported_by_nodes"]):
        kind = ERASURE if action == "audit.actor_erased" else REMOVAL
        events = _document(after).get("events")
        count = f"{events:,} events" if isinstance(events, int) else "nothing says how many events"
        evidence.listed.append((kind, f"{node}:{subject}", _description(at, by, count)))
    return evidence


def _document(text: str | None) -> dict[str, Any]:
    """The fields of an event; none, if it is not an object."""
    parsed = json.loads(text) if text is not None else None
    return parsed if isinstance(parsed, dict) else {}


def _description(at: datetime | None, by: str | None, *rest: str) -> str:
    return ", ".join((f"{at:%Y-%m-%d %H:%M} UTC by {by}" if at else f"by {by}", *rest))


def _removals(connection: Connection, evidence: Evidence, carried: Mapping[str, Mapping[str, Any]]) -> None:
    taken: list[str] = []
    for row in connection.execute(QUERIES["removals"]):
        name, begins, ends, events, ids, archive, event_id, dropped_at, dropped_by, known, at, by, after = row
        reported = _document(after) if after is not None else carried.get(str(event_id), {})
        held = Ids(ids)
        subject = f"{REMOVAL} {name}"
        wrong = _wrong_removal(name, known, begins, ends, events, ids, held, reported)
        if wrong is not None:
            evidence.problems.append((subject, wrong))
            continue
        taken.append(ids)
        evidence.removals.append(Removal(name, begins, ends, events, held, event_id))
        notes = [f"{events:,} events"]
        if archive:
            notes.append(f"archive {archive} (not checked here)")
        else:
            notes.append("no archive")
        if reported.get("before_due"):
            notes.append("before retention was due")
        evidence.listed.append((REMOVAL, name, _description(at or dropped_at, by or dropped_by, *notes)))
    evidence.gone = Ids(*taken)
    for one, other in overlapping([removal.ids for removal in evidence.removals]):
        subject, name = evidence.removals[other].subject, evidence.removals[one].name
        evidence.problems.append((subject, f"it removed events that the removal of {name} had removed"))


def _wrong_removal(
    name: str,
    known: str | None,
    begins: datetime,
    ends: datetime,
    events: int,
    ids: str,
    held: Ids,
    reported: Mapping[str, Any],
) -> str | None:
    digest = sha256(ids.encode()).hexdigest()
    if reported.get("ids_sha256") != digest or reported.get("events") != events or known not in (None, name):
        return "it is not what the event of its removal says"
    times = _moment(reported.get("begins")), _moment(reported.get("ends"))
    if reported.get("begins") is not None and times != (begins, ends):
        return "it is not what the event of its removal says"
    if not (_begins_a_month(begins) and _begins_a_month(ends) and begins < ends):
        return "it is not a whole month"
    if held.count != events or held.overlaps:
        return f"it has the ids of {held.count:,} events, and says {events:,}"
    return None


def _moment(text: object) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) else None
    return None


def _begins_a_month(moment: datetime) -> bool:
    at = moment.astimezone(UTC)
    return (at.day, at.hour, at.minute, at.second, at.microsecond) == (1, 0, 0, 0, 0)


def _erasures(connection: Connection, evidence: Evidence, carried: Mapping[str, Mapping[str, Any]]) -> None:
    rows = connection.execute(QUERIES["erasures"]).fetchall()
    for number, pseudonym, event_id, erased_at, erased_by, reason, _, known, at, by, digest in rows:
        computed, events = _erasure_digest(connection, number)
        reported = digest if digest is not None else carried.get(str(event_id), {}).get("digest")
        if reported != computed or known not in (None, pseudonym):
            evidence.problems.append((f"{ERASURE} {pseudonym}", "it is not what its event says"))
            continue
        evidence.pseudonyms[number] = pseudonym
        notes = (f"{events:,} sealed events", f"reason: {reason}")
        evidence.listed.append((ERASURE, pseudonym, _description(at or erased_at, by or erased_by, *notes)))


def _erasure_digest(connection: Connection, number: int) -> tuple[str, int]:
    """The digest of the rows of an erasure, and of how many events they are."""
    computed = sha256()
    events = set()
    for event_id, part, commitment, redacted in connection.execute(QUERIES["erased"], {"erasure": number}):
        computed.update(event_id.to_bytes(8, "big", signed=True) + part.encode() + commitment + redacted)
        events.add(event_id)
    return computed.hexdigest(), len(events)
