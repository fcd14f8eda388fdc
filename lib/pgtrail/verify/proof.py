"""Whether a proof holds: that an event is in a seal (docs/security/seals.md has the format). Pure: no I/O."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pgtrail.details import Literal, parse_json
from pgtrail.errors import PgtrailError
from pgtrail.verify.canonical import ACTOR_FIELDS, FIELDS, SEAL_FIELDS, commitment, leaf_hash

DIGITS = 64
ERASED = "[erased]"


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof proves.

    :param event: its fields by name; those of an erased part are "[erased]".
    :param seal_hash: 64 hex digits, to compare with a seal that is kept elsewhere.
    """

    event: dict[str, Any]
    seal_number: int
    sealed_at: str
    seal_hash: str


def check_proof(document: Any) -> Proved:
    """Recompute everything, from the parts to the seal.

    :raises PgtrailError: it is not a proof, or it does not hold; the message says why.
    """
    try:
        return _check(document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise PgtrailError("this is not a proof", "make one with: pgtrail proof make ID > proof.json") from error


def _check(document: Any) -> Proved:
    _require(document["proof"] == "pgtrail proof 1", "it is of another version")
    event = json.loads(document["event"])
    version, *sealed = json.loads(document["seal"])
    _require(event[0] == "pgtrail event 1" and version == "pgtrail seal 1", "it is of another version")
    seal = dict(zip(SEAL_FIELDS, sealed, strict=True))
    fields = dict(zip(FIELDS, event[1:-4], strict=True))
    fields |= _opened(document["fields"], *event[-4:])

    leaf = leaf_hash(bytes.fromhex(document["salt"]), document["event"])
    path = [bytes.fromhex(node) for node in document["path"]]
    computed = root_from_path(leaf, document["leaf_index"], seal["events"], path)
    _require(
        computed is not None and computed.hex() == seal["root"],
        "the event is not in the seal: the path leads to another root",
    )
    seal_hash = sha256(document["seal"].encode()).hexdigest()
    _require(seal_hash == document["seal_hash"], "the seal was changed: its hash differs")
    number, sealed_at = seal["number"], seal["sealed_at"]
    _require(isinstance(number, int) and isinstance(sealed_at, str), "its seal is invalid")
    return Proved(fields, number, sealed_at, seal_hash)


def _opened(given: Any, actor: str, label: str | None, before: str | None, after: str | None) -> dict[str, Any]:
    """The fields behind the commitments of an event; of what was erased, only that."""
    sides = {"before": before, "after": after}
    held = {
        "actor": [actor],
        "label": [] if label is None else [label],
        **{side: [] if digests is None else _digests(digests) for side, digests in sides.items()},
    }
    rows: dict[str, dict[str, Any]] = {"before": {}, "after": {}}
    opened: dict[str, Any] = dict.fromkeys((*ACTOR_FIELDS, "resource_label"))
    for field in given:
        kind, _, name = field["part"].partition(".")
        committed = held[kind].pop(0)
        text = field.get("text")
        if text is not None:
            computed = commitment(bytes.fromhex(field["salt"]), text)
            _require(computed.hex() == committed, f"the event's {field['part']} is not what was committed to")
        if kind in rows:
            rows[kind] |= {name: ERASED} if text is None else _member(text, name)
        elif kind == "label":
            opened["resource_label"] = ERASED if text is None else json.loads(text)
        else:
            values = dict.fromkeys(ACTOR_FIELDS, ERASED) if text is None else None
            opened |= values or dict(zip(ACTOR_FIELDS, json.loads(text), strict=True))
    _require(not any(held.values()), "fields of the event are missing")
    return opened | {side: None if sides[side] is None else row for side, row in rows.items()}


def _digests(digests: str) -> list[str]:
    return [digests[index : index + DIGITS] for index in range(0, len(digests), DIGITS)]


def _member(text: str, name: str) -> dict[str, Any]:
    # (Exactly, however many digits a number has and however deep a value is nested.)
    member = parse_json(f"{{{text}}}")
    if isinstance(member, Literal):
        key, end = json.JSONDecoder().raw_decode(text)
        member = {key: Literal(text[end:].partition(":")[2].strip())}
    _require(list(member) == [name], f"the event's {name} is not what was committed to")
    return dict(member)


def root_from_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that an audit path leads to (RFC 9162, 2.1.3.2). None: the path does not fit the tree.

    :param leaf: its hash, 32 bytes.
    :param index: its position from 0.
    :param size: how many leaves the tree has.
    :param path: the siblings, from the leaf up, 32 bytes each.
    """
    if not 0 <= index < size:
        return None
    position, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            node = sha256(b"\1" + sibling + node).digest()
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            node = sha256(b"\1" + node + sibling).digest()
        position, last = position >> 1, last >> 1
    return node if last == 0 else None


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PgtrailError(f"the proof does not hold: {otherwise}", "ask for a new proof")
