"""``pgtrail seal``."""

import json

import click

from pgtrail.connection import Connection
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per seal: keep it as an anchor.")
@with_connection
def seal(connection: Connection, as_json: bool) -> None:
    """Seal the events that are not sealed yet.

    The worker does this every ten seconds.

    \b
    Example:
      pgtrail seal --json >> /mnt/elsewhere/seals.jsonl
    """
    made = 0
    while (row := connection.execute(QUERIES["seal"]).fetchone()) is not None:
        number, events, kept = row
        made += 1
        if as_json:
            click.echo(json.dumps(kept))
        say(f"seal {number}: {events:,} events, hash {kept['hash']}")
    if not made:
        say("nothing to seal, or another session is sealing")
