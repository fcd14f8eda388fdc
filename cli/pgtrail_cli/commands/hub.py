"""``pgtrail hub …``: one log over many databases."""

import click

from pgtrail import hub as nodes
from pgtrail.connection import Connection, check_obstacles, open_connection
from pgtrail_cli.options import check_dsn, with_connection
from pgtrail_cli.streams import say

hub_option = click.option(
    "--hub",
    "hub_dsn",
    envvar="PGTRAIL_DSN",
    default="",
    callback=check_dsn,
    help="The hub's connection string. Default: PGTRAIL_DSN, else PGHOST, PGUSER, PGSERVICE …",
)
node_option = click.option(
    "--dsn", "node_dsn", callback=check_dsn, help="The node's connection string, as a superuser."
)


@click.group()
def hub() -> None:
    """Gather the events of many databases in one log.

    A hub gets what its nodes record, by logical replication. `status` at the hub shows how far each node is.

    \b
    Example:
      pgtrail hub init && pgtrail hub add eu1 --dsn 'host=eu1 dbname=gateway user=postgres'
    """


@hub.command()
@with_connection
def init(connection: Connection) -> None:
    """Make this database a hub.

    It must have pgtrail (pgtrail migrate) and may have tracked tables of its own. It can't be undone.

    \b
    Example:
      pgtrail hub init
    """
    check_obstacles(connection, "hub_problems", "this server can't have a hub: ")
    say("this database is a hub" if connection.call("audit.init_hub") else "it was a hub already")


@hub.command()
@click.argument("name")
@node_option
@click.option(
    "--from-hub",
    default="",
    callback=check_dsn,
    help="What differs when the hub connects: 'host=10.0.0.7 sslmode=verify-full sslrootcert=system'.",
)
@hub_option
def add(name: str, node_dsn: str | None, from_hub: str, hub_dsn: str) -> None:
    """Gather the events of a database, which is then called NAME.

    Existing events are copied first. At the node it creates the publication pgtrail, a slot, and a role that may only
    replicate and read what is published. The node needs wal_level = logical, and a line for that role in its
    pg_hba.conf.

    \b
    Example:
      pgtrail hub add eu1 --dsn 'host=eu1 dbname=gateway user=postgres' --hub 'host=hub dbname=audit user=postgres'
    """
    if node_dsn is None:
        raise click.UsageError("say which database: --dsn 'host=… dbname=…'.")
    with open_connection(hub_dsn) as connection:
        nodes.add(connection, node_dsn, name, from_hub)
    say(f"{name} is being copied, and then followed: pgtrail status")


@hub.command()
@click.argument("name")
@node_option
@hub_option
def remove(name: str, node_dsn: str | None, hub_dsn: str) -> None:
    """Stop gathering the events of NAME; those gathered stay.

    NAME can be added again. Without --dsn nothing is done at the node: its slot keeps the write-ahead log for the hub
    until it is dropped there.

    \b
    Example:
      pgtrail hub remove eu1 --dsn 'host=eu1 dbname=gateway user=postgres'
    """
    with open_connection(hub_dsn) as connection:
        role = nodes.remove(connection, node_dsn, name)
    say(f"{name} is removed")
    if node_dsn is None:
        say(f"its slot still keeps the write-ahead log there: select audit.unpublish('{role}')")
