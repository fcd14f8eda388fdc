"""What pgtrail's log has: events by their number, and every form that a secret could have in it."""

import base64
import json
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

EVENTS = """
    select id, table_name, action, resource_label, resource_id, org_id
    from audit.event where id > %s and category <> 'audit' order by id
"""
PLACES = """
    select
        table_name, action, strpos(resource_label, %(form)s) > 0, strpos(resource_id, %(form)s) > 0,
        array(
            select distinct key from (values (before), (after)) as side (columns), jsonb_each_text(side.columns)
            where strpos(value, %(form)s) > 0
        )
    from audit.event where strpos(event::text, %(form)s) > 0
"""


@dataclass(frozen=True)
class Event:
    id: int
    table: str
    action: str
    label: str | None
    resource_id: str
    org: str | None

    @property
    def readable(self) -> bool:
        """Whether its label says more than an id does."""
        label = self.label or ""
        return any(letter.isalpha() for letter in label) and label != self.resource_id


def events_after(connection: psycopg.Connection[Any], last: int) -> list[Event]:
    return [Event(*row) for row in connection.execute(EVENTS, [last])]


def last_event(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("select coalesce(max(id), 0) from audit.event").fetchone()
    assert row is not None
    return int(row[0])


def forms(secret: str) -> Iterator[str]:
    """A secret as it could stand in a dump: plain, as JSON, in base64 at each offset, in hex, in a URL."""
    raw = secret.encode()
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield urllib.parse.quote(secret, safe="")
    yield raw.hex()
    for offset in range(3):
        # What is the same whatever stands before and after it.
        encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        yield encoded[(0, 2, 3)[offset] : -1]


def found(secret: str, dump: str) -> str | None:
    """The form in which a dump has a secret; None: it has not."""
    return next((form for form in forms(secret) if form in dump), None)


def find(secrets: Iterable[str], dump: str) -> dict[str, str]:
    """Those of the secrets that a dump has, each with the form."""
    return {secret: form for secret in secrets if (form := found(secret, dump))}


def places(connection: psycopg.Connection[Any], form: str) -> list[str]:
    """In which columns of which events it stands."""
    said = set()
    for table, action, in_label, in_id, columns in connection.execute(PLACES, {"form": form}):
        where = columns + ["resource_label"] * bool(in_label) + ["resource_id"] * bool(in_id)
        said.add(f"{table}.{' + '.join(where) or '?'} ({action})")
    return sorted(said) or ["a table of schema audit that is not the log"]
