"""``pgtrail status``."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from pgtrail import hub as nodes
from pgtrail import install as migrations
from pgtrail.connection import Connection
from pgtrail.details import behind
from pgtrail.errors import NotMigrated
from pgtrail_cli.database import dicts
from pgtrail_cli.options import with_connection
from pgtrail_cli.render import console, facts_table, local_time, plain_table, rows_table
from pgtrail_cli.streams import say

NODE_STYLES = {"streaming": "green", "copying": "cyan", "removed": "dim"}
Rows = Sequence[dict[str, Any]]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@with_connection
def status(connection: Connection, as_json: bool) -> None:
    """Show what is installed and tracked, and a hub's nodes.

    It connects to each node to see what has not arrived, what its replication slot holds, and its last seal.
    Exit status 1 if `pgtrail migrate` has something to do, or something is wrong with a node.

    \b
    Example:
      pgtrail status
      pgtrail status --json | jq .tables
    """
    present = migrations.installed(connection)
    (found,) = dicts(connection, "status")
    found = {"version": present.version, "current": present.current, **found}
    tables, retention, holds = (dicts(connection, query) for query in ("tables", "retention", "legal_holds"))
    asked = list(nodes.inspect_nodes(connection)) if found["is_hub"] else []
    if as_json:
        listed = {"tables": tables, "retention": retention, "legal_holds": holds}
        click.echo(json.dumps({**found, **listed, "nodes": [dataclasses.asdict(node) for node in asked]}, default=str))
    else:
        _print(_summary(found, retention))
        _print(_table(tables, "table", "resource", "category", "org", "label", "ignore", "secret", "rules"))
        _print(_table(holds, "hold", "org", "since", "until", "reason"))
        _print(_nodes(asked))
    for node in asked:
        for problem in node.problems:
            say(f"{node.name}: {problem}")
    if not present.current:
        raise NotMigrated("this database is not at this version of pgtrail", "run: pgtrail migrate")
    if any(node.problems for node in asked):
        raise SystemExit(1)


def _print(table: Table) -> None:
    if table.row_count:
        console().print(table)
        console().print()


def _summary(found: dict[str, Any], retention: Rows) -> Table:
    first, last = (local_time(found[key]) for key in ("first_event_at", "last_event_at"))
    spilled = ", rows in the default one" if found["default_partition_used"] else ""
    return facts_table(
        {
            "database": f"{found['database']}, PostgreSQL {found['server']}{', a hub' if found['is_hub'] else ''}",
            "pgtrail": f"{found['version']}, {'current' if found['current'] else 'differs from this program'}",
            "tracked tables": found["tracked_tables"],
            "events": f"{first} to {last}" if first else "none yet",
            "kept": list(_kept(retention)),
            "partitions": f"{found['partitions']}, until {local_time(found['partitions_until'])}{spilled}",
            "destinations": f"{found['destinations_active']} active, {found['destinations_paused']} paused",
        }
    )


def _kept(retention: Rows) -> Iterator[str]:
    if not any(row["category"] is None for row in retention):
        yield "forever"
    for row in retention:
        yield f"{row['category']}: {row['keep']}" if row["category"] else row["keep"]


def _table(rows: Rows, *names: str) -> Table:
    table = rows_table(rows, {name.capitalize(): name for name in names})
    table.columns[0].no_wrap = True
    return table


def _nodes(asked: Sequence[nodes.Node]) -> Table:
    table = plain_table("Node", "State", "Behind", "Slot holds", "Last seal")
    for node in asked:
        table.add_row(
            node.name,
            Text(node.state, style=NODE_STYLES.get(node.state, "red")),
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
