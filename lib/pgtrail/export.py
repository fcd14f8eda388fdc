"""The log as CSV: which events an export has, recorded before it begins, and their bytes."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from pgtrail.connection import Connection
from pgtrail.errors import PgtrailError
from pgtrail.queries import load

QUERIES = load("pgtrail")
Filter = Mapping[str, Any]
"""What audit.filter() takes: only what was given."""
Notes = Iterable[Mapping[str, Any]] | None
"""What the database says of a filter: a list of objects; None: nothing."""
Piece = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Begun:
    """An export that the log has by now, however it ends.

    :param csv: the statement that writes it.
    """

    events: int
    csv: LiteralString
    visible_from: Notes
    unmatched: Notes


def as_jsonb(options: Mapping[str, Any]) -> Jsonb:
    """Options as a parameter. (Unescaped: what is not UTF-8 is refused as in any other text.)"""
    return Jsonb(options, dumps=partial(json.dumps, ensure_ascii=False))


def begin_export(connection: Connection, wanted: Filter, by_field: bool = False) -> Begun:
    """Record in the log who exports what.

    :raises PgtrailError: the server is read-only.
    """
    asked = {"filter": as_jsonb(wanted), "by_field": by_field}
    try:
        row = connection.execute(QUERIES["begin_export"], asked).fetchone()
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise PgtrailError(
            "an export is recorded, and this server is read-only", "export from the primary, or read with pgtrail log"
        ) from error
    assert row is not None
    return Begun(*row)


@contextlib.contextmanager
def copy_csv(connection: Connection, where: sql.Composable | None) -> Iterator[Iterable[Piece]]:
    """The CSV of audit.export with its header, in the pieces in which the server sends it.

    :param where: a condition on a row of the view; what it lets through is sorted. None: all.
    """
    condition = sql.SQL("") if where is None else sql.SQL(" where ") + where + sql.SQL(" order by timestamp_utc, id")
    statement = sql.SQL("copy (select * from audit.export{}) to stdout with (format csv, header)").format(condition)
    with connection.cursor().copy(statement) as pieces:
        yield pieces
