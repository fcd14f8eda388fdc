"""``pgtrail destination replay``, ``dead-letters`` and ``redrive``: events that are sent once more."""

import json

import click

from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.filters import QUERIES, event_ids
from pgtrail_cli.render import console, local_time, plain_table, printable

reason_option = click.option("--reason", required=True, help="Why; it is recorded.")
event_option = click.option("--event", "events", multiple=True, help="Only this event; can be repeated.")


@click.command()
@click.argument("name")
@click.option("--since", help="Only from this time on: 7d, yesterday, 2026-11-23, an ISO time.")
@click.option("--until", help="Only before this time.")
@event_option
@reason_option
@with_connection
def replay(
    connection: Connection, name: str, since: str | None, until: str | None, events: tuple[str, ...], reason: str
) -> None:
    """Send events to NAME once more, under the same ids, beside the new ones. Its filters hold.

    \b
    Example:
      pgtrail destination replay siem --since 2026-11-20 --until 2026-11-21 --reason 'index lost, INC-4711'
    """
    connection.execute(
        QUERIES["replay"],
        {"name": name, "since": since, "until": until, "event_ids": event_ids(connection, events), "reason": reason},
    )
    click.echo(f"pgtrail: the worker sends them to {name} again: pgtrail destination show {name}", err=True)


@click.command("dead-letters")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_connection
def dead_letters(connection: Connection, name: str, as_json: bool) -> None:
    """List the events that NAME refused, and why.

    \b
    Example:
      pgtrail destination dead-letters siem
    """
    rows = connection.execute(QUERIES["dead_letters"], {"name": name}).fetchall()
    if as_json:
        keys = ("event_id", "action", "resource", "status", "error", "attempts", "first_at", "last_at")
        for row in rows:
            click.echo(json.dumps(dict(zip(keys, row, strict=True)), default=str))
        return
    if not rows:
        click.echo(f"pgtrail: {name} has refused nothing", err=True)
        return
    table = plain_table("Event", "Action", "Resource", "Status", "Error", "Refused", "Last")
    for event_id, action, resource, status, error, attempts, _, last_at in rows:
        table.add_row(
            str(event_id),
            printable(action or ""),
            printable(resource or ""),
            str(status or ""),
            printable(error),
            str(attempts),
            local_time(last_at),
        )
    console().print(table)


@click.command()
@click.argument("name")
@event_option
@reason_option
@with_connection
def redrive(connection: Connection, name: str, events: tuple[str, ...], reason: str) -> None:
    """Try the dead letters of NAME again: all of them, or those named.

    \b
    Example:
      pgtrail destination redrive siem --reason 'mapping mended'
    """
    row = connection.execute(
        QUERIES["redrive"], {"name": name, "reason": reason, "event_ids": event_ids(connection, events)}
    ).fetchone()
    assert row is not None
    click.echo(f"pgtrail: {row[0]} dead letters of {name} are tried again", err=True)
