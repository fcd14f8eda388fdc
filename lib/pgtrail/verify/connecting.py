"""A connection for verifying: it finds only pg_catalog, and hidden rows are an error."""

from collections.abc import Iterator
from contextlib import contextmanager

from pgtrail.connection import Connection, open_connection
from pgtrail.verify import QUERIES


@contextmanager
def open_pinned(dsn: str, *, through_policies: bool = False) -> Iterator[Connection]:
    """Connect.

    :param through_policies: read what row-level security allows; its policies must have been checked.
    """
    with open_connection(dsn) as connection:
        # Everything that a statement's meaning, or a value's text, depends on.
        connection.settings = QUERIES["pin"]
        if through_policies:
            read_through_policies(connection)
        yield connection


def read_through_policies(connection: Connection) -> None:
    """From now on read what row-level security allows."""
    connection.settings = f"{QUERIES['pin']};\n{QUERIES['pin_through_policies']}"


def is_under_policies(connection: Connection) -> bool:
    """Whether row-level security decides what this role sees of the log."""
    row = connection.execute(QUERIES["is_under_policies"]).fetchone()
    return bool(row and row[0])
