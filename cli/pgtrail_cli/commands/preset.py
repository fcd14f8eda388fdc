"""``pgtrail preset``."""

import click
from psycopg import sql

from pgtrail_cli.errors import NotUnderstood
from pgtrail_cli.presets import Preset, all_presets, preset_named
from pgtrail_cli.render import console, plain_table


@click.command()
@click.argument("name", required=False)
@click.option("--schema", metavar="SCHEMA", help="Where the application's tables are. Default: where it creates them.")
def preset(name: str | None, schema: str | None) -> None:
    """Print SQL that tracks a well-known application.

    Without NAME it lists the presets. Run the SQL with psql. Tables and columns that the application's version lacks
    are left out. Run it again after an upgrade; it overwrites what you set otherwise on the same tables.

    \b
    Example:
      pgtrail preset
      pgtrail preset litellm | psql -v ON_ERROR_STOP=1
      pgtrail preset litellm --schema gateway > tracking.sql
    """
    if name is None:
        if schema:
            raise NotUnderstood("--schema needs a preset", "name one: pgtrail preset lists them")
        _list(all_presets())
        return
    chosen = preset_named(name)
    # (Without pg_catalog at its beginning, a function of that schema could take the place of one of Postgres' own.)
    path = sql.SQL("set search_path to pg_catalog, {}, pg_temp;").format(sql.Identifier(schema or chosen.schema))
    click.echo(f"{path.as_string()}\n\n{chosen.text}", nl=False)


def _list(presets: list[Preset]) -> None:
    table = plain_table("Preset", "What it tracks", "Versions", "Schema")
    for known in presets:
        table.add_row(known.name, known.purpose, known.versions, known.schema)
    console().print(table)
