"""`pgtrail apply` and `pgtrail preset`, as a person calls them."""

import pytest

pytestmark = pytest.mark.any_server


def test_a_file_is_applied_statement_by_statement(db, su, pgtrail, tmp_path):
    su.execute("create table public.thing (id int primary key, name text)")
    file = tmp_path / "tracking.sql"
    file.write_text(
        "-- what to track\nselect audit.track('thing', label => 'name');\n\nselect\n  audit.track('absent');\nselect 1;\n"
    )
    # Its second statement fails: what was before it stays, and it can be run again once mended.
    done = pgtrail("apply", str(file), dsn=db.dsn())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        'pgtrail: tracking.sql, line 5: relation "absent" does not exist; 1 statement before it is applied '
        "(write it as schema.table, with double quotes round upper case and spaces; then run it again)\n"
    )
    assert su.execute("select count(*) from audit.tracked_table where name = 'public.thing'").fetchone() == (1,)

    su.execute("create table public.absent (id int primary key)")
    done = pgtrail("apply", str(file), dsn=db.dsn())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "pgtrail: applied 3 statements of tracking.sql\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("create table public.kept ();\n\\d\n", "stdin, line 2: psql commands (\\…) are for psql; nothing was applied"),
        (
            "begin;\ncreate table public.kept ();",
            "stdin, line 1: a transaction begins that the file does not end; nothing was applied",
        ),
    ],
)
def test_what_is_for_psql_or_half_a_transaction_changes_nothing(db, su, pgtrail, text, said):
    done = pgtrail("apply", "-", dsn=db.dsn(), input=text)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr
    assert su.execute("select to_regclass('public.kept')").fetchone() == (None,)


@pytest.mark.parametrize("text", ["", "\n", "-- nothing to track\n", "\ufeff", ";\n"])
def test_a_file_with_nothing_in_it_says_so(db, pgtrail, text):
    done = pgtrail("apply", "-", dsn=db.dsn(), input=text)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "pgtrail: there is nothing in stdin to apply\n"


def test_presets_are_listed(pgtrail):
    listed = pgtrail("preset")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert all(name in listed.stdout for name in ("litellm", "litellm-proxy-extras"))
    unknown = pgtrail("preset", "none")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        'pgtrail: there is no preset "none" (there are: litellm)\n',
    )


def test_a_preset_takes_what_is_there_in_the_schema_that_is_named(db, su, pgtrail):
    su.execute('create schema "Lite LLM"')
    # A version that has one table of it, with few columns, and other names in public.
    su.execute(
        'create table "Lite LLM"."LiteLLM_TeamTable" (team_id text primary key, team_alias text, spend float, metadata jsonb)'
    )
    elsewhere = pgtrail("preset", "litellm", dsn=db.dsn())
    assert elsewhere.returncode == 1
    assert "none of the tables of litellm is in schema public" in elsewhere.stderr
    assert "pgtrail preset litellm --schema" in elsewhere.stderr
    assert elsewhere.stderr.count("\n") == 1

    shown = pgtrail("preset", "litellm", "--schema", "Lite LLM", "--show", dsn=db.dsn())
    assert (
        "select audit.track('\"Lite LLM\".\"LiteLLM_TeamTable\"', 'team', 'teams',\n    label => 'team_alias',"
        in shown.stdout
    )
    assert su.execute("select count(*) from audit.tracked_table where resource = 'team'").fetchone() == (0,)
    done = pgtrail("preset", "litellm", "--schema", "Lite LLM", dsn=db.dsn())
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "pgtrail: applied preset litellm; tracked tables of schema Lite LLM: 1\n"
    tracked = su.execute(
        "select org, label, ignore, secret from audit.tracked_table where resource = 'team'"
    ).fetchone()
    assert tracked == (None, "team_alias", ["spend"], ["metadata.**.?"])
    # What is shown is what was applied, and a second run changes nothing.
    applied = pgtrail("apply", "-", dsn=db.dsn(), input=shown.stdout)
    assert (applied.returncode, applied.stdout) == (0, "")
    assert pgtrail("preset", "litellm", "--schema", "Lite LLM", "--show", dsn=db.dsn()).stdout == shown.stdout


def test_who_may_create_nothing_temporary_is_told_what_it_takes(db, su, pgtrail):
    su.execute(f"revoke temporary on database {db.name} from public")
    done = pgtrail("suggest", "public", dsn=db.dsn("admin"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "grant admin TEMPORARY on this database" in done.stderr


def test_an_admin_without_other_rights_gets_a_proposal_and_a_preset(db, su, pgtrail):
    su.execute('create table public."LiteLLM_TeamTable" (team_id text primary key, team_alias text)')
    for command in (["suggest"], ["preset", "litellm", "--show"]):
        done = pgtrail(*command, dsn=db.dsn("admin"))
        assert (done.returncode, done.stderr) == (0, "")
        assert "select audit.track('public.\"LiteLLM_TeamTable\"', '" in done.stdout
