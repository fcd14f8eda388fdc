"""The reference application: the tables of an LLM gateway, in schema ``nemo``, tracked."""

from pathlib import Path

from pgtrail.connection import open_connection
from pgtrail.install import Migrated, migrate

FILES = ("tables.sql", "tracking.sql")


def migrate_with_reference(dsn: str) -> Migrated:
    """Install pgtrail in a database and, where schema ``nemo`` is missing, the reference application."""
    migrated = migrate(dsn)
    install_reference(dsn)
    return migrated


def install_reference(dsn: str) -> None:
    """Create and track the reference application's tables, unless there is a schema ``nemo``."""
    with open_connection(dsn) as connection, connection.transaction():
        if connection.execute("select to_regnamespace('nemo')").fetchone() == (None,):
            # (No notices about redacted columns.)
            connection.execute("set local client_min_messages = warning")
            for name in FILES:
                connection.execute(Path(__file__).with_name(name).read_bytes())
