"""``pgtrail suggest``."""

import click

from pgtrail.adoption import adoption_code
from pgtrail.connection import Connection
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import with_connection


@click.command()
@click.argument("schemas", metavar="[SCHEMA]...", nargs=-1)
@with_connection
def suggest(connection: Connection, schemas: tuple[str, ...]) -> None:
    """Print SQL that tracks the tables of each SCHEMA (or public).

    It uses names, types, keys, statistics and a sample of rows, and gives its reasons in comments. Review the file
    before you apply it. docs/dba/suggest.md says what it finds and what it misses.

    \b
    Example:
      pgtrail suggest > tracking.sql
      pgtrail suggest public billing > tracking.sql
    """
    with adoption_code(connection, "suggest"):
        lines = connection.execute(QUERIES["suggest"], {"schemas": list(schemas) or ["public"]}).fetchall()
    for (line,) in lines:
        click.echo(line)
