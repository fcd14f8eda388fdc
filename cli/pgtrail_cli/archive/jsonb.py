"""JSON as Postgres writes `jsonb`, made of parts that Postgres has written: no number is ever read. Pure: no I/O."""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

_SKIPPED = json.JSONDecoder(parse_int=str, parse_float=str)
# (No number is equal to true, and a pair to no array.)
_COMPARED = json.JSONDecoder(
    parse_int=lambda digits: ("number", Decimal(digits)), parse_float=lambda digits: ("number", Decimal(digits))
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^"{}\[\],]+|,', re.DOTALL)


def spans(text: str) -> list[tuple[str, str]]:
    """The members of a row as jsonb writes it: name, and the text from the name's first quote to the value's end."""
    if not text.startswith("{"):
        # (What somebody stored in place of a row.)
        return [("", f'"": {text}')]
    found: list[tuple[str, str]] = []
    begins = 1
    while text[begins] == '"':
        name, ends = _SKIPPED.raw_decode(text, begins)
        ends = _end(text, ends + len(": "))
        found.append((name, text[begins:ends]))
        begins = ends + 2
        if text[ends] == "}":
            break
    return found


def members(text: str | None) -> dict[str, str]:
    """The members of an object, each value's text as it stands there; None: of none."""
    found: dict[str, str] = {}
    if text is None or not text.startswith("{"):
        return found
    place = 1
    while text[place] == '"':
        name, place = _SKIPPED.raw_decode(text, place)
        begins = place + len(": ")
        place = _end(text, begins)
        found[name] = text[begins:place]
        if text[place] == "}":
            break
        place += len(", ")
    return found


def _end(text: str, begins: int) -> int:
    """Where a value ends."""
    try:
        return _SKIPPED.raw_decode(text, begins)[1]
    except RecursionError:
        return _end_of_deep(text, begins)


def _end_of_deep(text: str, begins: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(text, begins):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(text)


def quoted(text: str | None) -> str:
    """A string; None: null."""
    return "null" if text is None else json.dumps(text, ensure_ascii=False)


def object_of(values: Mapping[str, str | None]) -> str:
    """An object of values that are JSON already (None: null), its members in the order of jsonb."""
    ordered = sorted(values, key=lambda name: (len(encoded := name.encode()), encoded))
    return "{" + ", ".join(f"{quoted(name)}: {values[name] or 'null'}" for name in ordered) + "}"


def array_of(values: Iterable[str]) -> str:
    """An array of values that are JSON already."""
    return "[" + ", ".join(values) + "]"


def equal(one: str | None, other: str | None) -> bool:
    """Whether two values are the same to jsonb: 1.0 is 1.00."""
    if one is None or other is None or one == other:
        return one == other
    try:
        return bool(_COMPARED.decode(one) == _COMPARED.decode(other))
    except RecursionError:
        return False
