"""``pgtrail track``, ``untrack`` and ``baseline``."""

from typing import Any

import click

from pgtrail.connection import Connection, find_table
from pgtrail.owner import naming_owner
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say


@click.command()
@click.argument("table")
@click.option("--resource", help="What its events call a row: `key` gives key.created. Default: the table's name.")
@click.option("--category", help="The category of its events. Default: named as the resource.")
@click.option("--org", metavar="COLUMN", help="The organization: org_id, or a path: 'team_id -> public.team.org_id'.")
@click.option(
    "--label", metavar="COLUMN", help="What people call a row: name, or a path: 'user_id -> public.user.email'."
)
@click.option(
    "--ignore", metavar="COLUMN", multiple=True, help="A column that is not audited: a counter; can be repeated."
)
@click.option(
    "--secret",
    metavar="COLUMN[.PATH]",
    multiple=True,
    help="Record as [redacted]: pin, settings.key, 'value when key'; can be repeated.",
)
@click.option("--reveal", metavar="COLUMN", multiple=True, help="A column that only looks secret; can be repeated.")
@click.option("--actor", metavar="COLUMN", help="The column with who wrote the row, for transactions without an actor.")
@click.option("--bulk", is_flag=True, help="Record updates by statement: cheaper if one updates many rows.")
@click.option("--hot", is_flag=True, help="Make updates of ignored columns free; see the guide for what it costs.")
@with_connection
def track(connection: Connection, table: str, **options: Any) -> None:
    """Track TABLE: record every change to it as an event.

    Columns whose names look secret are redacted; it says which. Run it again to change the settings.

    \b
    Example:
      pgtrail track public.api_key --resource key --category api_keys --org org_id --label name --ignore spend
    """
    with naming_owner(connection, table):
        # (A tuple would be a composite value.)
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
        connection.call("audit.track", find_table(connection, table), **settings)
    say(f"tracking {table}")


@click.command()
@click.argument("table")
@with_connection
def untrack(connection: Connection, table: str) -> None:
    """Stop tracking TABLE; its events stay.

    \b
    Example:
      pgtrail untrack public.api_key
    """
    with naming_owner(connection, table), connection.transaction():
        connection.call("audit.untrack", find_table(connection, table))
    say(f"no longer tracking {table}; its events stay")


@click.command()
@click.argument("tables", metavar="TABLE...", nargs=-1, required=True)
@with_connection
def baseline(connection: Connection, tables: tuple[str, ...]) -> None:
    """Record the rows that tracked TABLEs have now.

    Each row that has no event yet gets one, such as team.observed. Rows are recorded in batches, and no writer waits.
    If it is interrupted, run it again: it continues where it stopped.

    \b
    Example:
      pgtrail baseline public.api_key public.team
    """
    for table in tables:
        with naming_owner(connection, table):
            found = find_table(connection, table)
            # (It commits after each batch.)
            (recorded,) = connection.execute_as_given(QUERIES["record_baseline"], {"table": found}).fetchone() or (0,)
        say(f"recorded {recorded:,} rows of {table}")
