"""``pgtrail export``: COPY straight to a file."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click
import psycopg
from psycopg import sql
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pgtrail_cli.appearing import appearing
from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.filters import QUERIES, Filters, filter_options, resolve
from pgtrail_cli.render import console

Piece = bytes | bytearray | memoryview


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@filter_options
@with_connection
def export(connection: Connection, file: Path, **options: Any) -> None:
    """Write the log to FILE as CSV, oldest first; `-` is stdout.

    FILE appears when it is complete, never before. Cells that a spreadsheet would take for a formula begin with an
    apostrophe. The bytes are those of: \\copy (select * from audit.export) to 'FILE' csv header

    Each export is an event itself, recorded before the first byte leaves.

    \b
    Example:
      pgtrail export audit.csv
      pgtrail export keys.csv --category api_keys --since 30d
    """
    filters = resolve(connection, **options)
    if str(file) == "-":
        record(connection, filters)
        with _filtered_csv(connection, filters) as pieces:
            sys.stdout.buffer.writelines(pieces)
        return
    with appearing(file) as output:
        total = record(connection, filters)
        with _filtered_csv(connection, filters) as pieces:
            events = write_csv(pieces, output, total)
    click.echo(f"pgtrail: {events:,} events in {file} ({file.stat().st_size:,} bytes)", err=True)


def record(connection: Connection, filters: Filters) -> int:
    """Say in the log who takes out what; in a transaction of its own, so that it stands however the export ends.

    :returns: how many events that are.
    """
    row = connection.execute(QUERIES["count"], {"wanted": filters.wanted}).fetchone()
    events: int = row[0] if row else 0
    given = json.dumps(filters.given, default=str)
    try:
        connection.execute(QUERIES["record_export"], {"filters": given, "events": events})
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise PgtrailError(
            "an export is recorded, and this server is read-only", "export from the primary, or read with pgtrail log"
        ) from error
    return events


@contextlib.contextmanager
def copy_csv(connection: Connection, where: sql.Composable | None) -> Iterator[Iterable[Piece]]:
    """The CSV of audit.export with its header, in the pieces in which the server sends it.

    :param where: a condition on a row of the view; what it lets through is sorted. None: all.
    """
    condition = sql.SQL("") if where is None else sql.SQL(" where ") + where + sql.SQL(" order by timestamp, id")
    statement = sql.SQL("copy (select * from audit.export{}) to stdout with (format csv, header)").format(condition)
    with connection.cursor().copy(statement) as pieces:
        yield pieces


@contextlib.contextmanager
def _filtered_csv(connection: Connection, filters: Filters) -> Iterator[Iterable[Piece]]:
    """The same of the events that pass: by the index of time, unsorted."""
    row = connection.execute(QUERIES["export_statement"], {"wanted": filters.wanted}).fetchone()
    assert row is not None
    with connection.cursor().copy(row[0]) as pieces:
        yield pieces


def of_events(event_ids: Sequence[int]) -> sql.Composable:
    """The condition that chooses these events of audit.export."""
    return sql.SQL("id = any ({})").format(sql.Literal(list(event_ids)))


def write_csv(pieces: Iterable[Piece], output: IO[bytes], total: int) -> int:
    """Write to a file, with a notice of how far it is on a terminal; how many events.

    :param total: about so many.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    number = 0
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("exporting", total=total)
        # The first piece is the header; the server sends one row a piece.
        for number, piece in enumerate(pieces):
            output.write(piece)
            if number % 1024 == 0:
                progress.update(task, completed=number)
    return number
