"""`pgtrail preset`, as a person calls it."""

import pytest
from tests.documents import psql

pytestmark = pytest.mark.any_server


def test_presets_are_listed(pgtrail):
    listed = pgtrail("preset")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert all(name in listed.stdout for name in ("litellm", "litellm-proxy-extras"))
    unknown = pgtrail("preset", "none")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        'pgtrail: there is no preset "none" (there are: litellm)\n',
    )
    assert pgtrail("preset", "--schema", "public").returncode == 2


def test_a_preset_takes_what_is_there_in_the_schema_that_is_named(db, su, pgtrail):
    su.execute('create schema "Lite LLM"')
    # A version that has one table of it, with few columns, and other names in public.
    su.execute(
        'create table "Lite LLM"."LiteLLM_TeamTable" (team_id text primary key, team_alias text, spend float, metadata jsonb)'
    )
    elsewhere = pgtrail("preset", "litellm", dsn=db.dsn())
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert "none of the tables of litellm is in schema public" in elsewhere.stderr
    assert "pgtrail preset litellm --schema" in elsewhere.stderr

    shown = pgtrail("preset", "litellm", "--schema", "Lite LLM", dsn=db.dsn())
    assert (
        "select audit.track('\"Lite LLM\".\"LiteLLM_TeamTable\"', 'team', 'teams',\n    label => 'team_alias',"
        in shown.stdout
    )
    assert su.execute("select count(*) from audit.tracked_table where resource = 'team'").fetchone() == (0,)
    psql(db.server, db.dsn(), shown.stdout)
    tracked = su.execute(
        "select org, label, ignore, secret from audit.tracked_table where resource = 'team'"
    ).fetchone()
    assert tracked == (None, "team_alias", ["spend"], ["metadata.**.?"])
    # A second run changes nothing.
    psql(db.server, db.dsn(), shown.stdout)
    assert pgtrail("preset", "litellm", "--schema", "Lite LLM", dsn=db.dsn()).stdout == shown.stdout


def test_who_may_create_nothing_temporary_is_told_what_it_takes(db, su, pgtrail):
    su.execute(f"revoke temporary on database {db.name} from public")
    done = pgtrail("suggest", "public", dsn=db.dsn("admin"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "grant admin TEMPORARY on this database" in done.stderr


def test_an_admin_without_other_rights_gets_a_proposal_and_a_preset(db, su, pgtrail):
    su.execute('create table public."LiteLLM_TeamTable" (team_id text primary key, team_alias text)')
    for command in (["suggest"], ["preset", "litellm"]):
        done = pgtrail(*command, dsn=db.dsn("admin"))
        assert (done.returncode, done.stderr) == (0, "")
        assert "select audit.track('public.\"LiteLLM_TeamTable\"', '" in done.stdout
