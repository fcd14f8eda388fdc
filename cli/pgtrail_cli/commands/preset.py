"""``pgtrail preset``."""

import click

from pgtrail_cli.commands.apply import run
from pgtrail_cli.connection import dsn_option, open_connection
from pgtrail_cli.errors import NotUnderstood
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.presets import Preset, all_presets, preset_named, tracking
from pgtrail_cli.render import console, plain_table
from pgtrail_cli.statements import split


@click.command()
@dsn_option
@click.argument("name", required=False)
@click.option("--schema", metavar="SCHEMA", help="Where the application's tables are. Default: where it makes them.")
@click.option("--show", is_flag=True, help="Print the SQL for this database; change nothing.")
def preset(dsn: str, name: str | None, schema: str | None, show: bool) -> None:
    """Track the tables of a well-known application; without NAME list which there are.

    What the application's version lacks is left out. Run it again after an upgrade; it overwrites what you set
    otherwise on the same tables.

    \b
    Example:
      pgtrail preset
      pgtrail preset litellm --show > tracking.sql
      pgtrail preset litellm --schema public
    """
    if name is None:
        if show or schema:
            raise NotUnderstood("--schema and --show need a preset", "name one: pgtrail preset lists them")
        _list(all_presets())
        return
    chosen = preset_named(name)
    schema = schema or chosen.schema
    with open_connection(dsn) as connection:
        text = tracking(connection, chosen, schema)
        if show:
            click.echo(text, nl=False)
            return
        run(connection, split(text, f"preset {name}"), f"preset {name}", connection.execute)
        row = connection.execute(QUERIES["count_tracked_in"], {"schema": schema}).fetchone()
    assert row is not None
    click.echo(f"pgtrail: applied preset {name}; tracked tables of schema {schema}: {row[0]}", err=True)


def _list(presets: list[Preset]) -> None:
    table = plain_table("Preset", "What it tracks", "Versions", "Schema")
    for known in presets:
        table.add_row(known.name, known.purpose, known.versions, known.schema)
    console().print(table)
