"""The digests of docs/seals.md, from the texts that Postgres writes. Pure: no I/O."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

_PARTS = json.JSONDecoder(parse_int=str, parse_float=str)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^"{}\[\],]+|,', re.DOTALL)

Row = Mapping[str, str | None]
"""An event as an archive has it: each column's text; null: None."""

ACTOR_COLUMNS = ("actor_id", "actor_label", "actor_ip", "user_agent")
TEXTS = (
    "xid", "occurred_at", "org_id", "category", "action", "operation", "table_name", "resource_type", "resource_id",
    "request_id", "reason", "actor_type", "db_role", "client_addr", "application_name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """What a leaf is made of.

    :param head: the plain fields as a canonical array without its last bracket.
    :param actor: the canonical array of who did it.
    :param label: the canonical text of resource_label; None: it is null.
    :param before, after: the rows as stored; None: null.
    """

    id: int
    head: str
    actor: str
    label: str | None
    before: str | None
    after: str | None

    def fields(self) -> Iterator[tuple[str, str]]:
        """What is committed to by itself: part and text."""
        yield "actor", self.actor
        if self.label is not None:
            yield "label", self.label
        for side, row in (("before", self.before), ("after", self.after)):
            if row is not None:
                for name, text in spans(row):
                    yield f"{side}.{name}", text


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of a field when its person was erased.

    :param commitment: what it was sealed as.
    :param salt: by which the field can still be computed; None: it was replaced.
    :param erasure: by which.
    """

    commitment: bytes
    salt: bytes | None
    redacted: bytes | None = None
    erasure: int | None = None


def event_of(row: Row) -> Event:
    """An event of an archive."""
    head = _array(
        _text("pgtrail event 1"),
        row["id"] or "null",
        *(_text(row[name]) for name in TEXTS),
        row["changed"] or "null",
        _text(row["imported_from"]),
        _text(row["node"]),
        row["node_id"] or "null",
        _text(row["node_xid"]),
    )[:-1]
    label = row["resource_label"]
    return Event(
        int(row["id"] or 0),
        head,
        _array(*(_text(row[name]) for name in ACTOR_COLUMNS)),
        None if label is None else _text(label),
        row["before"],
        row["after"],
    )


def spans(text: str) -> list[tuple[str, str]]:
    """The members of a row as jsonb writes it: name, and the text from the name's first quote to the value's end."""
    if not text.startswith("{"):
        # (What somebody stored in place of a row.)
        return [("", f'"": {text}')]
    found: list[tuple[str, str]] = []
    begins = 1
    while text[begins] == '"':
        name, ends = _PARTS.raw_decode(text, begins)
        ends = _end(text, ends + len(": "))
        found.append((name, text[begins:ends]))
        begins = ends + len(", ")
        if text[ends] == "}":
            break
    return found


def _end(text: str, begins: int) -> int:
    """Where a value ends."""
    try:
        return _PARTS.raw_decode(text, begins)[1]
    except RecursionError:
        depth = 0
        for token in _TOKEN.finditer(text, begins):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
            if depth == 0:
                return token.end()
        return len(text)


def leaf_salt(secret: bytes, event_id: int) -> bytes:
    """What blinds a leaf."""
    return sha256(secret + event_id.to_bytes(8, "big", signed=True)).digest()


def field_salt(person: bytes | None, salt: bytes, part: str) -> bytes:
    """What blinds a field.

    :param person: the salt of the resource that it tells of.
    :param salt: the leaf's.
    """
    return salt if person is None else sha256(person + salt + part.encode()).digest()


def commitment(salt: bytes, text: str) -> bytes:
    """What stands in a leaf for a field."""
    return sha256(salt + text.encode()).digest()


def leaf(
    event: Event, secret: bytes, actor: bytes | None, person: bytes | None, kept: Mapping[str, Kept] | None = None
) -> bytes:
    """The leaf hash of an event, 32 bytes.

    :param secret: the seal's.
    :param actor, person: the salts of its actor, and of its resource where that tells of a person; None: there is none.
    :param kept: what was kept of it, by part.
    """
    salt = leaf_salt(secret, event.id)
    if person is None and not kept:
        # (Nearly all events: a hash a field.)
        digests = {
            "actor": sha256((actor or salt) + event.actor.encode()).hexdigest(),
            "label": None if event.label is None else sha256(salt + event.label.encode()).hexdigest(),
        }
        rows = [
            None if row is None else "".join([sha256(salt + text.encode()).hexdigest() for _, text in spans(row)])
            for row in (event.before, event.after)
        ]
        return _leaf(salt, event, digests["actor"], digests["label"], *rows)
    known = kept or {}
    held: dict[str, str] = {}
    for part, text in event.fields():
        found = known.get(part)
        if found is not None:
            held[part] = (found.commitment if found.salt is None else commitment(found.salt, text)).hex()
        else:
            own = (actor or salt) if part == "actor" else field_salt(person, salt, part)
            held[part] = commitment(own, text).hex()
    rows = [
        None if row is None else "".join(digest for part, digest in held.items() if part.startswith(side))
        for side, row in (("before.", event.before), ("after.", event.after))
    ]
    return _leaf(salt, event, held["actor"], held.get("label"), *rows)


def _leaf(salt: bytes, event: Event, *commitments: str | None) -> bytes:
    ending = ", ".join("null" if digests is None else f'"{digests}"' for digests in commitments)
    return sha256(b"\0" + salt + f"{event.head}, {ending}]".encode()).digest()


def merkle_root(leaves: list[bytes]) -> bytes:
    """The root over leaf hashes (RFC 6962, 2.1), 32 bytes."""
    level = leaves
    while len(level) > 1:
        level = [
            sha256(b"\1" + level[place] + level[place + 1]).digest() if place + 1 < len(level) else level[place]
            for place in range(0, len(level), 2)
        ]
    return level[0] if level else sha256(b"").digest()


def pieces(digests: bytes) -> list[bytes]:
    """Digests of 32 bytes that stand one after the other."""
    return [digests[place : place + 32] for place in range(0, len(digests), 32)]


def _array(*elements: str) -> str:
    return "[" + ", ".join(elements) + "]"


def _text(value: str | None) -> str:
    return "null" if value is None else json.dumps(value, ensure_ascii=False)
