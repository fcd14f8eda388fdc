"""``pgtrail export``: COPY straight to a file."""

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import click

from pgtrail.atomic_file import atomic_file
from pgtrail.connection import open_connection
from pgtrail.export import Begun, Piece, begin_export
from pgtrail_cli.commands import read_archive
from pgtrail_cli.filters import archive_option, as_filter, filter_options
from pgtrail_cli.matching import say_visible_from, warn_unmatched
from pgtrail_cli.options import dsn_option
from pgtrail_cli.progress import progress_bar
from pgtrail_cli.streams import say

ROWS_AT_ONCE = 1024
"""Between two looks at the progress bar."""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@filter_options
@click.option("--fields", is_flag=True, help="One row for each field that changed.")
@archive_option
@dsn_option
def export(dsn: str, file: Path, archive: str | None, fields: bool, **options: Any) -> None:
    """Write the log to FILE as CSV, oldest first (`-`: stdout).

    FILE appears only when it is complete. A cell that a spreadsheet would take for a formula begins with an
    apostrophe. The bytes are those of: \\copy (select * from audit.export) to 'FILE' csv header
    (with --fields: audit.export_fields). Times are in UTC.

    Each export is an event itself, recorded before the first byte is written, unless it is of an archive.

    \b
    Example:
      pgtrail export audit.csv
      pgtrail export keys.csv --category api_keys --since 30d
      pgtrail export fields.csv --fields --since 30d
      pgtrail export 2025.csv --archive /mnt/archive --since 2025-01-01 --until 2026-01-01
    """
    if archive is not None:
        with read_archive.csv_lines(archive, options, fields) as lines:
            _write(file, lambda: lines, fields)
        return
    with open_connection(dsn) as connection, contextlib.ExitStack() as stack:
        begun: list[Begun] = []

        def begin() -> tuple[int, Iterable[Piece]]:
            # (If the file can't be created, no export is recorded.)
            export = begin_export(connection, as_filter(**options), fields)
            begun.append(export)
            say_visible_from(export.visible_from)
            return export.events, stack.enter_context(connection.cursor().copy(export.csv))

        _write(file, begin, fields)
        warn_unmatched(begun[0].unmatched)


def _write(file: Path, begin: Callable[[], tuple[int, Iterable[Piece]]], fields: bool) -> None:
    """Write to the file or to stdout.

    :param begin: returns about how many events there are, and their CSV.
    """
    if str(file) == "-":
        _, pieces = begin()
        sys.stdout.buffer.writelines(pieces)
        return
    with atomic_file(file) as output:
        total, pieces = begin()
        rows = write_csv(pieces, output, total)
    unit = "rows" if fields else "events"
    say(f"{rows:,} {unit} in {file} ({file.stat().st_size:,} bytes)")


def write_csv(pieces: Iterable[Piece], output: IO[bytes], total: int) -> int:
    """Write to a file, with a progress bar on a terminal; returns the number of rows.

    :param total: about how many rows there are.
    """
    number = 0
    with progress_bar("exporting", total) as advance:
        # The first piece is the header; the server sends one row a piece.
        for number, piece in enumerate(pieces):
            output.write(piece)
            if number % ROWS_AT_ONCE == 0:
                advance(ROWS_AT_ONCE)
    return number
