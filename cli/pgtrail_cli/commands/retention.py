"""``pgtrail retention …``: for how long events are kept, and dropping the months that are old enough."""

from typing import Any

import click

from pgtrail_cli.archive.moving import old_months
from pgtrail_cli.commands.archive import drop_months, working_options
from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import NotUnderstood
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.matching import ever, say
from pgtrail_cli.render import console, local_time, plain_table, printable


@click.group()
def retention() -> None:
    """For how long events are kept. Nothing is dropped but by `retention run`.

    \b
    Example:
      pgtrail retention set 400d && pgtrail retention run --archive /mnt/archive
    """


@retention.command("set")
@click.argument("keep")
@click.option("--category", help="Only for this category. Default: for all that have no setting of their own.")
@with_connection
def set_(connection: Connection, keep: str, category: str | None) -> None:
    """Keep events for KEEP: 400d, 13 months, 7 years.

    \b
    Example:
      pgtrail retention set 400d
      pgtrail retention set '7 years' --category audit
    """
    connection.execute(QUERIES["set_retention"], {"keep": keep, "category": category})
    click.echo(f"pgtrail: events{f' of {category}' if category else ''} are kept for {printable(keep)}", err=True)


@retention.command()
@click.option("--category", help="Only for this category.")
@with_connection
def clear(connection: Connection, category: str | None) -> None:
    """Keep events for ever, or (--category) for as long as all others.

    \b
    Example:
      pgtrail retention clear --category audit
    """
    connection.execute(QUERIES["clear_retention"], {"category": category})


@retention.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--org", help="Only events of this organization.")
@click.option("--since", help="Only events from this time on.")
@click.option("--until", help="Only events before this time.")
@with_connection
def hold(connection: Connection, name: str, **options: str | None) -> None:
    """Place the legal hold NAME: what it covers is not dropped, however old.

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
@with_connection
def show(connection: Connection) -> None:
    """Show what is kept for how long, the legal holds, and which months are old enough to be dropped.

    \b
    Example:
      pgtrail retention show
    """
    for query, titles in (
        ("retention", ("Category", "Keep")),
        ("legal_holds", ("Hold", "Organization", "Since", "Until", "Reason")),
    ):
        rows = connection.execute(QUERIES[query]).fetchall()
        if rows:
            table = plain_table(*titles)
            for row in rows:
                table.add_row(*(printable(_shown(cell)) for cell in row))
            console().print(table)
            console().print()
    table = plain_table("Month", "Begins", "Events", "Kept because")
    months = old_months(connection, None)
    for partition, begins, events, reasons in months:
        table.add_row(
            partition, local_time(begins), f"{events:,}", printable("; ".join(reasons) or "it can be dropped")
        )
    if months:
        console().print(table)
    else:
        click.echo("pgtrail: no month is old enough to be dropped", err=True)


@retention.command()
@click.option("--archive", metavar="LOCATION", help="Archive each month here before it goes, as pgtrail archive does.")
@click.option("--without-archive", is_flag=True, help="Drop without a copy.")
@click.option("--even-undelivered", is_flag=True, help="Also what a destination has not got; the event of it says so.")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped.")
@working_options
@with_connection
def run(connection: Connection, archive: str | None, without_archive: bool, **options: Any) -> None:
    """Drop the months that are old enough, each archived with its seals first.

    A month goes whole or not at all: not before it is sealed, not past what a destination has not got, and never while
    a legal hold covers it. Exit status 1 if one was kept for such a reason.

    \b
    Example:
      pgtrail retention run --archive /mnt/archive
    """
    if (archive is None) == (not without_archive) and not options["dry_run"]:
        raise NotUnderstood("a month is archived before it is dropped", "give --archive LOCATION, or --without-archive")
    drop_months(connection, archive, before=None, **options)


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return local_time(cell) if hasattr(cell, "astimezone") else str(cell)
