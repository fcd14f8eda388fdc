"""`pgtrail import` as a person runs it; what it does is in tests/sql/test_import.py."""

import json

import pytest

pytestmark = pytest.mark.any_server


def test_a_rehearsal_then_the_import_and_what_is_seen_of_it(nemo, pgtrail):
    su = nemo.connect()
    su.execute("""
        create table public."LiteLLM_AuditLog" (
            id text primary key, updated_at timestamp(3) not null, changed_by text not null, changed_by_api_key text not null,
            action text not null, table_name text not null, object_id text not null, before_value jsonb, updated_values jsonb
        );
        insert into public."LiteLLM_AuditLog" values
            ('r1', '2024-01-02', 'ann', '', 'created', 'LiteLLM_TeamTable', 't', null, '{"team_alias": "core", "api_key": "geheim"}'),
            ('r2', 'infinity', 'ann', '', 'created', 'LiteLLM_TeamTable', 't', null, '{}');
        select audit.set_retention('1 year');
    """)
    rehearsal = pgtrail("import", "litellm", "--dry-run", dsn=nemo.dsn())
    assert rehearsal.returncode == 0, rehearsal.stderr
    assert 'public."LiteLLM_TeamTable"' in rehearsal.stdout
    assert "none: it is not tracked" in rehearsal.stdout
    assert "would give 1 events" in rehearsal.stderr
    assert "1 of them are older than events are kept" in rehearsal.stderr
    assert "row r2" in rehearsal.stderr
    assert su.execute("select count(*) from audit.event where imported_from is not null").fetchone() == (0,)

    done = pgtrail("import", "litellm", "--table", 'public."LiteLLM_AuditLog"', dsn=nemo.dsn())
    assert done.returncode == 0, done.stderr
    assert '2 rows of public."LiteLLM_AuditLog" gave 1 events' in done.stderr
    [event_id] = su.execute("select id from audit.event where imported_from is not null").fetchone()
    shown = pgtrail("show", str(event_id), dsn=nemo.dsn("auditor"))
    assert 'from litellm public."LiteLLM_AuditLog" r1' in shown.stdout
    event = json.loads(pgtrail("show", "--json", str(event_id), dsn=nemo.dsn("auditor")).stdout)
    assert event["imported_from"] == 'litellm public."LiteLLM_AuditLog" r1'
    assert "geheim" not in json.dumps(event)

    refused = pgtrail("import", "supa_audit", dsn=nemo.dsn())
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert "there is no table of supa_audit" in refused.stderr
