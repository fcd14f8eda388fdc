"""Copies a month out of the database, to CSV files for DuckDB."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from psycopg import sql

from pgtrail.archive import QUERIES
from pgtrail.archive.columns import ERASED, EVENT, LEAVES, SALTS, Column
from pgtrail.connection import Connection

DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Spooled:
    """A table in a CSV.

    :param max_row_bytes: bytes of its longest row.
    """

    file: Path
    columns: Sequence[Column]
    rows: int
    max_row_bytes: int


@dataclass(frozen=True, slots=True)
class Month:
    """A partition: its bounds, its lowest and highest id, and how many events it has."""

    partition: str
    begins: datetime
    ends: datetime
    first_id: int
    last_id: int
    events: int


@dataclass(frozen=True, slots=True)
class Spool:
    """Everything that goes into a month's archive.

    :param log: the hash of the first seal.
    :param sealed: how many seals there are.
    """

    month: Month
    log: str
    categories: list[str]
    events: Spooled
    leaves: Spooled
    salts: Spooled
    erased: Spooled
    seals: Path
    sealed: int


def spool(connection: Connection, partition: str, folder: Path) -> Spool:
    """Copy a month into a folder, as of one moment."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        # How times are written; and no timeout of the role's ends the copy.
        connection.execute("set local timezone = 'UTC'; set local datestyle = 'ISO'; set local statement_timeout = 0")
        month = _month(connection, partition)
        log, categories = log_identity(connection)
        seals, leaves = folder / "seals.jsonl", folder / "leaves.csv"
        sealed, kept = _copy_seals(connection, month, seals, leaves)
        return Spool(
            month,
            log,
            categories,
            events=_copy(connection, EVENT, sql.SQL(QUERIES["copy_events"]), folder / "events.csv", month),
            leaves=kept,
            salts=_copy(connection, SALTS, sql.SQL(QUERIES["copy_salts"]), folder / "salts.csv", month),
            erased=_copy(connection, ERASED, sql.SQL(QUERIES["copy_erased_parts"]), folder / "erased.csv", month),
            seals=seals,
            sealed=sealed,
        )


def log_identity(connection: Connection) -> tuple[str, list[str]]:
    """The hash of the log's first seal, and its categories."""
    return connection.execute(QUERIES["log_identity"]).fetchone() or ("", [])


def _month(connection: Connection, partition: str) -> Month:
    """What a partition holds."""
    ((begins, ends),) = connection.execute(QUERIES["partition_bounds"], {"partition": partition})
    (numbers,) = connection.execute(QUERIES["month"], {"begins": begins, "ends": ends})
    return Month(partition, begins.astimezone(UTC), ends.astimezone(UTC), *numbers)


def _copy(connection: Connection, columns: Sequence[Column], query: sql.SQL, file: Path, month: Month) -> Spooled:
    selected = sql.SQL(", ").join(
        sql.SQL("{} as {}").format(
            sql.SQL(column.expression) if column.expression else sql.Identifier(column.name),
            sql.Identifier(column.name),
        )
        for column in columns
    )
    statement = query.format(
        columns=selected,
        partition=sql.Literal(month.partition),
        begins=sql.Literal(month.begins),
        ends=sql.Literal(month.ends),
    )
    rows, max_row_bytes = -1, 0
    with file.open("wb") as output, connection.cursor().copy(statement) as pieces:
        # A row a piece, the header first.
        for piece in pieces:
            output.write(piece)
            rows += 1
            max_row_bytes = max(max_row_bytes, len(piece))
    return Spooled(file, columns, rows, max_row_bytes)


def _copy_seals(connection: Connection, month: Month, seals: Path, leaves: Path) -> tuple[int, Spooled]:
    sealed = rows = 0
    with (
        seals.open("w", encoding="utf-8") as lines,
        leaves.open("w", encoding="ascii") as output,
        # (Fetched one by one: each seal has all its leaves.)
        connection.cursor("seals") as cursor,
    ):
        cursor.itersize = 1
        output.write(",".join(column.name for column in LEAVES) + "\n")
        for number, kept, ids, digests in cursor.execute(
            QUERIES["seals"], {"first": month.first_id, "last": month.last_id}
        ):
            lines.write(json.dumps(kept, ensure_ascii=False) + "\n")
            output.writelines(_leaf_lines(number, ids, digests.hex()))
            sealed += 1
            rows += len(ids)
    return sealed, Spooled(leaves, LEAVES, rows, 256)


def _leaf_lines(number: int, ids: Sequence[int], digests: str) -> Iterator[str]:
    size = 2 * DIGEST_BYTES
    for index, event_id in enumerate(ids):
        yield f"{number},{event_id},{digests[index * size : (index + 1) * size]}\n"
