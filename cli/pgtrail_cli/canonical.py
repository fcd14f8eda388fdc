"""The digests of docs/seals.md, from the texts that Postgres gives. Pure: no I/O."""

import json
from collections.abc import Mapping
from hashlib import sha256

Row = Mapping[str, str | None]
"""An event as an archive has it: each column's text; null: None."""

BEFORE_CHANGED = (
    "xid", "occurred_at", "org_id", "category", "action", "operation", "table_name", "resource_type", "resource_id",
    "request_id", "reason", "actor_type", "db_role", "client_addr", "application_name",
)  # fmt: skip
ACTOR_COLUMNS = ("actor_id", "actor_label", "actor_ip", "user_agent")


def actor_part(event: Row) -> str:
    """Who did it, as it is committed to."""
    return _array(*(_text(event[name]) for name in ACTOR_COLUMNS))


def rows_part(event: Row) -> str:
    """The rows, as they are committed to."""
    return _array(_text(event["resource_label"]), event["before"] or "null", event["after"] or "null")


def commitment(salt: bytes, part: str) -> bytes:
    """What stands in a leaf for a part.

    :param salt: 32 bytes, or none.
    """
    return sha256(salt + part.encode()).digest()


def leaf(event: Row, actor_commitment: bytes, rows_commitment: bytes) -> bytes:
    """The leaf hash of an event (RFC 6962, 2.1), 32 bytes."""
    # What an archive of an earlier version holds has no such columns.
    imported_from, node = event.get("imported_from"), event.get("node")
    version = 3 if node is not None else 2 if imported_from is not None else 1
    content = _array(
        _text(f"pgtrail event {version}"),
        event["id"] or "null",
        *(_text(event[name]) for name in BEFORE_CHANGED),
        event["changed"] or "null",
        *([_text(imported_from)] if version > 1 else []),
        *([_text(node), event["node_id"] or "null", _text(event["node_xid"])] if version > 2 else []),
        _text(actor_commitment.hex()),
        _text(rows_commitment.hex()),
    )
    return sha256(b"\0" + content.encode()).digest()


def merkle_root(leaves: list[bytes]) -> bytes:
    """The root over leaf hashes (RFC 6962, 2.1), 32 bytes."""
    level = leaves
    while len(level) > 1:
        level = [
            sha256(b"\1" + level[place] + level[place + 1]).digest() if place + 1 < len(level) else level[place]
            for place in range(0, len(level), 2)
        ]
    return level[0] if level else sha256(b"").digest()


def _array(*elements: str) -> str:
    return "[" + ", ".join(elements) + "]"


def _text(value: str | None) -> str:
    return "null" if value is None else json.dumps(value, ensure_ascii=False)
