"""``pgtrail migrate`` and ``pgtrail status``."""

import click

from pgtrail_cli import migrations
from pgtrail_cli.connection import Connection, dsn_option, with_connection
from pgtrail_cli.errors import NotMigrated
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.render import console, local_time, plain_table

WITHOUT_EVENT_TRIGGERS = (
    "no event triggers: only a superuser can create them, so ALTER, DROP and RENAME of tracked tables, and CREATE or "
    "ATTACH of their partitions and children, are not followed as they happen. Call `select audit.recompile()` at the "
    "end of each migration of yours: until then new columns are not recorded, and pgtrail doctor says what is out of "
    "date. That a trigger was switched off, or a table altered, is recorded then or not at all. To have them: run "
    "pgtrail migrate once as a superuser"
)


@click.command()
@dsn_option
def migrate(dsn: str) -> None:
    """Install pgtrail in a database, or bring it to this version.

    All or nothing; a second run changes nothing; two at once wait for each other. The first needs a superuser or a
    role with CREATEROLE that may create schemas; without a superuser no event trigger follows your ALTER TABLEs.

    \b
    Example:
      pgtrail migrate --dsn postgresql://postgres@localhost/app
    """
    done = migrations.migrate(dsn)
    if not done.replaced:
        click.echo("pgtrail: up to date, nothing changed", err=True)
    for name in done.applied:
        click.echo(f"pgtrail: applied migrations/{name}.sql", err=True)
    if done.replaced:
        click.echo(f"pgtrail: installed sql/, compiled {done.compiled} tracked tables", err=True)
    if not done.follows_ddl:
        click.echo(f"pgtrail: {WITHOUT_EVENT_TRIGGERS}", err=True)


@click.command()
@with_connection
def status(connection: Connection) -> None:
    """Show what is installed and how far it is: version, tables, partitions, destinations.

    Exit status 1 where `pgtrail migrate` has something to do.

    \b
    Example:
      pgtrail status
    """
    present = migrations.installed(connection)
    row = connection.execute(QUERIES["status"]).fetchone()
    assert row is not None
    database, server, tables, partitions, ends, spilled, active, paused, first, last = row
    table = plain_table("", "")
    table.show_header = False
    for name, value in (
        ("database", f"{database}, PostgreSQL {server}"),
        ("pgtrail", f"{present.version}, {'as installed here' if present.current else 'of other files than here'}"),
        ("tracked tables", str(tables)),
        ("events", f"{local_time(first)} to {local_time(last)}" if first else "none yet"),
        ("partitions", f"{partitions}, made until {local_time(ends)}{', rows in the default one' if spilled else ''}"),
        ("destinations", f"{active} active, {paused} paused"),
    ):
        table.add_row(name, value)
    console().print(table)
    if not present.current:
        raise NotMigrated("this database is not at this version of pgtrail", "run: pgtrail migrate")
