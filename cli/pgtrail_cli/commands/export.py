"""``pgtrail export``: COPY straight to a file."""

import contextlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click
import psycopg
from psycopg import sql
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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
        _record(connection, where, filters)
        output = sys.stdout.buffer
        for chunk in copy_csv(connection, where):
            output.write(chunk)
        return
    with _appearing(file) as output:
        _record(connection, where, filters)
        # One snapshot for the count and the copy.
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            events = _write(connection, where, output)
    click.echo(f"pgtrail: {events:,} events in {file} ({file.stat().st_size:,} bytes)", err=True)


def _record(connection: Connection, where: sql.Composable | None, filters: dict[str, Any]) -> None:
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
    """A file that takes its name when it is complete and safely on disk; otherwise nothing is left.

    A device or a pipe is written to as it is. Mode and owner of a file that is replaced stay.
    """
    part: Path | None = None
    try:
        target = file.resolve()
        before = target.stat() if target.exists() else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            with target.open("wb") as output:
                yield output
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        part = Path(name)
        with os.fdopen(descriptor, "wb") as output:
            yield output
            _inherit(descriptor, before)
            output.flush()
            os.fsync(descriptor)
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise PgtrailError(
            f"can't write {file}: {(error.strerror or str(error)).lower()}",
            "choose a folder that exists, that you may write to and that has room",
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _inherit(descriptor: int, before: os.stat_result | None) -> None:
    """Mode and owner of the file that was there; for a new one what the umask leaves."""
    if before is not None:
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        return
    # There is no other way to ask for it.
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(descriptor, 0o666 & ~mask)


def _sync_folder(folder: Path) -> None:
    """Make the new name last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
