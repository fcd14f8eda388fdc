"""Whether a proof holds: that an event is in a seal. Pure: no I/O, no database. docs/seals.md has the format."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pgtrail_cli.errors import PgtrailError

EVENT_FIELDS = (
    "id", "xid", "occurred_at", "org_id", "category", "action", "operation", "table_name", "resource_type",
    "resource_id", "request_id", "reason", "actor_type", "db_role", "client_addr", "application_name", "changed",
)  # fmt: skip
IMPORTED_FIELDS = (*EVENT_FIELDS, "imported_from")
NODE_FIELDS = (*IMPORTED_FIELDS, "node", "node_id", "node_xid")
FIELDS = {"pgtrail event 1": EVENT_FIELDS, "pgtrail event 2": IMPORTED_FIELDS, "pgtrail event 3": NODE_FIELDS}
PARTS = {"actor": ("actor_id", "actor_label", "actor_ip", "user_agent"), "rows": ("resource_label", "before", "after")}
ERASED = "[erased]"


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof proves.

    :param event: its fields by name; those of an erased part are "[erased]".
    :param seal_hash: 64 hex digits, to be compared with a seal that somebody else holds.
    """

    event: dict[str, Any]
    seal_number: int
    sealed_at: str
    seal_hash: str


def check_proof(document: Any) -> Proved:
    """Recompute everything, from the parts to the seal.

    :raises PgtrailError: it is no proof, or it does not hold; says where.
    """
    try:
        return _check(document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise PgtrailError("this is no proof", "make one with: pgtrail prove ID > proof.json") from error


def _check(document: Any) -> Proved:
    _require(document["proof"] == "pgtrail proof 1", "it is of another version")
    event = json.loads(document["event"])
    seal = json.loads(document["seal"])
    _require(event[0] in FIELDS and seal[0] == "pgtrail seal 1", "it is of another version")
    fields = dict(zip(FIELDS[event[0]], event[1:-2], strict=True))
    for (part, names), commitment in zip(PARTS.items(), event[-2:], strict=True):
        fields |= _opened(document[part], names, commitment, part)

    number, sealed_at, events, root = seal[1], seal[2], seal[13], seal[17]
    leaf = sha256(b"\0" + document["event"].encode()).digest()
    path = [bytes.fromhex(node) for node in document["path"]]
    computed = root_from_path(leaf, document["leaf_index"], events, path)
    _require(
        computed is not None and computed.hex() == root, "the event is not in the seal: the path leads to another root"
    )
    seal_hash = sha256(document["seal"].encode()).hexdigest()
    _require(seal_hash == document["seal_hash"], "the seal was changed: its hash is another")
    return Proved(fields, number, sealed_at, seal_hash)


def _opened(part: Any, names: tuple[str, ...], commitment: str, name: str) -> dict[str, Any]:
    """The fields behind a commitment; where they were erased, only that."""
    if part is None:
        return dict.fromkeys(names, ERASED)
    computed = sha256(bytes.fromhex(part["salt"]) + part["text"].encode()).hexdigest()
    _require(computed == commitment, f"the event's {name} were changed: they are not what was committed to")
    return dict(zip(names, json.loads(part["text"]), strict=True))


def root_from_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that an audit path leads to (RFC 9162, 2.1.3.2). None: the path does not fit the tree.

    :param leaf: its hash, 32 bytes.
    :param index: its place from 0.
    :param size: how many leaves the tree has.
    :param path: the siblings, from the leaf up, 32 bytes each.
    """
    if not 0 <= index < size:
        return None
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            node = sha256(b"\1" + sibling + node).digest()
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            node = sha256(b"\1" + node + sibling).digest()
        place, last = place >> 1, last >> 1
    return node if last == 0 else None


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PgtrailError(f"the proof does not hold: {otherwise}", "ask whoever gave it to you for another")
