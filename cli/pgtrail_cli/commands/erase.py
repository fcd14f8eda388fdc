"""``pgtrail erase-actor``."""

import click

from pgtrail.connection import Connection
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say


@click.command("erase-actor")
@click.argument("actor_id", metavar="ID")
@click.option("--reason", required=True, help="Why, such as a ticket's number; it is recorded. Do not name the person.")
@click.option("--also", multiple=True, help="Another id, name or e-mail address of the same person; can be repeated.")
@click.confirmation_option("--yes", prompt="It can't be undone. Erase this person from the log?")
@with_connection
def erase_actor(connection: Connection, actor_id: str, reason: str, also: tuple[str, ...], **_: object) -> None:
    """Replace the person with actor id ID by a pseudonym.

    It prints the pseudonym, which takes the place of id and label; address and user agent are removed. In recorded
    rows, every text that is one of the person's ids, labels or e-mail addresses is replaced, and in the person's own
    rows (their profile, their membership) each column that looks personal. Seals stay verifiable. The erasure is an
    event.

    \b
    Example:
      pgtrail erase-actor ann@acme.example --reason DSAR-17 --also "Ann Arbor" --yes
    """
    done = connection.call("audit.erase_actor", actor_id, reason, list(also))
    click.echo(done["pseudonym"])
    say(f"erased from {done['events']:,} events")
    if done["mentions"]:
        say(
            f"{done['mentions']:,} events name the person inside another text, an id, a reason or a role: "
            "these stay as they are"
        )
    say(
        "not reached: what destinations have received, exports, archives, backups, the server's own logs, "
        "and the application's tables; erase there too, and VACUUM audit.event"
    )
