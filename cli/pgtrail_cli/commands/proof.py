"""``pgtrail proof …``."""

import json
from pathlib import Path
from typing import BinaryIO

import click

from pgtrail.connection import Connection
from pgtrail.details import value
from pgtrail.errors import PgtrailError
from pgtrail.verify.anchor import find_anchors
from pgtrail.verify.proof import Proved, check_proof
from pgtrail_cli.database import event_id
from pgtrail_cli.options import with_connection
from pgtrail_cli.render import console, facts_table
from pgtrail_cli.streams import read_file, read_text, say


@click.group()
def proof() -> None:
    """Prove that an event is in the log, without a database.

    \b
    Example:
      pgtrail proof make 4711 > proof.json
      pgtrail proof check proof.json
    """


@proof.command()
@click.argument("name", metavar="ID")
@with_connection
def make(connection: Connection, name: str) -> None:
    """Print the proof that event ID is in the chain of seals, as JSON.

    It holds the event in full. Whoever gets it can check it without a database.

    \b
    Example:
      pgtrail proof make 4711 > proof.json
    """
    document = connection.call("audit.prove", event_id(connection, name))
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@proof.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare the seal with the one in this file: what a SIEM received, or pgtrail seal --json wrote.",
)
def check(file: BinaryIO, anchor: Path | None) -> None:
    """Check the proof in FILE (`-`: stdin), without a database.

    The proof shows that the event is in the seal. Only an anchor shows that the seal is the one that was made then.
    Exit status 1 if the proof does not hold.

    \b
    Example:
      pgtrail proof check proof.json --anchor seals.jsonl
    """
    try:
        document = json.loads(read_text(file.read()))
    except (ValueError, RecursionError) as error:
        raise PgtrailError("this is not a proof", "make one with: pgtrail proof make ID > proof.json") from error
    proved = check_proof(document)
    facts = {name: value(content) for name, content in proved.event.items() if content is not None}
    console().print(facts_table(facts))
    say(f"the proof holds: seal {proved.seal_number} of {proved.sealed_at}, hash {proved.seal_hash}")
    if anchor is None:
        say("compare this hash with a seal that you hold yourself (--anchor FILE)")
        return
    _compare(proved, anchor)


def _compare(proved: Proved, anchor: Path) -> None:
    known = find_anchors(read_file(anchor)).get(proved.seal_number)
    if known is None:
        raise PgtrailError(
            f"{anchor} has no seal {proved.seal_number}", "the SIEM received it later: export its seals again"
        )
    if known.hash != proved.seal_hash:
        raise PgtrailError(
            f"seal {proved.seal_number} has another hash in {anchor}: {known.hash}", "the proof or the chain was forged"
        )
    say(f"{anchor} has the same seal {proved.seal_number}")
