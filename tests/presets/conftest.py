"""LiteLLM's own schema, out of its package; the same tracked by the preset; the statements that its proxy issues."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from tests.conftest import Connection, Database, clone
from tests.documents import psql

from pgtrail.connection import open_connection
from pgtrail.presets import preset_named, tracking

CALLS = json.loads((Path(__file__).parent / "litellm_calls.json").read_text())
"""What each call of the proxy's API does to the database: see capture_litellm.js."""


def litellm_migrations() -> list[Path]:
    """The files of the package, in their order, which begins with a date."""
    package = find_spec("litellm_proxy_extras")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0]) / "migrations"
    return sorted(folder.glob("*/migration.sql"))


def bring_litellm_to(database: Database, until: str, after: str = "") -> None:
    """Apply its migrations up to a date (YYYYMMDD…), those after another."""
    files = [file for file in litellm_migrations() if after < file.parent.name[:8] <= until]
    psql(database.server, database.dsn(), ";\n".join(file.read_text() for file in files))


def apply_preset(database: Database) -> None:
    """As `pgtrail preset litellm | psql` does."""
    with open_connection(database.dsn()) as connection:
        text = tracking(connection, preset_named("litellm"), "public")
    psql(database.server, database.dsn(), text)


def play(connection: Connection, call: str) -> None:
    """Issue the statements of one call of the API."""
    found = [recorded for recorded in CALLS if recorded["call"] == call]
    for text, values in found[0]["statements"]:
        psycopg.RawCursor(connection).execute(text, values)


@pytest.fixture(scope="session")
def litellm_template(server, empty_template) -> Iterator[str]:
    """A database with LiteLLM's newest schema, tracked."""
    for database in clone(server, empty_template):
        bring_litellm_to(database, "9")
        apply_preset(database)
        database.close()
        yield database.name


@pytest.fixture
def litellm(server, litellm_template) -> Iterator[Database]:
    """LiteLLM's newest schema, tracked, and nothing in it."""
    yield from clone(server, litellm_template)


@pytest.fixture(scope="session")
def played(server, litellm_template) -> Iterator[Database]:
    """The same after every call in its order; the events of each are the rows of public.played (call, id)."""
    for database in clone(server, litellm_template):
        connection = database.connect()
        connection.execute("create table public.played (call text, id bigint)")
        for recorded in CALLS:
            play(connection, recorded["call"])
            connection.execute(
                "insert into public.played select %s, id from audit.event "
                "where category <> 'audit' and id not in (select id from public.played)",
                [recorded["call"]],
            )
        yield database
