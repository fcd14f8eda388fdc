"""``pgtrail migrate``."""

import click

from pgtrail import install as migrations
from pgtrail_cli.options import dsn_option
from pgtrail_cli.streams import say

WITHOUT_EVENT_TRIGGERS = (
    "no event triggers: only a superuser can create them, so ALTER, DROP and RENAME of tracked tables, and CREATE or "
    "ATTACH of their partitions and children, are not followed as they happen. Call `select audit.recompile()` at the "
    "end of each migration of yours: until then new columns are not recorded, and pgtrail doctor says what is out of "
    "date. That a trigger was switched off, or a table altered, is recorded then or not at all. To have them: run "
    "pgtrail migrate once as a superuser"
)


@click.command()
@dsn_option
def migrate(dsn: str) -> None:
    """Install pgtrail in a database, or upgrade it.

    It runs in one transaction, and a second run changes nothing. The first run needs a superuser, or a role with
    CREATEROLE that may create schemas; without a superuser no event trigger follows your ALTER TABLEs.

    \b
    Example:
      pgtrail migrate --dsn postgresql://postgres@localhost/app
    """
    done = migrations.migrate(dsn)
    if not done.replaced:
        say("up to date, nothing changed")
    for name in done.applied:
        say(f"applied migrations/{name}.sql")
    if done.replaced:
        say(f"installed sql/, compiled {done.compiled} tracked tables")
    if not done.follows_ddl:
        say(WITHOUT_EVENT_TRIGGERS)
