"""``pgtrail preset``."""

import click

from pgtrail.connection import open_connection
from pgtrail.errors import InvalidInput
from pgtrail.presets import Preset, all_presets, preset_named, tracking
from pgtrail_cli.options import dsn_option
from pgtrail_cli.render import console, plain_table


@click.command()
@dsn_option
@click.argument("name", required=False)
@click.option("--schema", metavar="SCHEMA", help="Where the application's tables are. Default: where it creates them.")
def preset(dsn: str, name: str | None, schema: str | None) -> None:
    """Print SQL that tracks a well-known application.

    Without NAME it lists the presets. The SQL fits the version of the application that is in the database. Run it with
    psql, and again after an upgrade. It overwrites what you set otherwise on the same tables.

    \b
    Example:
      pgtrail preset
      pgtrail preset litellm | psql -v ON_ERROR_STOP=1
      pgtrail preset litellm --schema gateway > tracking.sql
    """
    if name is None:
        if schema:
            raise InvalidInput("--schema needs a preset", "name one: pgtrail preset lists them")
        _list(all_presets())
        return
    chosen = preset_named(name)
    with open_connection(dsn) as connection:
        click.echo(tracking(connection, chosen, schema or chosen.schema), nl=False)


def _list(presets: list[Preset]) -> None:
    table = plain_table("Preset", "What it tracks", "Versions", "Schema")
    for known in presets:
        table.add_row(known.name, known.purpose, known.versions, known.schema)
    console().print(table)
