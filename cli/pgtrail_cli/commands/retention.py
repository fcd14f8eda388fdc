"""``pgtrail retention …``: for how long events are kept, and dropping the months that are old enough."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click
from psycopg import sql

from pgtrail_cli import archive as archives
from pgtrail_cli.appearing import appearing
from pgtrail_cli.cold.spool import Month, month_of
from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import NotUnderstood, PgtrailError
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.matching import ever, say
from pgtrail_cli.render import printable


@click.group()
def retention() -> None:
    """Set how long events are kept, and place legal holds.

    Only `retention run` and `archive` drop events. `status` shows the settings and the holds.

    \b
    Example:
      pgtrail retention set 400d && pgtrail retention run --archive /mnt/archive
    """


@retention.command("set")
@click.argument("keep")
@click.option("--category", help="Only for this category. Default: for all that have no setting of their own.")
@with_connection
def set_(connection: Connection, keep: str, category: str | None) -> None:
    """Keep events for KEEP: 400d, 13 months, 7 years, forever.

    KEEP can also be `default` for a category: as long as all others.

    \b
    Example:
      pgtrail retention set 400d
      pgtrail retention set '7 years' --category audit
      pgtrail retention set default --category audit
    """
    if keep == "default" and category is None:
        raise NotUnderstood("`default` is for a category", "give --category, or keep events forever")
    if keep == "default" or (keep == "forever" and category is None):
        connection.execute(QUERIES["clear_retention"], {"category": category})
    else:
        # (The most that there is: Postgres 15 has no infinite interval.)
        longest = "1000 years" if keep == "forever" else keep
        connection.execute(QUERIES["set_retention"], {"keep": longest, "category": category})
    meant = {"forever": "forever", "default": "for as long as all others"}.get(keep, f"for {printable(keep)}")
    click.echo(f"pgtrail: events{f' of {category}' if category else ''} are kept {meant}", err=True)


@retention.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--org", help="Only events of this organization.")
@click.option("--since", help="Only events from this time on.")
@click.option("--until", help="Only events before this time.")
@with_connection
def hold(connection: Connection, name: str, **options: str | None) -> None:
    """Place the legal hold NAME: what it covers is never dropped.

    \b
    Example:
      pgtrail retention hold case-17 --org acme --reason 'litigation 2026/17'
    """
    orgs = () if options["org"] is None else (options["org"],)
    lines = ever(connection, f"the hold {name}", orgs=orgs, since=options["since"], until=options["until"])
    connection.execute(QUERIES["place_hold"], {"name": name, **options})
    say(lines)


@retention.command()
@click.argument("name")
@with_connection
def release(connection: Connection, name: str) -> None:
    """Release the legal hold NAME.

    \b
    Example:
      pgtrail retention release case-17
    """
    connection.execute(QUERIES["release_hold"], {"name": name})
    click.echo(f"pgtrail: {printable(name)} is released", err=True)


@retention.command()
@click.option(
    "--archive",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Write each month here before it goes.",
)
@click.option("--without-archive", is_flag=True, help="Drop without a copy.")
@click.option(
    "--format", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True, help="Of the archive."
)
@click.option("--even-undelivered", is_flag=True, help="Also what a destination has not got; the event of it says so.")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped.")
@with_connection
def run(
    connection: Connection,
    archive: Path | None,
    without_archive: bool,
    format: str,
    even_undelivered: bool,
    dry_run: bool,
) -> None:
    """Drop the months that are old enough, each archived first.

    A month goes whole or not at all: not before it is sealed, not past what a destination has not got, and never while
    a legal hold covers it. Exit status 1 if one was kept for such a reason.

    \b
    Example:
      pgtrail retention run --archive /mnt/archive
    """
    if (archive is None) == (not without_archive) and not dry_run:
        raise NotUnderstood("a month is archived before it is dropped", "give --archive FOLDER, or --without-archive")
    kept = 0
    for partition, _, events, reasons in list(_plan(connection, even_undelivered)):
        if reasons:
            kept += 1
            click.echo(f"pgtrail: kept {partition}: {printable('; '.join(reasons))}", err=True)
        elif dry_run:
            click.echo(partition)
        else:
            file, archived = write_archive(connection, partition, archive, format) if archive else (None, None)
            connection.execute(
                QUERIES["drop_partition"],
                {
                    "partition": partition,
                    "archive": file and file.name,
                    "sha256": file and archives.digest(file),
                    "even_undelivered": even_undelivered,
                    "before": None,
                    "events": archived,
                },
            )
            click.echo(partition)
            click.echo(
                f"pgtrail: dropped {partition}, {events:,} events{f', archived in {file}' if file else ''}", err=True
            )
    if kept:
        raise SystemExit(1)


def write_archive(connection: Connection, partition: str, folder: Path, format: str) -> tuple[Path, int]:
    """Write a month and its seals; the file of the events, and how many these are.

    :raises PgtrailError: it can't be written, or does not verify.
    """
    data = folder / f"{partition.replace('/', '_')}.{format}"
    plain = data.with_suffix(".csv")
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        month = month_of(connection, partition)
        with appearing(plain, private=True) as output:
            longest = _copy(connection, month, output)
        if data != plain:
            archives.csv_to_parquet(plain, data, longest)
            plain.unlink()
        with appearing(archives.seals_file(data), private=True) as output:
            for line in _seal_lines(connection, partition, month, archives.digest(data)):
                output.write(json.dumps(line).encode() + b"\n")
    _, problems = archives.verify(data)
    if problems:
        raise PgtrailError(
            f"{data} does not verify: {': '.join(problems[0])}", "look into it: pgtrail verify; nothing was dropped"
        )
    return data, month.events


def _copy(connection: Connection, month: Month, output: IO[bytes]) -> int:
    """The bytes of the longest row."""
    longest = 0
    query = sql.SQL(QUERIES["archived_events"]).format(begins=sql.Literal(month.begins), ends=sql.Literal(month.ends))
    with connection.cursor().copy(query) as rows:
        for chunk in rows:
            output.write(chunk)
            longest = max(longest, len(chunk))
    return longest


def _seal_lines(connection: Connection, partition: str, month: Month, digest: bytes) -> Iterator[dict[str, Any]]:
    yield {
        "archive": archives.VERSION,
        "partition": partition,
        "begins": month.begins.isoformat(),
        "ends": month.ends.isoformat(),
        "events": month.events,
        "sha256": digest.hex(),
    }
    for kind, type_, id_, salt in connection.execute(QUERIES["archived_salts"], {"partition": partition}):
        yield {"salt": salt.hex(), "kind": kind, "type": type_, "id": id_}
    for event_id, part, kept, salt in connection.execute(QUERIES["archived_parts"], {"partition": partition}):
        yield {"erased": event_id, "part": part, "commitment": kept.hex(), "salt": salt and salt.hex()}
    for text, seal_hash, ids, leaves, secret in connection.execute(
        QUERIES["archived_seals"], {"first": month.first_id, "last": month.last_id}
    ):
        yield {"seal": text, "hash": seal_hash.hex(), "ids": ids, "leaves": leaves.hex(), "secret": secret.hex()}


def _plan(connection: Connection, even_undelivered: bool) -> Iterator[tuple[str, Any, int, list[str]]]:
    yield from connection.execute(
        QUERIES["retention_plan"], {"even_undelivered": even_undelivered, "before": None}
    ).fetchall()
