"""Finds the seals and digests of archives in what a SIEM exports. Pure: no I/O."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pgtrail.errors import PgtrailError

SHA256_HEX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Anchor:
    """A seal as it is kept elsewhere.

    :param hash: 64 hex digits.
    """

    number: int
    hash: str


def find_anchors(text: str) -> dict[int, Anchor]:
    """The seals in JSON lines, or in one JSON document, however deep: every object with number, root and hash.

    :raises PgtrailError: there are no seals, or one has two hashes.
    """
    found: dict[int, Anchor] = {}
    for anchor in map(_seal, _objects(text)):
        if anchor is None:
            continue
        before = found.setdefault(anchor.number, anchor)
        if before != anchor:
            raise PgtrailError(
                f"the anchor holds two seals number {anchor.number}: {before.hash} and {anchor.hash}",
                "one of them is forged, or they are of two databases",
            )
    if not found:
        raise PgtrailError(
            "the anchor has no seals",
            "use the events audit.sealed of the SIEM, in JSON, or the output of pgtrail seal --json",
        )
    return found


def find_manifests(text: str) -> dict[str, set[str]]:
    """The SHA-256 of archived months' manifests, by their names, as the events audit.partition_dropped have them."""
    found: dict[str, set[str]] = {}
    for value in _objects(text):
        name, digest = value.get("archive"), value.get("archive_sha256")
        if isinstance(name, str) and _is_digest(digest):
            found.setdefault(name, set()).add(str(digest))
    return found


def _seal(value: dict[str, Any]) -> Anchor | None:
    number, digest = value.get("number"), value.get("hash")
    if isinstance(number, int) and _is_digest(digest) and _is_digest(value.get("root")):
        return Anchor(number, str(digest))
    return None


def _documents(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError):
        pass
    for line in text.split("\n"):
        try:
            # (Concatenated files have a byte order mark each.)
            yield json.loads(line.removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            continue


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """All objects, however deep."""
    waiting = list(_documents(text))[::-1]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, str) and value.lstrip().startswith(("{", "[")):
            # Some formats carry the event as text.
            waiting.extend(_documents(value))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == SHA256_HEX_DIGITS
