"""``pgtrail destination …``, but for ``add``, ``test``, ``replay`` and ``redrive``."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click
from rich.text import Text

from pgtrail.connection import Connection
from pgtrail.details import behind
from pgtrail_cli.commands.destination_add import hand_over, token_from_stdin
from pgtrail_cli.database import QUERIES, dicts
from pgtrail_cli.lazy import LazyGroup
from pgtrail_cli.options import with_connection
from pgtrail_cli.params import Number
from pgtrail_cli.render import console, facts_table, local_time, rows_table
from pgtrail_cli.streams import say

DEAD_LETTERS_SHOWN = 20
STATUS_COLUMNS = {
    "Name": "name", "Format": "format", "State": "state", "Behind": "behind", "Dead": "dead_letters",
    "Last success": "last_success_at", "Next try": "retry_at", "Only": "only", "Last error": "last_error",
}  # fmt: skip
ATTEMPT_COLUMNS = {
    "Attempted": "at", "Delivered": "delivered", "Events": "events", "Dead": "dead_letters", "Status": "status",
    "Error": "error", "Next try": "retry_at", "Worker": "worker",
}  # fmt: skip
DEAD_LETTER_COLUMNS = {
    "Dead letter": "event_id", "Action": "action", "Resource": "resource", "Status": "status", "Error": "error",
    "Attempts": "attempts", "Last": "last_at",
}  # fmt: skip
STYLES = {"active": "green", "paused": "dim", "needs_attention": "red", "suspended": "red"}


MODULES = {
    "add": "destination_add", "test": "destination_test", "replay": "destination_replay",
    "redrive": "destination_replay",
}  # fmt: skip
"""The commands that are in a module of their own."""


@click.group(cls=LazyGroup, modules=MODULES)
def destination() -> None:
    """Manage the destinations that events are forwarded to.

    \b
    Example:
      pgtrail destination add siem --url https://siem.example.com/hooks/audit
    """


@destination.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a destination; of NAME with all that is shown.")
@with_connection
def show(connection: Connection, name: str | None, as_json: bool) -> None:
    """Show NAME in full, or list all destinations.

    The list has the state, how far behind and the last error. In full: its settings, its last ten attempts, and its
    dead letters, which are the events that it refused.

    \b
    Example:
      pgtrail destination show
      pgtrail destination show siem
    """
    if name is None:
        _list(dicts(connection, "destinations"), as_json)
        return
    (settings,) = dicts(connection, "destination", name=name)
    attempts = dicts(connection, "attempts", name=name)
    dead_letters = dicts(connection, "dead_letters", name=name, limit=None if as_json else DEAD_LETTERS_SHOWN)
    if as_json:
        found = {**settings, "attempts": attempts, "dead_letter_events": dead_letters}
        click.echo(json.dumps(found, default=str))
        return
    shown = {key.replace("_", " "): value for key, value in settings.items() if value not in ([], False)}
    console().print(facts_table(shown))
    if dead_letters:
        console().print()
        console().print(rows_table(dead_letters, DEAD_LETTER_COLUMNS))
    if settings["dead_letters"] > len(dead_letters):
        say(f"the first {len(dead_letters)} of {settings['dead_letters']:,} dead letters; all: --json")
    if attempts:
        console().print()
        console().print(rows_table(map(_attempt, attempts), ATTEMPT_COLUMNS))
    else:
        say("no attempts yet (is a worker running? pgtrail forward)")


def _list(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=str))
        return
    if rows:
        console().print(rows_table(map(_status, rows), STATUS_COLUMNS))
    else:
        say("no destinations yet (pgtrail destination add NAME --url https://…)")


def _status(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "state": Text(row["state"], style=STYLES.get(row["state"], "yellow")),
        "dead_letters": row["dead_letters"] or None,
        "behind": behind(row["events_behind"], row["seconds_behind"]),
        "only": [name for key in ("categories", "actions", "orgs") for name in row[key] or ()],
    }


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    first, last = row["first_event_id"], row["last_event_id"]
    return {
        **row,
        "dead_letters": row["dead_letters"] or None,
        "at": local_time(row["attempted_at"]) + (" (replay)" if row["replay_id"] else ""),
        "events": f"{first} to {last}" if first != last else first or row["failed_event_id"],
    }


@destination.command()
@click.argument("name")
@with_connection
def pause(connection: Connection, name: str) -> None:
    """Stop sending to NAME; events wait until it is resumed.

    \b
    Example:
      pgtrail destination pause siem
    """
    connection.call("audit.pause_destination", name, True)
    say(f"{name} is paused; its events wait")


@destination.command()
@click.argument("name")
@with_connection
def resume(connection: Connection, name: str) -> None:
    """Continue sending to NAME, from where it stopped.

    \b
    Example:
      pgtrail destination resume siem
    """
    connection.call("audit.pause_destination", name, False)
    say(f"{name} continues from where it stopped")


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
    """Give NAME a new signing secret, which is printed once.

    Until the overlap is over, the old secret signs too.

    \b
    Example:
      pgtrail destination rotate-secret siem
    """
    secret = connection.call("audit.rotate_secret", name, timedelta(hours=overlap))
    say(f"both secrets of {name} sign for {overlap:g} hours; give the receiver this one:")
    click.echo(secret)


@destination.command("set-token")
@click.argument("name")
@with_connection
def set_token(connection: Connection, name: str) -> None:
    """Replace the token of NAME that is stored in the database.

    The new one is read from stdin.

    \b
    Example:
      pgtrail destination set-token splunk < token.txt
    """
    token = token_from_stdin()
    with connection.transaction():
        hand_over(connection, token)
        connection.execute(QUERIES["set_token"], {"name": name})
    say(f"{name} has a new token")


@destination.command()
@click.argument("name")
@click.option("--since", help="Send all events since then again: 7d, 2026-11-01. Default: only new ones.")
@click.confirmation_option("--yes", prompt="The destination's cursor will be forgotten. Start over?")
@with_connection
def rebase(connection: Connection, name: str, since: str | None, **_: Any) -> None:
    """Start NAME over in a database that was restored.

    Its cursor belongs to another cluster and says nothing here.

    \b
    Example:
      pgtrail destination rebase siem --since 2d
    """
    connection.execute(QUERIES["rebase_destination"], {"name": name, "since": since})
    say(f"{name} starts {f'with the events since {since}' if since else 'with the next event'}")


@destination.command()
@click.argument("name")
@click.option("--now", is_flag=True, help="Remove it at once, even if it has not received everything.")
@click.confirmation_option("--yes", prompt="The destination and its cursor will be removed. Continue?")
@with_connection
def remove(connection: Connection, name: str, now: bool, **_: Any) -> None:
    """Remove NAME with its secrets; the events stay in the log.

    It still receives everything that was recorded until now, last the event of its removal.

    \b
    Example:
      pgtrail destination remove siem --yes
    """
    connection.call("audit.remove_destination", name, now)
    say(f"removed {name}{'' if now else ', once it has received the event of that'}")
