"""The log as CSV. An export is recorded as an event before its first byte is written."""

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
"""The options of audit.filter() that were given."""
Notes = Iterable[Mapping[str, Any]] | None
"""Notes of the database on a filter, as a list of objects; None: there are none."""
Piece = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Begun:
    """An export that has been recorded.

    :param events: how many it has, as it begins.
    :param csv: the COPY statement that writes it.
    """

    events: int
    csv: LiteralString
    visible_from: Notes
    unmatched: Notes


def as_jsonb(options: Mapping[str, Any]) -> Jsonb:
    """Options as a parameter. (Unescaped, so that the database refuses what is not UTF-8.)"""
    return Jsonb(options, dumps=partial(json.dumps, ensure_ascii=False))


def begin_export(connection: Connection, wanted: Filter, by_field: bool = False) -> Begun:
    """Record an export in the log.

    :raises PgtrailError: the server is read-only.
    """
    asked = {"filter": as_jsonb(wanted), "by_field": by_field}
    try:
        return Begun(*connection.fetch_one(QUERIES["begin_export"], asked))
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise PgtrailError(
            "an export is recorded, and this server is read-only", "export from the primary, or read with pgtrail log"
        ) from error


@contextlib.contextmanager
def copy_csv(connection: Connection, where: sql.Composable | None) -> Iterator[Iterable[Piece]]:
    """The CSV of audit.export with its header, in the pieces that the server sends.

    :param where: a condition on the rows of the view, which are then sorted; None: all rows.
    """
    condition = sql.SQL("") if where is None else sql.SQL(" where ") + where + sql.SQL(" order by timestamp_utc, id")
    statement = sql.SQL("copy (select * from audit.export{}) to stdout with (format csv, header)").format(condition)
    with connection.cursor().copy(statement) as pieces:
        yield pieces
