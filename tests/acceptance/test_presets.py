"""`pgtrail preset`, as a person calls it."""

import subprocess

import pytest
from tests.documents import psql

from pgtrail_cli.presets import preset_named

pytestmark = pytest.mark.any_server


def test_presets_are_listed_and_printed(pgtrail):
    listed = pgtrail("preset")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert all(name in listed.stdout for name in ("litellm", "litellm-proxy-extras", "nemo"))
    printed = pgtrail("preset", "litellm", "--schema", "Lite LLM")
    path = 'set search_path to pg_catalog, "Lite LLM", pg_temp;'
    assert printed.stdout == f"{path}\n\n{preset_named('litellm').text}"
    unknown = pgtrail("preset", "none")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        'pgtrail: there is no preset "none" (there are: litellm, nemo)\n',
    )
    assert pgtrail("preset", "--schema", "public").returncode == 2


def test_a_preset_takes_what_is_there_in_the_schema_that_is_named(db, su, pgtrail):
    su.execute('create schema "Lite LLM"')
    # A version that has one table of it, with few columns, and other names in public.
    su.execute(
        'create table "Lite LLM"."LiteLLM_TeamTable" (team_id text primary key, team_alias text, spend float, metadata jsonb)'
    )
    elsewhere = subprocess.run(
        [db.server.binaries.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", db.dsn()],
        input=pgtrail("preset", "litellm").stdout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert elsewhere.returncode == 3
    assert "none of the tables of litellm is here" in elsewhere.stderr
    assert "pgtrail preset litellm --schema" in elsewhere.stderr

    psql(db.server, db.dsn(), pgtrail("preset", "litellm", "--schema", "Lite LLM").stdout)
    tracked = su.execute(
        "select org, label, ignore, secret from audit.tracked_table where resource = 'team'"
    ).fetchone()
    assert tracked == (None, "team_alias", ["spend"], ["metadata.**.?"])
