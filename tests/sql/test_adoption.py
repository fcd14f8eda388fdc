"""What only suggest, preset and import need is in no database: it is created for a transaction, in pg_temp."""

import re

import pytest

from pgtrail.adoption import adoption_code
from pgtrail.connection import open_connection
from pgtrail.project_files import project_files

pytestmark = pytest.mark.any_server

FOLDER = project_files("sql") / "adopt"
FILES = sorted(FOLDER.glob("*/*.sql"))
COMMANDS = ("suggest", "preset", "import")
TABLES = re.compile(r"^create temporary table .*?;$", re.MULTILINE | re.DOTALL)
TEMPORARY = "select count(*) from pg_proc where pronamespace = pg_my_temp_schema()"


@pytest.mark.parametrize("rollback", [True, False], ids=["rolled back", "committed"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_function_outlives_the_transaction(db, command, rollback):
    # (With a role that may do no more than configure.)
    with open_connection(db.dsn("admin")) as connection:
        for _ in range(2):
            with adoption_code(connection, command, rollback):
                assert connection.execute(TEMPORARY).fetchone()[0] > 10
            assert connection.execute(TEMPORARY).fetchone() == (0,)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_file_has_temporary_functions_and_tables_that_are_the_callers(file):
    text = file.read_text()
    assert text.startswith("-- ")
    assert len(text.splitlines()) < 300
    assert "security definer" not in text
    assert re.findall(r"^create (?!function pg_temp\.|temporary table pg_temp\.).*", text, re.MULTILINE) == []
    assert all(table.endswith("on commit drop;") for table in TABLES.findall(text))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_function_is_valid_and_is_used(su, command):
    text = "\n".join(file.read_text() for file in FILES if file.parent.name in ("shared", command))
    with su.transaction(force_rollback=True):
        su.execute("set local search_path = pg_catalog, pg_temp; set local check_function_bodies = off")
        su.execute(text)
        # Now that all are there.
        su.execute("set local check_function_bodies = on")
        su.execute(TABLES.sub("", text).replace("create function", "create or replace function"))
    everything = "\n".join(file.read_text() for file in [*FILES, *(project_files("sql") / "presets").glob("*.sql")])
    entries = {"suggest", "import_batch", "import_survey", "import_source"}
    for name in re.findall(r"^create function pg_temp\.(\w+)", text, re.MULTILINE):
        assert name in entries or len(re.findall(rf"pg_temp\.{name}\(", everything)) > 1, name


def test_a_migration_installs_none_of_it(su):
    names = {
        name
        for file in FILES
        for name in re.findall(r"^create function pg_temp\.(\w+)", file.read_text(), re.MULTILINE)
    }
    installed = {
        row[0]
        for row in su.execute(
            "select proname from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[])"
        )
    }
    # (What a preset calls is called as what it writes.)
    assert names & installed == {"track", "rule"}
