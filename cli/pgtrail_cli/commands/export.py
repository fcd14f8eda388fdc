"""``pgtrail export``: COPY straight to a file."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click
from psycopg import sql
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.filters import filter_options, resolve
from pgtrail_cli.render import console

_MATCHING = sql.SQL(
    """
    id in (
        select event.id
        from audit.event
        where audit.matches(event, {categories}, {actions}, {orgs}, {actors}, {since}, {until})
            and ({resource}::text is null or {resource} in (event.resource_id, event.resource_label))
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

    \b
    Example:
      pgtrail export audit.csv
      pgtrail export keys.csv --category api_keys --since 30d
    """
    filters = resolve(connection, **options)
    where = _matching(filters) if any(value is not None for value in filters.values()) else None
    if str(file) == "-":
        output = sys.stdout.buffer
        for chunk in copy_csv(connection, where):
            output.write(chunk)
        return
    # One snapshot for the count and the copy.
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        with _appearing(file) as output:
            events = _write(connection, where, output)
    click.echo(f"pgtrail: {events:,} events in {file} ({file.stat().st_size:,} bytes)", err=True)


def copy_csv(connection: Connection, where: sql.Composable | None) -> Iterator[bytes]:
    """The CSV of audit.export with its header, in the pieces in which the server sends it."""
    with connection.cursor().copy(
        sql.SQL("copy ({}) to stdout with (format csv, header)").format(_select(sql.SQL("*"), where))
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


def _write(connection: Connection, where: sql.Composable | None, output: IO[bytes]) -> int:
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


@contextlib.contextmanager
def _appearing(file: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is complete and safely on disk; otherwise nothing is left."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    except OSError as error:
        raise PgtrailError(
            f"can't write {file}: {(error.strerror or str(error)).lower()}",
            "choose a folder that exists and that you may write to",
        ) from error
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        # mkstemp allows the owner alone; a new file gets what the umask leaves.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        part.replace(file)
    except OSError as error:
        raise PgtrailError(f"can't write {file}: {(error.strerror or str(error)).lower()}") from error
    finally:
        part.unlink(missing_ok=True)
