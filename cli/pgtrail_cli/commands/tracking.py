"""``pgtrail track``, ``untrack``, ``snapshot`` and ``tables``."""

import json

import click

from pgtrail_cli.connection import Connection, find_table, with_connection
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.owner import naming_owner
from pgtrail_cli.render import console, plain_table


@click.command()
@click.argument("table")
@click.option("--resource", help="What its events call a row: `key` gives key.created. Default: the table's name.")
@click.option("--category", help="The category of its events. Default: one named as the resource.")
@click.option("--org", metavar="COLUMN", help="What holds the organization: org_id, 'team_id -> public.team.org_id'.")
@click.option("--label", metavar="COLUMN", help="What people know a row by: name, 'user_id -> public.user.email'.")
@click.option("--ignore", metavar="COLUMN", multiple=True, help="Not audited: counters, updated_at; can be repeated.")
@click.option(
    "--secret",
    metavar="COLUMN[.PATH]",
    multiple=True,
    help="Recorded as [redacted]: pin, settings.key, 'value when key'.",
)
@click.option("--reveal", metavar="COLUMN", multiple=True, help="Looks secret by its name and is not; can be repeated.")
@click.option("--actor", metavar="COLUMN", help="Says who wrote a row, where nobody is claimed to be the actor.")
@click.option("--bulk", is_flag=True, help="Many rows are updated at once: record updates by statement.")
@click.option("--hot", is_flag=True, help="Updates of ignored columns alone cost nothing; see the guide for the price.")
@with_connection
def track(
    connection: Connection,
    table: str,
    resource: str | None,
    category: str | None,
    org: str | None,
    label: str | None,
    ignore: tuple[str, ...],
    secret: tuple[str, ...],
    reveal: tuple[str, ...],
    actor: str | None,
    bulk: bool,
    hot: bool,
) -> None:
    """Track TABLE: from now on every change to it is an event.

    Columns that look secret by their names are redacted; it says which. Call it again to change the settings.

    \b
    Example:
      pgtrail track public.api_key --resource key --category api_keys --org org_id --label name --ignore spend
    """
    with naming_owner(connection, table):
        connection.execute(
            QUERIES["track"],
            {
                "table": find_table(connection, table),
                "resource": resource,
                "category": category,
                "org": org,
                "label": label,
                "ignore": list(ignore),
                "secret": list(secret),
                "reveal": list(reveal),
                "actor": actor,
                "bulk": bulk,
                "hot": hot,
            },
        )
    click.echo(f"pgtrail: tracking {table}", err=True)


@click.command()
@click.argument("table")
@with_connection
def untrack(connection: Connection, table: str) -> None:
    """Stop tracking TABLE. Its events stay.

    \b
    Example:
      pgtrail untrack public.api_key
    """
    with naming_owner(connection, table), connection.transaction():
        connection.execute(QUERIES["untrack"], {"table": find_table(connection, table)})
    click.echo(f"pgtrail: no longer tracking {table}; its events stay", err=True)


@click.command()
@click.argument("tables", metavar="TABLE...", nargs=-1, required=True)
@with_connection
def snapshot(connection: Connection, tables: tuple[str, ...]) -> None:
    """Record the rows of tracked TABLEs as they are, so that the first change of each has a before.

    Each row of which the log has no event gives one, such as team.observed. In batches; no writer waits. What is
    interrupted can be started again and goes on where it ended.

    \b
    Example:
      pgtrail snapshot public.api_key public.team
    """
    for table in tables:
        with naming_owner(connection, table):
            found = find_table(connection, table)
            # (It commits after each batch.)
            row = connection.execute_as_given(QUERIES["snapshot_table"], {"table": found}).fetchone()
        assert row is not None
        click.echo(f"pgtrail: observed {row[0]:,} rows of {table}", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_connection
def tables(connection: Connection, as_json: bool) -> None:
    """List the tracked tables and what is ignored and redacted of them.

    \b
    Example:
      pgtrail tables
    """
    names = ("table", "resource", "category", "org", "label", "ignore", "secret", "rules")
    shown = plain_table(*(name.capitalize() for name in names))
    shown.columns[0].no_wrap = True
    for row in connection.execute(QUERIES["tables"]):
        if as_json:
            click.echo(json.dumps(dict(zip(names, row, strict=True))))
        else:
            shown.add_row(*(", ".join(cell) if isinstance(cell, list) else str(cell or "") for cell in row))
    if not as_json:
        console().print(shown)
