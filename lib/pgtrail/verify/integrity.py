"""Whether schema audit is as this version makes it: functions, views, tables, policies, triggers, rules and privileges.

`expected.json` has a digest of each object, taken from a fresh database by ``make docs``. An object that PostgreSQL
writes in more than one form (a view, by its version) or that some databases lack (a hub's triggers) has several;
null is one of them where it may be missing.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from importlib.resources import files

from pgtrail.connection import Connection
from pgtrail.verify import QUERIES

DIGITS = 40
UNSAFE = (
    "table ",
    "columns of ",
    "rule ",
    "check ",
    "index ",
    "statistics ",
    "cast ",
    "function pg_catalog.",
    "operator ",
    "type ",
)
"""Objects that can change the result of a statement on a table, or that are evaluated when one is planned."""
NOT_OURS = "it was changed since it was installed, or its privileges were: find out by whom"
UNKNOWN = "pgtrail did not create it: find out who did"
MISSING = "it is missing: find out who dropped it"


def changed_objects(connection: Connection) -> Iterator[tuple[str, str]]:
    """Each object that is not as this program makes it, and what is wrong with it."""
    present = digests(connection.execute(QUERIES["facts"], {}))
    expected = _expected()
    for name in sorted(present.keys() | expected.keys()):
        known = expected.get(name, [None])
        if present.get(name) not in known:
            yield name, UNKNOWN if name not in expected else MISSING if name not in present else NOT_OURS


def is_unsafe(name: str, under_policies: bool) -> bool:
    """Whether no statement can be trusted once this object was changed.

    :param under_policies: row-level security applies to this role.
    """
    return name.startswith(UNSAFE) or (under_policies and name.startswith("policy "))


def digests(facts: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """A digest of each object's facts.

    :param facts: object, aspect and value.
    """
    of_object: Mapping[str, set[str]] = defaultdict(set)
    for name, aspect, value in facts:
        of_object[name].add(f"{aspect}: {value}")
    return {
        name: sha256("\0".join(sorted(aspects)).encode()).hexdigest()[:DIGITS] for name, aspects in of_object.items()
    }


def _expected() -> dict[str, list[str | None]]:
    text = files("pgtrail.verify").joinpath("expected.json").read_text(encoding="utf-8")
    found: dict[str, list[str | None]] = json.loads(text)
    return found
