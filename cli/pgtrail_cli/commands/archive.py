"""``pgtrail archive``: months move to Parquet files, and stay readable."""

import tempfile
from datetime import datetime
from pathlib import Path

import click
import psycopg

from pgtrail_cli.cold.checking import check_month
from pgtrail_cli.cold.place import Place, place
from pgtrail_cli.cold.spool import spool
from pgtrail_cli.cold.writing import store, workshop
from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.render import printable

ATTEMPTS = 5
"""To drop a month while others use the log."""

temp_option = click.option(
    "--temp",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=tempfile.gettempdir,
    help="A folder with room for what is half done: about 1 GB a million events. Default: the system's.",
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(0, 256), default=0, help="Threads. Default: one for each processor."
)


@click.command()
@click.argument("where", metavar="PLACE")
@click.option("--before", default="90d", show_default=True, help="Only months that end before this time.")
@click.option("--dry-run", is_flag=True, help="Say what would be moved.")
@jobs_option
@temp_option
@with_connection
def archive(connection: Connection, where: str, before: str, dry_run: bool, jobs: int, temp: Path) -> None:
    """Move old months of the log to a folder or to S3.

    PLACE is a folder or s3://BUCKET/PREFIX. It gets Parquet files with their seals.
    A month goes whole or not at all: not before it is sealed, not before every destination has got it, and never while
    a legal hold covers it. It is read back and verified before it is dropped from the database. pgtrail log, export and
    verify read it with --archive. Stopped, run it again. Exit status 1 if a month was kept for such a reason.

    \b
    Example:
      pgtrail archive /mnt/archive --before 90d
      pgtrail archive s3://audit-archive/production
    """
    found = place(where)
    if not (dry_run or _is_alone(connection)):
        raise PgtrailError("another pgtrail archive is at work on this database", "wait until it has ended")
    moment, _ = connection.execute(QUERIES["moments"], {"since": before, "until": None}).fetchone() or (None, None)
    plan = connection.execute(QUERIES["retention_plan"], {"even_undelivered": False, "before": moment}).fetchall()
    kept = 0
    for partition, _, events, reasons in plan:
        if reasons:
            kept += 1
            click.echo(f"pgtrail: kept {partition}: {printable('; '.join(reasons))}", err=True)
        elif dry_run:
            click.echo(partition)
        else:
            name = _move(connection, partition, found, moment, temp, jobs)
            click.echo(partition)
            click.echo(f"pgtrail: moved {partition}, {events:,} events, to {name} in {printable(where)}", err=True)
    if not plan:
        click.echo("pgtrail: no month is old enough to be moved", err=True)
    if kept:
        raise SystemExit(1)


def _is_alone(connection: Connection) -> bool:
    return connection.execute(QUERIES["try_archiving"]).fetchone() == (True,)


def _move(connection: Connection, partition: str, target: Place, before: datetime, temp: Path, jobs: int) -> str:
    """Write a month, read it back, drop it; the name of its manifest."""
    (log, _) = connection.execute(QUERIES["log_identity"]).fetchone() or ("", [])
    with workshop(temp, log) as folder:
        month, digest = store(spool(connection, partition, folder), target, folder, jobs=jobs)
    with workshop(temp, log) as folder:
        for problem in check_month(target, month, folder, jobs=jobs):
            raise PgtrailError(
                f"the archive of {partition} does not verify: {': '.join(problem)}",
                "look into it: pgtrail verify; nothing was dropped",
            )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            connection.execute(
                QUERIES["drop_partition"],
                {
                    "partition": partition,
                    "archive": month.name,
                    "sha256": bytes.fromhex(digest),
                    "even_undelivered": False,
                    "before": before,
                    "events": month.events,
                },
            )
            break
        except psycopg.errors.LockNotAvailable:
            if attempt == ATTEMPTS:
                raise
    return month.name
