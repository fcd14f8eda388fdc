"""Seals that were kept elsewhere: found in whatever a SIEM gives back. Pure: no I/O."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pgtrail_cli.errors import PgtrailError

SHA256_HEX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Anchor:
    """A seal as somebody else has it.

    :param hash: 64 hex digits.
    """

    number: int
    hash: str


def find_anchors(text: str) -> dict[int, Anchor]:
    """The seals in JSON lines, or in one JSON document, however deep: every object with number, root and hash.

    :raises PgtrailError: there is none, or one seal has two hashes.
    """
    found: dict[int, Anchor] = {}
    for anchor in (anchor for document in _documents(text) for anchor in _walk(document)):
        before = found.setdefault(anchor.number, anchor)
        if before != anchor:
            raise PgtrailError(
                f"the anchor holds two seals number {anchor.number}: {before.hash} and {anchor.hash}",
                "one of them was forged, or they are of two databases",
            )
    if not found:
        raise PgtrailError(
            "there is no seal in the anchor",
            "give it the events audit.sealed as the SIEM has them, in JSON, or what pgtrail seal --json wrote",
        )
    return found


def _documents(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError):
        pass
    for line in text.split("\n"):
        try:
            # (Files that were joined have a mark each.)
            yield json.loads(line.removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            continue


def _walk(document: Any) -> Iterator[Anchor]:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            number, digest = value.get("number"), value.get("hash")
            if isinstance(number, int) and _is_digest(digest) and _is_digest(value.get("root")):
                yield Anchor(number, str(digest))
            waiting.extend(value.values())
        elif isinstance(value, str) and value.lstrip().startswith(("{", "[")):
            # Some formats carry the event as text.
            waiting.extend(_documents(value))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == SHA256_HEX_DIGITS
