"""The digests of docs/security/seals.md, over the fields that sql/seal/canonical.sql names, as Postgres writes them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from pgtrail.sql_functions import sql_functions

_PARTS = json.JSONDecoder(parse_int=str, parse_float=str)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^"{}\[\],]+|,', re.DOTALL)

Row = Mapping[str, str | None]
"""An event as an archive has it: each column's text; null: None."""

FIELDS = tuple(re.findall(r"\bevent\.(\w+)[:\w)]*,$", sql_functions()["event_text"].body, re.MULTILINE))
"""The fields in an event's text, after its version and before the commitments."""
ACTOR_FIELDS = tuple(re.findall(r"\bevent\.(\w+)", sql_functions()["actor_part"].body))
SEAL_FIELDS = tuple(re.findall(r"\bseal\.(\w+)", sql_functions()["seal_text"].body))
"""The fields in a seal's text, after its version."""
UNQUOTED = ("id", "changed", "node_id")
"""Numbers and an array, which are JSON already."""
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""A value as json_build_array() writes it."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a leaf is computed from.

    :param plain: the fields before the commitments, as its text has them.
    :param actor: the canonical array of the actor's fields.
    :param label: the canonical text of resource_label; None: it is null.
    :param before, after: the rows as stored; None: null.
    """

    id: int
    plain: str
    actor: str
    label: str | None
    before: str | None
    after: str | None

    def parts(self) -> Iterator[tuple[str, str, str]]:
        """The parts that have their own commitments, as in audit_internal.parts(): side, name and text."""
        yield "actor", "actor", self.actor
        if self.label is not None:
            yield "label", "label", self.label
        for side, row in (("before", self.before), ("after", self.after)):
            if row is not None:
                for name, text in spans(row):
                    yield side, f"{side}.{name}", text

    def texts(self) -> dict[str, str]:
        """The text of each part, by its name."""
        return {part: text for _, part, text in self.parts()}


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a field whose person was erased.

    :param commitment: what it was sealed as.
    :param salt: with it the commitment can be recomputed from the field; None: the field was replaced.
    :param erasure: the erasure that replaced it.
    """

    commitment: bytes
    salt: bytes | None
    redacted: bytes | None = None
    erasure: int | None = None


def event_of(row: Row) -> Event:
    """An event of an archive."""
    plain = ((row[name] or "null") if name in UNQUOTED else _json(row[name]) for name in FIELDS)
    label = row["resource_label"]
    return Event(
        int(row["id"] or 0),
        ", ".join(plain),
        f"[{', '.join(_json(row[name]) for name in ACTOR_FIELDS)}]",
        None if label is None else _json(label),
        row["before"],
        row["after"],
    )


def event_with_text(text: str, actor: str, label: str | None, before: str | None, after: str | None) -> Event:
    """An event of a database.

    :param text: its canonical text; the commitments in it are ignored.
    """
    plain = json.loads(text)[1:-4]
    return Event(plain[0], ", ".join(map(_json, plain)), actor, label, before, after)


def spans(text: str) -> list[tuple[str, str]]:
    """The members of a row as jsonb writes it: name, and the text from the name's first quote to the value's end."""
    if not text.startswith("{"):
        # (Somebody stored something else in place of a row.)
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
    """The salt of a leaf."""
    return sha256(secret + event_id.to_bytes(8, "big", signed=True)).digest()


def part_salt(part: str, salt: bytes, actor: bytes | None, person: bytes | None) -> bytes:
    """The salt of a part.

    :param salt: the leaf's.
    :param actor, person: the salts of the actor, and of the resource if it is about a person.
    """
    if part == "actor":
        return actor or salt
    return salt if person is None else sha256(person + salt + part.encode()).digest()


def commitment(salt: bytes, text: str) -> bytes:
    """What a leaf has in place of a part."""
    return sha256(salt + text.encode()).digest()


def leaf(
    event: Event, secret: bytes, actor: bytes | None, person: bytes | None, kept: Mapping[str, Kept] | None = None
) -> bytes:
    """The leaf hash of an event, 32 bytes.

    :param secret: the seal's.
    :param actor, person: the salts of its actor, and of its resource if that is about a person; None: it has none.
    :param kept: what was kept of it, by part.
    """
    salt = leaf_salt(secret, event.id)
    held: dict[str, str | None] = {
        "actor": "",
        "label": None if event.label is None else "",
        "before": None if event.before is None else "",
        "after": None if event.after is None else "",
    }
    for side, part, text in event.parts():
        known = kept.get(part) if kept else None
        if known is None:
            digest = commitment(part_salt(part, salt, actor, person), text)
        elif known.salt is None:
            digest = known.commitment
        else:
            digest = commitment(known.salt, text)
        held[side] = f"{held[side]}{digest.hex()}"
    commitments = ", ".join(map(_json, held.values()))
    return leaf_hash(salt, f'["pgtrail event 1", {event.plain}, {commitments}]')


def leaf_hash(salt: bytes, text: str) -> bytes:
    """The leaf hash of an event's text, 32 bytes."""
    return sha256(b"\0" + salt + text.encode()).digest()


def merkle_root(leaves: list[bytes]) -> bytes:
    """The root over leaf hashes (RFC 6962, 2.1), 32 bytes."""
    level = leaves
    while len(level) > 1:
        level = [
            sha256(b"\1" + level[index] + level[index + 1]).digest() if index + 1 < len(level) else level[index]
            for index in range(0, len(level), 2)
        ]
    return level[0] if level else sha256(b"").digest()


def pieces(digests: bytes) -> list[bytes]:
    """Split concatenated digests of 32 bytes."""
    return [digests[index : index + 32] for index in range(0, len(digests), 32)]
