"""``pgtrail archive``: months move to Parquet files, and stay readable."""

import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from pgtrail.archive import QUERIES
from pgtrail.archive.location import find_location
from pgtrail.archive.moving import Target, drop_month, lock_archiving, old_months
from pgtrail.connection import Connection
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say

Command = TypeVar("Command", bound=Callable[..., Any])


def working_options(command: Command) -> Command:
    """Give a command that writes archives the options for how it works."""
    temp = click.option(
        "--temp",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=tempfile.gettempdir(),
        help="A folder with room for what is half done: about 1 GB a million events. Default: the system's.",
    )
    jobs = click.option(
        "--jobs", type=click.IntRange(0, 256), default=0, help="Threads. Default: one for each processor."
    )
    return jobs(temp(command))


@click.command()
@click.argument("where", metavar="LOCATION")
@click.option("--before", default="90d", show_default=True, help="Only months that end before this time.")
@click.option("--dry-run", is_flag=True, help="Say what would be moved.")
@working_options
@with_connection
def archive(connection: Connection, where: str, before: str, dry_run: bool, jobs: int, temp: Path) -> None:
    """Move old months of the log to a folder or to S3.

    LOCATION is a folder or s3://BUCKET/PREFIX. It gets Parquet files with their seals.
    A month goes whole or not at all: not before it is sealed, not before every destination has got it, and never while
    a legal hold covers it. It is read back and verified before it is dropped from the database. pgtrail log, export and
    verify read it with --archive. Stopped, run it again. Exit status 1 if a month was kept for such a reason.

    \b
    Example:
      pgtrail archive /mnt/archive --before 90d
      pgtrail archive s3://audit-archive/production
    """
    (moment,) = connection.execute(QUERIES["moment"], {"text": before}).fetchone() or (None,)
    drop_months(connection, where, jobs=jobs, temp=temp, before=moment, dry_run=dry_run)


def drop_months(
    connection: Connection,
    where: str | None,
    *,
    jobs: int,
    temp: Path,
    before: datetime | None,
    dry_run: bool,
    even_undelivered: bool = False,
) -> None:
    """Drop the months that are old enough, each archived first, and say so. Exit status 1 if one was kept.

    :param where: None: without an archive.
    """
    target = None if where is None else Target(find_location(where), temp, jobs)
    if target is not None and not dry_run:
        lock_archiving(connection)
    months = old_months(connection, before, even_undelivered)
    for partition, _, events, reasons in months:
        if reasons:
            say(f"kept {partition}: {'; '.join(reasons)}")
            continue
        if not dry_run:
            name = drop_month(connection, partition, target, before=before, even_undelivered=even_undelivered)
            archived = f", archived in {where} as {name}" if name else ""
            say(f"dropped {partition}, {events:,} events{archived}")
        click.echo(partition)
    if not months:
        say("no month is old enough")
    if any(month.kept_because for month in months):
        raise SystemExit(1)
