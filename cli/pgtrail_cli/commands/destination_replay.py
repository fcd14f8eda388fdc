"""``pgtrail destination replay`` and ``redrive``, which send events again."""

import click

from pgtrail.connection import Connection
from pgtrail_cli.database import QUERIES, event_ids
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say

reason_option = click.option("--reason", required=True, help="Why; it is recorded.")
event_option = click.option("--event", "events", multiple=True, help="Only this event; can be repeated.")


@click.command()
@click.argument("name")
@click.option("--since", help="Only since this time: 7d, yesterday, 2026-11-23, an ISO time.")
@click.option("--until", help="Only before this time.")
@event_option
@reason_option
@with_connection
def replay(
    connection: Connection, name: str, since: str | None, until: str | None, events: tuple[str, ...], reason: str
) -> None:
    """Send events to NAME again, in addition to new ones.

    They keep their ids, and the destination's filters apply.

    \b
    Example:
      pgtrail destination replay siem --since 2026-11-20 --until 2026-11-21 --reason 'index lost, INC-4711'
    """
    connection.execute(
        QUERIES["replay"],
        {"name": name, "since": since, "until": until, "event_ids": event_ids(connection, events), "reason": reason},
    )
    say(f"the worker will send them to {name} again: pgtrail destination show {name}")


@click.command()
@click.argument("name")
@event_option
@reason_option
@with_connection
def redrive(connection: Connection, name: str, events: tuple[str, ...], reason: str) -> None:
    """Send the dead letters of NAME again, all or some.

    \b
    Example:
      pgtrail destination redrive siem --reason 'mapping fixed'
    """
    count = connection.call("audit.redrive_dead_letters", name, reason, event_ids(connection, events))
    say(f"{count} dead letters of {name} will be sent again")
