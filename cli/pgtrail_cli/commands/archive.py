"""``pgtrail archive``: moves months to Parquet files, which stay readable."""

import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from pgtrail.archive.location import find_location
from pgtrail.archive.moving import Target, drop_month, lock_archiving, old_months
from pgtrail.connection import Connection
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say

Command = TypeVar("Command", bound=Callable[..., Any])


def working_options(command: Command) -> Command:
    """Give a command that writes archives the options for temporary files and threads."""
    temp = click.option(
        "--temp",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=tempfile.gettempdir(),
        help="A folder for temporary files: about 1 GB per million events. Default: the system's.",
    )
    jobs = click.option(
        "--jobs", type=click.IntRange(0, 256), default=0, help="Threads. Default: one for each processor."
    )
    return jobs(temp(command))


@click.command()
@click.argument("where", metavar="LOCATION")
@click.option("--before", default="90d", show_default=True, help="Only months that end before this time.")
@click.option("--dry-run", is_flag=True, help="List what would be moved, and change nothing.")
@working_options
@with_connection
def archive(connection: Connection, where: str, before: str, dry_run: bool, jobs: int, temp: Path) -> None:
    """Move old months of the log to a folder or to S3.

    LOCATION is a folder or s3://BUCKET/PREFIX, for Parquet files and their seals. A month moves as a whole, once it is
    sealed and every destination has received it, and never while a legal hold covers it. It is read back and verified
    before it is dropped from the database. pgtrail log, export and verify read it with --archive. If it is interrupted,
    run it again. Exit status 1 if a month was kept.

    \b
    Example:
      pgtrail archive /mnt/archive --before 90d
      pgtrail archive s3://audit-archive/production
    """
    moment = connection.call("audit_internal.parse_time", before)
    drop_months(connection, where, jobs=jobs, temp=temp, before=moment, dry_run=dry_run)


def drop_months(
    connection: Connection,
    where: str | None,
    *,
    jobs: int,
    temp: Path,
    before: datetime | None,
    dry_run: bool,
    include_undelivered: bool = False,
) -> None:
    """Drop the months that are old enough, each archived first. Exit status 1 if one was kept.

    :param where: where they are archived; None: nowhere.
    """
    target = None if where is None else Target(find_location(where), temp, jobs)
    if target is not None and not dry_run:
        lock_archiving(connection)
    months = old_months(connection, before, include_undelivered)
    for partition, _, events, reasons in months:
        if reasons:
            say(f"kept {partition}: {'; '.join(reasons)}")
            continue
        if not dry_run:
            name = drop_month(connection, partition, target, before=before, include_undelivered=include_undelivered)
            archived = f", archived in {where} as {name}" if name else ""
            say(f"dropped {partition}, {events:,} events{archived}")
        click.echo(partition)
    if not months:
        say("no month is old enough")
    if any(month.kept_because for month in months):
        raise SystemExit(1)
