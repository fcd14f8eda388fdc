"""``pgtrail shell``: pgcli, as a reader."""

import os
import subprocess
import sys
from pathlib import Path

import click
import platformdirs
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgtrail.connection import added_options, open_connection
from pgtrail.errors import NotMigrated
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import dsn_option


@click.command()
@dsn_option
@click.option("-c", "--command", "statement", help="Run one statement and exit, as psql -c does.")
def shell(dsn: str, statement: str | None) -> None:
    """Open pgcli as a reader, with named queries.

    It is read-only. `\\n` lists the queries.

    \b
    Example:
      pgtrail shell
      pgtrail shell -c 'select action, actor from audit.today'
    """
    with open_connection(dsn) as connection:
        row = connection.execute(QUERIES["reader_role"]).fetchone()
        if row is None:
            raise NotMigrated(hint="run: pgtrail migrate")
    parameters = conninfo_to_dict(dsn)
    environment = dict(os.environ)
    # A password in the arguments would be visible to every user of this machine.
    password = parameters.pop("password", None)
    if password:
        environment["PGPASSWORD"] = str(password)
    role = f"-c role={row[0]} " if row[0] else ""
    parameters["options"] = added_options(parameters, f"{role}-c default_transaction_read_only=on")
    arguments = [sys.executable, "-m", "pgcli", "--pgclirc", str(_own_settings()), "--prompt", r"pgtrail \d> "]
    if statement is not None:
        arguments += ["-c", statement]
    done = subprocess.run([*arguments, make_conninfo("", **parameters)], env=environment, check=False)
    sys.exit(done.returncode)


def _own_settings() -> Path:
    """The user's copy of our settings, into which pgcli saves queries."""
    template = Path(__file__).parents[1] / "pgclirc"
    own = platformdirs.user_config_path("pgtrail", ensure_exists=True) / "pgclirc"
    if not own.exists():
        own.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    return own
