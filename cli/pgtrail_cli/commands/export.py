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

_MATCHING = sql.SQL(
    """
    id in (
        select event.id
        from audit.event
        where audit.matches(event, {categories}, {actions}, {orgs}, {actors}, {since}, {until}, {resource})
    )
    """
)


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
        for chunk in copy_csv(connection, where):
            output.write(chunk)
        return
    with appearing(file) as output:
        record(connection, where, filters)
        # One snapshot for the count and the copy.
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            events = write_csv(connection, where, output)
    click.echo(f"pgtrail: {events:,} events in {file} ({file.stat().st_size:,} bytes)", err=True)


def record(connection: Connection, where: sql.Composable | None, filters: dict[str, Any]) -> None:
    """Say in the log who takes out what; in a transaction of its own, so that it stands however the export ends."""
    row = connection.execute(_select(sql.SQL("count(*)"), where)).fetchone()
    given = json.dumps({name: value for name, value in filters.items() if value is not None}, default=str)
    try:
        connection.execute(QUERIES["record_export"], {"filters": given, "events": row[0] if row else None})
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise PgtrailError(
            "an export is recorded, and this server is read-only", "export from the primary, or read with pgtrail log"
        ) from error


def copy_csv(connection: Connection, where: sql.Composable | None) -> Iterator[bytes]:
    """The CSV of audit.export with its header, in the pieces in which the server sends it."""
    with connection.cursor().copy(
        sql.SQL("copy ({}{}) to stdout with (format csv, header)").format(
            _select(sql.SQL("*"), where),
            # The view is in this order by itself, but not what is left of it after a filter.
            sql.SQL("" if where is None else " order by timestamp, id"),
        )
    ) as copy:
        for chunk in copy:
            yield bytes(chunk)


def of_events(event_ids: Sequence[int]) -> sql.Composable:
    """The condition that chooses these events of audit.export."""
    return sql.SQL("id = any ({})").format(sql.Literal(list(event_ids)))


def _matching(filters: dict[str, Any]) -> sql.Composable:
    return _MATCHING.format(**{name: sql.Literal(value) for name, value in filters.items()})


def _select(what: sql.Composable, where: sql.Composable | None) -> sql.Composed:
    condition = sql.SQL("") if where is None else sql.SQL(" where ") + where
    return sql.SQL("select {} from audit.export").format(what) + condition


def write_csv(connection: Connection, where: sql.Composable | None, output: IO[bytes]) -> int:
    """Copy to a file, in the caller's transaction, with a notice of how far it is; how many events."""
    row = connection.execute(_select(sql.SQL("count(*)"), where)).fetchone()
    total: int = row[0] if row else 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # A notice of how far it is, on a terminal only.
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("exporting", total=total)
        # The first piece is the header; the server sends one row a piece.
        for number, chunk in enumerate(copy_csv(connection, where)):
            output.write(chunk)
            if number % 256 == 0:
                progress.update(task, completed=number)
        progress.update(task, completed=total)
    return total
