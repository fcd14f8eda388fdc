"""``pgtrail export``: COPY straight to a file."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click
import psycopg
from psycopg import sql
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pgtrail_cli.appearing import appearing
from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.filters import QUERIES, filter_options, resolve
from pgtrail_cli.render import console

Piece = bytes | bytearray | memoryview

_MATCHING = sql.SQL("audit.matches(event, {categories}, {actions}, {orgs}, {actors}, {since}, {until}, {resource})")


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
    where = _matching(filters) if any(value is not None for value in filters.values()) else None
    if str(file) == "-":
        record(connection, where, filters)
        output = sys.stdout.buffer
        for piece in _filtered_csv(connection, where):
            output.write(piece)
        return
    with appearing(file) as output:
        total = record(connection, where, filters)
        events = write_csv(_filtered_csv(connection, where), output, total)
    click.echo(f"pgtrail: {events:,} events in {file} ({file.stat().st_size:,} bytes)", err=True)


def record(connection: Connection, where: sql.Composable | None, filters: dict[str, Any]) -> int:
    """Say in the log who takes out what; in a transaction of its own, so that it stands however the export ends.

    :param where: a condition on a row of audit.event, called event.
    :returns: how many events that are.
    """
    condition = sql.SQL("") if where is None else sql.SQL(" where ") + where
    row = connection.execute(sql.SQL("select count(*) from audit.event as event") + condition).fetchone()
    events: int = row[0] if row else 0
    given = json.dumps({name: value for name, value in filters.items() if value is not None}, default=str)
    try:
        connection.execute(QUERIES["record_export"], {"filters": given, "events": events})
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise PgtrailError(
            "an export is recorded, and this server is read-only", "export from the primary, or read with pgtrail log"
        ) from error
    return events


def copy_csv(connection: Connection, where: sql.Composable | None) -> Iterator[Piece]:
    """The CSV of audit.export with its header, in the pieces in which the server sends it.

    :param where: a condition on a row of the view; what it lets through is sorted. None: all.
    """
    condition = sql.SQL("") if where is None else sql.SQL(" where ") + where + sql.SQL(" order by timestamp, id")
    return _copied(
        connection,
        sql.SQL("copy (select * from audit.export{}) to stdout with (format csv, header)").format(condition),
    )


def _filtered_csv(connection: Connection, where: sql.Composable | None) -> Iterator[Piece]:
    """The same where a condition on a row of audit.event, called event, holds: by the index of time, unsorted."""
    condition = where and where.as_string(connection)
    row = connection.execute(QUERIES["export_where"], {"condition": condition}).fetchone()
    assert row is not None
    return _copied(connection, sql.SQL(row[0]))


def _copied(connection: Connection, statement: sql.SQL | sql.Composed) -> Iterator[Piece]:
    with connection.cursor().copy(statement) as copy:
        yield from copy


def of_events(event_ids: Sequence[int]) -> sql.Composable:
    """The condition that chooses these events of audit.export."""
    return sql.SQL("id = any ({})").format(sql.Literal(list(event_ids)))


def _matching(filters: dict[str, Any]) -> sql.Composable:
    return _MATCHING.format(**{name: sql.Literal(value) for name, value in filters.items()})


def write_csv(pieces: Iterator[Piece], output: IO[bytes], total: int) -> int:
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
