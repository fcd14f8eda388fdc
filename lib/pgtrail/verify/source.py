"""The tables of a chain of seals: this log's own or, on a hub, those of what a node sent."""

from dataclasses import dataclass
from typing import Any

from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from pgtrail.connection import Connection
from pgtrail.verify import QUERIES

PARTS = ("seals", "leaves", "recorded", "batch", "salts")
"""The placeholders in statements that serve both."""


@dataclass(frozen=True, slots=True)
class Source:
    """A chain.

    :param node: None: this database's own.
    """

    node: str | None = None

    def query(self, name: str) -> sql.Composed:
        """A statement on its tables."""
        kind = "own" if self.node is None else "node"
        parts = {part: sql.SQL(QUERIES[f"{kind}_{part}"]) for part in PARTS}
        return sql.SQL(QUERIES[name]).format(**parts)

    def ask(self, connection: Connection, name: str, **parameters: Any) -> Cursor[TupleRow]:
        """Run one."""
        return connection.execute(self.query(name), {"node": self.node, **parameters})

    def numbers(self, connection: Connection, first: int = 1) -> dict[int, int]:
        """Its seals from one on, and how many events each has."""
        return dict(self.ask(connection, "numbers", first=first).fetchall())
