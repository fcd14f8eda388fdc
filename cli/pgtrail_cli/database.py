"""What commands ask the database."""

from collections.abc import Iterable
from typing import Any

from psycopg.rows import dict_row

from pgtrail.connection import Connection
from pgtrail.errors import PgtrailError
from pgtrail.queries import load

QUERIES = load("pgtrail_cli")


def dicts(connection: Connection, query: str, **parameters: Any) -> list[dict[str, Any]]:
    """The rows of a query by its name, each with the names of its columns."""
    return connection.cursor(row_factory=dict_row).execute(QUERIES[query], parameters).fetchall()


def event_id(connection: Connection, name: str) -> int:
    """The id of the event with this name: 42; on a hub also eu1:42.

    :raises PgtrailError: it does not exist, or this role may not see it.
    """
    found: int | None = connection.call("audit_internal.find_event_id", name)
    if found is None:
        raise no_event(name)
    return found


def event_ids(connection: Connection, names: Iterable[str]) -> list[int] | None:
    """The ids of the events with these names; None: there are no names."""
    return [event_id(connection, name) for name in names] or None


def no_event(name: str) -> PgtrailError:
    """The error for an event that does not exist, or that this role may not see."""
    return PgtrailError(f"there is no event {name} that you may see", "pgtrail log lists them")
