"""``pgtrail destination …``: how it fares, and what is changed. The rest is in ``add``, ``ping`` and ``resend``."""

import json
from datetime import timedelta
from typing import Any

import click
from rich.text import Text

from pgtrail_cli.commands.add import hand_over, token_from_stdin
from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.lazy import LazyGroup
from pgtrail_cli.params import Number
from pgtrail_cli.render import behind, console, local_time, plain_table, printable

STYLES = {"active": "green", "paused": "dim", "needs_attention": "red", "suspended": "red"}


@click.group(
    cls=LazyGroup,
    places={
        "add": "add:add",
        "dead-letters": "resend:dead_letters",
        "redrive": "resend:redrive",
        "replay": "resend:replay",
        "test": "ping:test",
    },
)
def destination() -> None:
    """Where events are forwarded: add, list, show, test, pause, replay …

    \b
    Example:
      pgtrail destination add siem --url https://siem.example.com/hooks/audit
    """


@destination.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_connection
def list_destinations(connection: Connection, as_json: bool) -> None:
    """List the destinations: state, how far behind, the last error.

    \b
    Example:
      pgtrail destination list
    """
    rows = _dicts(connection, "destinations")
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=str))
        return
    table = plain_table("Name", "Format", "State", "Behind", "Dead", "Last success", "Next try", "Only", "Last error")
    for row in rows:
        table.add_row(
            row["name"],
            row["format"],
            Text(row["state"], style=STYLES.get(row["state"], "yellow")),
            behind(row["events_behind"], row["seconds_behind"]),
            str(row["dead_letters"] or ""),
            local_time(row["last_success_at"]),
            local_time(row["retry_at"]),
            printable(", ".join(part for key in ("categories", "actions", "orgs") for part in row[key] or ())),
            printable(row["last_error"] or ""),
        )
    if rows:
        console().print(table)
    else:
        click.echo("pgtrail: no destinations yet (pgtrail destination add NAME --url https://…)", err=True)


@destination.command()
@click.argument("name")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many attempts.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the destination and its attempts.")
@with_connection
def show(connection: Connection, name: str, limit: int, as_json: bool) -> None:
    """Show NAME in full: settings, state, replays, and the last attempts.

    \b
    Example:
      pgtrail destination show siem
    """
    (settings,) = _dicts(connection, "destination", name=name)
    attempts = _dicts(connection, "attempts", name=name, limit=limit)
    if as_json:
        click.echo(json.dumps({**settings, "attempts": attempts}, default=str))
        return
    table = plain_table("", "")
    table.show_header = False
    for key, value in settings.items():
        if value not in (None, [], False):
            table.add_row(key.replace("_", " "), printable(_shown(value)))
    console().print(table)
    if not attempts:
        click.echo("pgtrail: no attempts yet (is a worker running? pgtrail forward)", err=True)
        return
    table = plain_table("Attempted", "Delivered", "Events", "Dead", "Status", "Error", "Next try", "Worker")
    for row in attempts:
        first, last = row["first_event_id"], row["last_event_id"]
        table.add_row(
            local_time(row["attempted_at"]) + (" (replay)" if row["replay_id"] else ""),
            str(row["delivered"]),
            f"{first} to {last}" if first != last else str(first or row["failed_event_id"] or ""),
            str(row["dead_letters"] or ""),
            str(row["status"] or ""),
            printable(row["error"] or ""),
            local_time(row["retry_at"]),
            printable(row["worker"]),
        )
    console().print()
    console().print(table)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return local_time(value) if hasattr(value, "astimezone") else str(value)


def _dicts(connection: Connection, query: str, **parameters: Any) -> list[dict[str, Any]]:
    cursor = connection.execute(QUERIES[query], parameters)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@destination.command()
@click.argument("name")
@with_connection
def pause(connection: Connection, name: str) -> None:
    """Stop sending to NAME. Nothing is lost: resume goes on from here.

    \b
    Example:
      pgtrail destination pause siem
    """
    connection.execute(QUERIES["pause_destination"], {"name": name, "paused": True})
    click.echo(f"pgtrail: {name} is paused; events wait for it", err=True)


@destination.command()
@click.argument("name")
@with_connection
def resume(connection: Connection, name: str) -> None:
    """Go on sending to NAME from where it was, and try at once.

    \b
    Example:
      pgtrail destination resume siem
    """
    connection.execute(QUERIES["pause_destination"], {"name": name, "paused": False})
    click.echo(f"pgtrail: {name} goes on from where it was", err=True)


@destination.command("rotate-secret")
@click.argument("name")
@click.option(
    "--overlap",
    type=Number(0, 720),
    default=24,
    show_default=True,
    help="Hours for which the old secret signs too.",
)
@with_connection
def rotate_secret(connection: Connection, name: str, overlap: float) -> None:
    """Give NAME a new signing secret, on stdout, this once. The old one signs beside it until the overlap is over.

    \b
    Example:
      pgtrail destination rotate-secret siem
    """
    row = connection.execute(QUERIES["rotate_secret"], {"name": name, "overlap": timedelta(hours=overlap)}).fetchone()
    assert row is not None
    click.echo(f"pgtrail: both secrets of {name} sign for {overlap:g} hours; give the receiver this one:", err=True)
    click.echo(row[0])


@destination.command("set-token")
@click.argument("name")
@with_connection
def set_token(connection: Connection, name: str) -> None:
    """Read a token for NAME from stdin and keep it in the database, in place of the one before.

    \b
    Example:
      pgtrail destination set-token splunk < token.txt
    """
    token = token_from_stdin()
    with connection.transaction():
        hand_over(connection, token)
        connection.execute(QUERIES["set_token"], {"name": name})
    click.echo(f"pgtrail: {name} has a new token", err=True)


@destination.command()
@click.argument("name")
@click.option("--since", help="Send everything from this time on again: 7d, 2026-11-01. Default: from now on.")
@click.confirmation_option("--yes", prompt="It forgets how far this destination had got. Begin anew?")
@with_connection
def rebase(connection: Connection, name: str, since: str | None, **_: Any) -> None:
    """Begin NAME anew in a database that was restored into another cluster.

    \b
    Example:
      pgtrail destination rebase siem --since 2d
    """
    connection.execute(QUERIES["rebase_destination"], {"name": name, "since": since})
    click.echo(
        f"pgtrail: {name} begins {f'with what occurred since {since}' if since else 'with the next event'}", err=True
    )


@destination.command()
@click.argument("name")
@click.option("--now", is_flag=True, help="At once, with whatever it has not got, its removal included.")
@click.confirmation_option("--yes", prompt="It forgets how far this destination has got. Remove it?")
@with_connection
def remove(connection: Connection, name: str, now: bool, **_: Any) -> None:
    """Remove NAME with its secrets and its place in the log. The events stay.

    It still gets everything that was recorded until now, and the event of its removal last.

    \b
    Example:
      pgtrail destination remove siem --yes
    """
    connection.execute(QUERIES["remove_destination"], {"name": name, "now": now})
    click.echo(f"pgtrail: removed {name}{'' if now else ', once it has got the event that says so'}", err=True)
