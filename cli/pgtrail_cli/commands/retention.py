"""``pgtrail retention …``: how long events are kept."""

from typing import Any

import click

from pgtrail.connection import Connection
from pgtrail.errors import InvalidInput
from pgtrail_cli.commands.archive import drop_months, working_options
from pgtrail_cli.database import QUERIES
from pgtrail_cli.matching import ever
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say


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
        raise InvalidInput("`default` is for a category", "give --category, or keep events forever")
    if keep == "default" or (keep == "forever" and category is None):
        connection.call("audit.clear_retention", category)
    else:
        # (Postgres 15 has no infinite interval.)
        connection.call("audit.set_retention", "1000 years" if keep == "forever" else keep, category)
    meant = {"forever": "forever", "default": "for as long as all others"}.get(keep, f"for {keep}")
    say(f"events{f' of {category}' if category else ''} are kept {meant}")


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
    for line in lines:
        say(line)


@retention.command()
@click.argument("name")
@with_connection
def release(connection: Connection, name: str) -> None:
    """Release the legal hold NAME.

    \b
    Example:
      pgtrail retention release case-17
    """
    connection.call("audit.release_hold", name)
    say(f"{name} is released")


@retention.command()
@click.option("--archive", metavar="LOCATION", help="Archive each month here first, as pgtrail archive does.")
@click.option("--without-archive", is_flag=True, help="Drop without a copy.")
@click.option(
    "--include-undelivered",
    is_flag=True,
    help="Even if a destination has not received everything; it is recorded.",
)
@click.option("--dry-run", is_flag=True, help="List what would be dropped, and change nothing.")
@working_options
@with_connection
def run(connection: Connection, archive: str | None, without_archive: bool, **options: Any) -> None:
    """Drop the months that are old enough, each archived first.

    A month is dropped as a whole, once it is sealed and every destination has received it, and never while a legal hold
    covers it. Exit status 1 if a month was kept.

    \b
    Example:
      pgtrail retention run --archive /mnt/archive
    """
    if (archive is None) == (not without_archive) and not options["dry_run"]:
        raise InvalidInput("a month is archived before it is dropped", "give --archive LOCATION, or --without-archive")
    drop_months(connection, archive, before=None, **options)
