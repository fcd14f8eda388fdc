"""``pgtrail verify-archive``: an archived month by itself."""

from pathlib import Path

import click

from pgtrail_cli import archive as archives
from pgtrail_cli.cold import files
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.render import printable


@click.command("verify-archive")
@click.argument("file")
@click.option("--jobs", type=click.IntRange(0, 256), default=0, help="Threads. Default: one for each processor.")
def verify_archive(file: str, jobs: int) -> None:
    """Check an archived month, or a file of it, by its seals.

    FILE is one that pgtrail archive wrote, of events or a manifest, in its place beside the others; or one that
    pgtrail retention run wrote, with FILE.seals.jsonl beside it. Exit status 1 if anything does not match.

    \b
    Example:
      pgtrail verify-archive /mnt/archive/month=2025-01/part=0/event_2025_01.parquet
      pgtrail verify-archive /mnt/archive/audit.event_2025_01.csv
    """
    if files.is_cold(file):
        checked = files.check_file(file, jobs)
        events, problems = checked.events, checked.problems
    else:
        seals, listed = archives.verify(Path(file))
        events, problems = seals.header["events"], iter(listed)
    number = 0
    for subject, problem in problems:
        number += 1
        click.echo(printable(f"{subject}: {problem}"))
    if number:
        raise PgtrailError(f"{number:,} problems in {file}", "fetch it again, or look who changed it")
    click.echo(f"pgtrail: {events:,} events hold", err=True)
