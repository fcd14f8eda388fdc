"""What people read: changes in one line or field by field, and how far a destination is behind."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import simplejson

from pgtrail.text import printable

REDACTED = "[redacted]"
SCAN_LIMIT = 1_500
"""Events that a search without an index of its own looks at for one page."""
MAX_VALUE_CHARS = 60
"""Characters of a value in a list; the event itself has it whole."""
MAX_FIELDS = 4
"""Fields of a created or deleted row that a list mentions."""
MAX_CHANGED_FIELDS = 12
"""The same of a row that changed."""
LONGEST_UNFOLDED = 240
MAX_INDENTED_PARTS = 500_000
"""Parts of a JSON document times its depth, at most."""
MAX_DEPTH = 12
"""Levels of JSON that are compared field by field; below, whole values are."""

Details = Mapping[str, Mapping[str, Any]]
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Change:
    """A changed field. A created or deleted row has only ``after``; a redacted field has neither."""

    field: str
    before: str | None
    after: str | None


class State(StrEnum):
    """How a field changed."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    UNKNOWN = "may have changed"
    """Redacted before and after, within a value that changed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field of an event.

    :param depth: how deep it is in a JSON value.
    :param before, after: None: it is not there; a value that has rows of its own has neither.
    """

    name: str
    depth: int
    state: State
    before: str | None = None
    after: str | None = None
    has_children: bool = False


class Literal(simplejson.RawJSON):  # type: ignore[misc]
    """A part of JSON that stays as it is written: a number, which as a float would be another one."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and other.encoded_json == self.encoded_json

    def __hash__(self) -> int:
        return hash(self.encoded_json)


def parse_json(text: str | None) -> Any:
    """A JSON document that Postgres has written; None: SQL's null. What is nested too deeply stays a literal."""
    if text is None:
        return None
    try:
        return simplejson.loads(text, parse_int=Literal, parse_float=Literal)
    except RecursionError:
        return Literal(text)


def indented(text: str) -> str:
    """A JSON document with a line for each part, unless most of it would be indentation."""
    brackets, commas = text.count("{") + text.count("["), text.count(",")
    return _dumps(parse_json(text), indent=4) if brackets * (brackets + commas) <= MAX_INDENTED_PARTS else text


def _dumps(value: Any, **options: Any) -> str:
    return str(simplejson.dumps(value, ensure_ascii=False, **options))


def value(value: Any, *, limit: int | None = None) -> str:
    """A JSON value as people read it: a string bare, unless it would read as something else."""
    shown = value if isinstance(value, str) and not _reads_as_json(value) else _dumps(value)
    shown = printable(shown)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def printable_json(text: str) -> str:
    """The same JSON document, with invisible characters escaped as in JSON."""
    return "\n".join(
        line if line.isprintable() else "".join(c if c.isprintable() else simplejson.dumps(c)[1:-1] for c in line)
        for line in text.split("\n")
    )


def _reads_as_json(text: str) -> bool:
    """Whether a bare string could be mistaken for null, a number, a list …, or for nothing."""
    try:
        simplejson.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return not text
    except RecursionError:
        pass
    return True


def short_changes(details: Details | None, operation: str | None) -> tuple[list[Change], int]:
    """What changed, for one line; of a created or deleted row the first fields. Also how many more there are."""
    fields = sorted((details or {}).items())
    limit = MAX_CHANGED_FIELDS
    if operation != "UPDATE":
        fields, limit = [(field, change) for field, change in fields if _is_worth_showing(field, change)], MAX_FIELDS
    shown = [_change(field, change, operation) for field, change in fields[:limit]]
    return shown, len(fields) - len(shown)


def _is_worth_showing(field: str, change: Mapping[str, Any]) -> bool:
    """Whether a field of a created or deleted row is: keys, times and empty values are not."""
    return (
        field != "id"
        and not field.endswith(("_id", "_at"))
        and any(change[side] not in (None, "", [], {}, False) for side in change)
    )


def _change(field: str, change: Mapping[str, Any], operation: str | None) -> Change:
    before, after = change["before"], change["after"]
    if operation != "UPDATE" and None in (before, after):
        return Change(printable(field), None, value(after if before is None else before, limit=MAX_VALUE_CHARS))
    if REDACTED in (before, after) or before == after:
        return Change(printable(field), None, None)
    return Change(printable(field), value(before, limit=MAX_VALUE_CHARS), value(after, limit=MAX_VALUE_CHARS))


def compare(fields: Iterable[Mapping[str, Any]], operation: str | None) -> Iterator[Row]:
    """The fields of audit.diff, their values as JSON texts, as rows; JSON values are compared field by field."""
    for field in fields:
        before = _NOTHING if operation == "INSERT" else parse_json(field["before"])
        after = _NOTHING if operation in ("DELETE", "TRUNCATE") else parse_json(field["after"])
        yield from _compared(field["field"], before, after, 0, changed=field["changed"])


def _compared(name: str, before: Any, after: Any, depth: int, *, changed: bool) -> Iterator[Row]:
    children = _children(before, after) if depth < MAX_DEPTH else None
    if children is None:
        yield Row(printable(name), depth, _state(before, after, depth, changed=changed), _side(before), _side(after))
        return
    yield Row(printable(name), depth, _state(before, after, depth, changed=changed), has_children=True)
    for key, one, other in children:
        may_have = changed and REDACTED in (one, other)
        yield from _compared(key, one, other, depth + 1, changed=one != other or may_have)


def _children(before: Any, after: Any) -> list[tuple[str, Any, Any]] | None:
    """The members of two values that are compared one by one; None: the values are compared whole."""
    present = [side for side in (before, after) if side is not _NOTHING]
    if present and all(isinstance(side, dict) and side for side in present):
        sides = [side if side is not _NOTHING else {} for side in (before, after)]
        keys = sorted({*sides[0], *sides[1]})
        return [(key, sides[0].get(key, _NOTHING), sides[1].get(key, _NOTHING)) for key in keys]
    if present and all(isinstance(side, list) and any(isinstance(item, dict) for item in side) for side in present):
        one, other = (side if side is not _NOTHING else [] for side in (before, after))
        pairs = zip_longest(one, other, fillvalue=_NOTHING)
        return [(f"[{index}]", *pair) for index, pair in enumerate(pairs)]
    return None


def _state(before: Any, after: Any, depth: int, *, changed: bool) -> State:
    if not changed:
        return State.SAME
    if before is _NOTHING:
        return State.ADDED
    if depth and before == after:
        return State.UNKNOWN
    return State.REMOVED if after is _NOTHING else State.CHANGED


def _side(side: Any) -> str | None:
    if side is _NOTHING:
        return None
    if isinstance(side, dict | list) and side:
        text = _dumps(side)
        if len(text) > MAX_VALUE_CHARS:
            return "\n".join(map(printable, _dumps(side, indent=2).split("\n")))
    return value(side)


MAX_COUNTED = 100_000
"""Events that audit.destination_status counts, at most."""


def since_then(seconds: float) -> str:
    """How long something has lasted, in its largest unit."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def behind(events: int | None, seconds: float | None) -> str:
    """How many events a destination has not received, and how long the oldest has waited."""
    if events is None or seconds is None:
        return "unknown"
    if not events:
        return "0"
    return f"{events:,}{'+' if events == MAX_COUNTED else ''}, {since_then(seconds)}"
