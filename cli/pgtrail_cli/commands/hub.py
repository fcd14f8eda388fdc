"""``pgtrail hub …``: one log over many databases."""

import dataclasses
import json
from typing import Any

import click
from rich.text import Text

from pgtrail_cli import nodes
from pgtrail_cli.connection import Connection, check_dsn, dsn_option, open_connection, with_connection
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.render import behind, console, local_time, plain_table, printable

STYLES = {"streaming": "green", "copying": "cyan", "removed": "dim"}

hub_option = click.option(
    "--hub",
    "hub_dsn",
    envvar="PGTRAIL_DSN",
    default="",
    callback=check_dsn,
    help="The hub's connection string; without it PGTRAIL_DSN, then PGHOST, PGUSER, PGSERVICE … hold.",
)
node_option = click.option(
    "--dsn", "node_dsn", callback=check_dsn, help="The node's connection string, as a superuser of its."
)


@click.group()
def hub() -> None:
    """One log over many databases: a hub gathers what its nodes record, by logical replication.

    \b
    Example:
      pgtrail hub init && pgtrail hub add eu1 --dsn 'host=eu1 dbname=gateway user=postgres'
    """


@hub.command()
@with_connection
def init(connection: Connection) -> None:
    """Make this database a hub. It must have pgtrail (pgtrail migrate) and may have tracked tables of its own.

    \b
    Example:
      pgtrail hub init
    """
    nodes.check(connection, "hub_problems", "this server can't have a hub")
    row = connection.execute(QUERIES["init_hub"]).fetchone()
    assert row is not None
    click.echo(f"pgtrail: {'this database is a hub' if row[0] else 'it was a hub already'}", err=True)


@hub.command()
@click.argument("name")
@node_option
@click.option(
    "--from-hub",
    default="",
    callback=check_dsn,
    help="What differs where the hub connects from: 'host=10.0.0.7 sslmode=verify-full sslrootcert=system'.",
)
@hub_option
def add(name: str, node_dsn: str | None, from_hub: str, hub_dsn: str) -> None:
    """Gather the events of a database, which is called NAME from now on: what it holds, then what it records.

    At the node it makes the publication pgtrail, a slot, and a role that may replicate and read what is published,
    and nothing else. The node needs wal_level = logical, and the hub's role let in in its pg_hba.conf.

    \b
    Example:
      pgtrail hub add eu1 --dsn 'host=eu1 dbname=gateway user=postgres' --hub 'host=hub dbname=audit user=postgres'
    """
    if node_dsn is None:
        raise click.UsageError("say which database: --dsn 'host=… dbname=…'.")
    with open_connection(hub_dsn) as connection:
        nodes.add(connection, node_dsn, name, from_hub)
    click.echo(f"pgtrail: {name} is being copied, and then followed: pgtrail hub status", err=True)


@hub.command()
@click.argument("name")
@node_option
@hub_option
def remove(name: str, node_dsn: str | None, hub_dsn: str) -> None:
    """Gather the events of NAME no more. Those that are here stay, under their names; NAME can be added again.

    Without --dsn nothing is done at the node: its slot keeps the write-ahead log for the hub until it is dropped there.

    \b
    Example:
      pgtrail hub remove eu1 --dsn 'host=eu1 dbname=gateway user=postgres'
    """
    with open_connection(hub_dsn) as connection:
        role = nodes.remove(connection, node_dsn, name)
    click.echo(f"pgtrail: {name} is removed", err=True)
    if node_dsn is None:
        click.echo(
            f"pgtrail: its slot still keeps the write-ahead log there: select audit.unpublish('{role}')", err=True
        )


@hub.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a node.")
@dsn_option
def status(dsn: str, as_json: bool) -> None:
    """Show how far each node has got: what has not arrived, what its slot holds, its last seal, and what is wrong.

    Exit status 1 if anything is.

    \b
    Example:
      pgtrail hub status
    """
    with open_connection(dsn) as connection:
        connection.execute(QUERIES["check_is_hub"])
        found = list(nodes.look(connection))
    if as_json:
        for node in found:
            click.echo(json.dumps(dataclasses.asdict(node), default=str))
    elif found:
        console().print(_table(found))
    else:
        click.echo("pgtrail: no nodes yet (pgtrail hub add NAME --dsn …)", err=True)
    for node in found:
        for problem in node.problems:
            click.echo(printable(f"pgtrail: {node.name}: {problem}"), err=True)
    if any(node.problems for node in found):
        raise SystemExit(1)


def _table(found: list[nodes.Node]) -> Any:
    table = plain_table("Node", "State", "Behind", "Slot holds", "Last seal")
    for node in found:
        table.add_row(
            node.name,
            Text(node.state, style=STYLES.get(node.state, "red")),
            "" if node.events is None else behind(node.events, node.seconds),
            "" if node.slot_bytes is None else _size(node.slot_bytes),
            f"{node.last_seal}  {local_time(node.last_seal_at)}" if node.last_seal else "",
        )
    return table


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
