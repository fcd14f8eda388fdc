"""``pgtrail log`` and ``pgtrail show``."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import click
import psycopg
from rich.table import Table
from rich.text import Text

from pgtrail.connection import Connection, open_connection
from pgtrail.details import MAX_VALUE_CHARS, SCAN_LIMIT, parse_json, value
from pgtrail.export import Filter, as_jsonb
from pgtrail.moments import from_json, shown
from pgtrail.queries import load
from pgtrail.text import printable
from pgtrail_cli.commands import read_archive
from pgtrail_cli.commands.log_follow import Follower
from pgtrail_cli.database import QUERIES, event_id, no_event
from pgtrail_cli.filters import archive_option, as_filter, filter_options
from pgtrail_cli.log_table import print_rows
from pgtrail_cli.matching import say_visible_from, warn_unmatched
from pgtrail_cli.options import dsn_option, with_connection
from pgtrail_cli.render import console, facts_table, local_time, plain_table
from pgtrail_cli.streams import say

SHARED_QUERIES = load("pgtrail")
Rows = Sequence[tuple[Any, ...]]
Printer = Callable[[Connection, Rows], None]


@click.command()
@filter_options
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many, newest first.")
@click.option("-f", "--follow", is_flag=True, help="Print the last events, then new ones as they are committed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@archive_option
@dsn_option
def log(dsn: str, archive: str | None, limit: int, follow: bool, as_json: bool, **options: Any) -> None:
    """Show who did what, when, and what changed.

    A filter that no index serves (part of a name) is looked for in the newest 1,500 events, and it says so; with
    --since, in all since then.

    \b
    Example:
      pgtrail log --category api_keys --category members --since 7d
      pgtrail log --action 'key.*' --actor '*@acme.com' --json
      pgtrail log -f
      pgtrail log --archive /mnt/archive --org acme --since 2025-01-01
    """
    if archive is not None:
        if follow:
            raise click.UsageError("an archive does not grow: --archive and --follow exclude each other.")
        read_archive.log(archive, limit, options, "json" if as_json else "table")
        return
    with open_connection(dsn) as connection:
        show = _print_json if as_json else _print_table
        print_log = _follow_log if follow else _print_log
        print_log(connection, as_filter(**options), limit, show, as_json)


def _print_log(connection: Connection, wanted: Filter, limit: int, show: Printer, as_json: bool) -> None:
    found, summary = search(connection, wanted, limit, as_json)
    show(connection, found)
    horizon = summary["horizon"]
    if horizon is not None:
        say(
            f"looked at {SCAN_LIMIT:,} events, back to {local_time(from_json(horizon['occurred_at']))}; "
            "to look further back, say how far: --since"
        )
    elif len(found) < limit:
        say_visible_from(summary["visible_from"])
    if not found:
        say(f"no events match{'' if horizon is None else ' among these'}")
        warn_unmatched(summary["unmatched"])


def _follow_log(connection: Connection, wanted: Filter, limit: int, show: Printer, as_json: bool) -> None:
    # What is committed between the two would be printed twice.
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        follower = Follower(connection, wanted, as_json)
        found, _ = search(connection, wanted, limit, as_json)
    show(connection, found[::-1])
    with contextlib.suppress(KeyboardInterrupt):
        for arrived in follower.events():
            show(connection, arrived)


def print_newest(connection: Connection, limit: int) -> None:
    """The newest events as a table."""
    _print_table(connection, search(connection, {}, limit)[0])


def search(connection: Connection, wanted: Filter, limit: int, as_json: bool = False) -> tuple[Rows, dict[str, Any]]:
    """The newest events that pass, newest first, and the summary of the search."""
    *found, last = connection.execute(
        QUERIES["search"],
        {
            "filter": as_jsonb(wanted),
            "limit": limit,
            # (Who says since when is ready to wait.)
            "scan_limit": None if "since" in wanted else SCAN_LIMIT,
            "as_json": as_json,
            "max_chars": MAX_VALUE_CHARS + 1,
        },
    ).fetchall()
    *_, unmatched, summary = last
    return found, {**summary, "unmatched": unmatched}


def _print_table(_: Connection, found: Rows) -> None:
    print_rows(row[:8] for row in found)


def _print_json(_: Connection, found: Rows) -> None:
    for row in found:
        click.echo(row[8])


@click.command()
@click.argument("name", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="The event as one JSON object.")
@with_connection
def show(connection: Connection, name: str, as_json: bool) -> None:
    """Show event ID field by field.

    Changed fields are marked. On a hub, event 42 of node eu1 is eu1:42.

    \b
    Example:
      pgtrail show 42
    """
    found = event_id(connection, name)
    if not as_json:
        print_event(connection, found)
        return
    row = connection.execute(SHARED_QUERIES["event_json"], {"id": found}).fetchone()
    if row is None:
        raise no_event(name)
    click.echo(row[0])


def print_event(connection: Connection, event_id: int) -> None:
    """One event with its fields.

    :raises PgtrailError: there is none, or this role may not see it.
    """
    cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
    event = cursor.execute(SHARED_QUERIES["event"], {"id": event_id}).fetchone()
    if event is None:
        raise no_event(str(event_id))
    screen = console()
    screen.print(_heading(event))
    screen.print(_diff(connection.execute(SHARED_QUERIES["diff"], {"id": event_id}).fetchall(), event["operation"]))


def _heading(event: dict[str, Any]) -> Table:
    facts = {
        "event": f"{event['name']}  {event['action']}  ({event['category_label']})",
        "node": event["node"],
        "when": f"{local_time(event['occurred_at'])}  ({shown(event['occurred_at'], '%Z')})",
        "actor": _joined(event["actor_label"], event["actor_id"], event["actor_type"], event["actor_ip"]),
        "resource": _joined(event["resource_type"], event["resource_label"], event["resource_id"]),
        "organization": _joined(event["org_label"], event["org_id"]),
        "reason": event["reason"],
        "request": _joined(event["request_id"], event["user_agent"]),
        "connection": _joined(event["db_role"], event["client_addr"] or "local socket", event["application_name"]),
        "change": _joined(event["operation"], event["table_name"]),
        "imported": event["imported_from"] and f"from {event['imported_from']}",
    }
    return facts_table(facts)


def _joined(*parts: str | None) -> str:
    return "  ".join(dict.fromkeys(part for part in parts if part))


def _diff(fields: Sequence[tuple[Any, ...]], operation: str | None) -> Table:
    sides = {"Before": ("red", operation != "INSERT"), "After": ("green", operation in ("INSERT", "UPDATE"))}
    # Of a row that came or went there is only one side.
    shown = [(name, style) for name, (style, there) in sides.items() if there]
    table = plain_table("", "Field", *(name for name, _ in shown))
    for field, before, after, changed in fields:
        values = {"Before": before, "After": after}
        table.add_row(
            Text("●" if changed else " ", style="yellow"),
            Text(printable(field), style="bold" if changed else "dim"),
            *(Text(value(parse_json(values[name])), style=style if changed else "dim") for name, style in shown),
        )
    return table
