"""History of audit-trigger and of LiteLLM, in tables of the shape that they make."""

import itertools
import json

import pytest
from tests.sql.test_import import imported, run

pytestmark = pytest.mark.any_server

LOGGED_ACTIONS = """
create schema old_audit;
create table old_audit.logged_actions (
    event_id bigserial primary key,
    schema_name text not null,
    table_name text not null,
    relid oid not null,
    session_user_name text,
    action_tstamp_tx timestamptz not null,
    action_tstamp_stm timestamptz not null,
    action_tstamp_clk timestamptz not null,
    transaction_id bigint,
    application_name text,
    client_addr inet,
    client_port integer,
    client_query text,
    action text not null check (action in ('I', 'D', 'U', 'T')),
    row_data {rows},
    changed_fields {rows},
    statement_only boolean not null
);
create function old_audit.log(
    action text, row_data {rows}, changed_fields {rows}, name text default 'thing', statement_only boolean default false
)
returns void language sql as $f$
    insert into old_audit.logged_actions (
        schema_name, table_name, relid, session_user_name, action_tstamp_tx, action_tstamp_stm, action_tstamp_clk,
        transaction_id, application_name, client_addr, client_query, action, row_data, changed_fields, statement_only
    )
    values ('public', name, 0, 'web', '2024-05-01Z', '2024-05-01Z', '2024-05-01Z', 4711, 'shop', '192.0.2.7',
        'update thing set password = ''geheim''', action, row_data, changed_fields, statement_only)
$f$;
"""

LITELLM = """
create table public."LiteLLM_AuditLog" (
    id text primary key default gen_random_uuid()::text,
    updated_at timestamp(3) not null default current_timestamp,
    changed_by text not null default '',
    changed_by_api_key text not null default '',
    action text not null,
    table_name text not null,
    object_id text not null,
    before_value jsonb,
    updated_values jsonb
);
create table public."LiteLLM_VerificationToken" (
    token text primary key, key_name text, key_alias text, spend double precision not null default 0,
    team_id text, metadata jsonb not null default '{}', max_budget double precision, blocked boolean, models text[]
);
"""


# audit-trigger ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["jsonb", "hstore"])
def logged(request, su):
    """An empty log of audit-trigger's shape, with rows as jsonb (as its forks have it) or hstore, and a tracked table."""
    if request.param == "hstore":
        if su.execute("select from pg_available_extensions where name = 'hstore'").fetchone() is None:
            pytest.skip("this server has no hstore")
        su.execute(
            "create schema extensions; create extension hstore schema extensions; set search_path = public, extensions"
        )
    su.execute(LOGGED_ACTIONS.format(rows=request.param))
    su.execute(
        "create table public.thing (id int primary key, name text, active boolean, tags text[], config jsonb, password text, seen_at timestamptz)"
    )
    su.execute("select audit.track('public.thing', label => 'name', ignore => '{seen_at}')")
    as_row = "hstore" if request.param == "hstore" else "to_jsonb"
    written = "row(1, 'a', true, '{x,y}', '{\"limit\": 1.50}', 'geheim', null)::public.thing"

    def log(action, row=written, changed="null", *rest):
        row = f"{as_row}({row})" if row != "null" else row
        su.execute(f"select old_audit.log('{action}', {row}, {changed}{''.join(', ' + each for each in rest)})")

    return su, log, request.param


def test_audit_trigger_is_imported_with_the_types_of_the_table(logged):
    su, log, rows = logged
    moved = (
        '\'name=>b, config=>"{\\"limit\\": 2}"\'' if rows == "hstore" else '\'{"name": "b", "config": {"limit": 2}}\''
    )
    log("I")
    log("U", changed=moved)
    log("D")
    log("T", "null")
    log("U", "null", "null", "'gone'", "true")
    run(su, "audit_trigger")
    row = {
        "id": 1, "name": "a", "active": True, "tags": ["x", "y"], "config": {"limit": 1.5}, "password": "[redacted]",
    }  # fmt: skip
    assert imported(su, "action, operation, resource_id, before, after, changed") == [
        ("thing.created", "INSERT", "1", None, row, None),
        ("thing.updated", "UPDATE", "1", row, row | {"name": "b", "config": {"limit": 2}}, ["name", "config"]),
        ("thing.deleted", "DELETE", "1", row, None, None),
        ("thing.truncated", None, None, None, None, None),
        ("gone.updated", None, None, None, None, None),
    ]
    who = "distinct occurred_at::text, actor_type, actor_id, host(actor_ip), user_agent, db_role"
    assert su.execute(f"select {who} from audit.event where imported_from is not null").fetchall() == [
        ("2024-05-01 00:00:00+00", "database", "web", "192.0.2.7", "shop", "postgres")
    ]
    assert "geheim" not in str(imported(su, "event::text"))


# LiteLLM ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def litellm(su):
    """LiteLLM's log and one of its tables, tracked."""
    su.execute(LITELLM)
    su.execute("""
        select audit.track('public."LiteLLM_VerificationToken"', 'key', 'api_keys', label => 'key_alias', ignore => '{spend}',
            secret => '{token,key_name,metadata.**.api_key}')
    """)

    seconds = itertools.count()

    def log(action, before=None, updated=None, object_id="hash1", table="LiteLLM_VerificationToken", by="ann", key=""):
        su.execute(
            'insert into public."LiteLLM_AuditLog" (updated_at, action, table_name, object_id, before_value, updated_values, '
            "changed_by, changed_by_api_key) values (timestamp '2024-01-02 03:04' + %s * interval '1 second', %s, %s, %s, %s, %s, %s, %s)",
            [
                next(seconds),
                action,
                table,
                object_id,
                *(None if v is None else json.dumps(v) for v in (before, updated)),
                by,
                key,
            ],
        )
        run(su, "litellm")
        return imported(su, "action, operation, resource_label, before, after, changed")[-1]

    return su, log


def test_litellm_says_what_was_updated_and_pgtrail_what_changed(litellm):
    su, log = litellm
    key = {"token": "hash1", "key_alias": "k", "metadata": {"a": {"api_key": "geheim"}}, "models": ["m"], "spend": 1.0}
    image = {"token": "[redacted]", "key_alias": "k", "metadata": {"a": {"api_key": "[redacted]"}}, "models": ["m"]}
    created = log("created", updated=key | {"key": "sk-geheim-geheim", "max_budget": 5})
    assert created == ("key.created", "INSERT", "k", None, image | {"key": "[redacted]", "max_budget": 5}, None)
    # Some versions keep a row as text.
    updated = log("updated", json.dumps(key), {"max_budget": 7, "spend": 2.0})
    assert updated[1:] == ("UPDATE", "k", image, image | {"max_budget": 7}, ["max_budget"])
    assert log("rotated", key, {"token": "hash2"})[::5] == ("key.rotated", ["token"])
    assert log("blocked", key, {}) == ("key.blocked", None, "k", None, None, None)
    assert log("deleted", key)[1:4] == ("DELETE", "k", image)
    assert log("updated", None, {"max_budget": 1}) == (
        "key.updated", "UPDATE", None, {"token": "[redacted]"}, {"token": "[redacted]", "max_budget": 1}, ["max_budget"],
    )  # fmt: skip
    assert "geheim" not in str(imported(su, "event::text"))
    assert len({row[0] for row in imported(su, "resource_id")}) == 2


def test_a_key_that_acts_is_known_by_the_digest_of_its_own_events(litellm):
    su, log = litellm
    log("created", updated={"token": "hash1"})
    log("created", updated={"team_id": "t"}, table="LiteLLM_TeamTable", object_id="t", by="", key="hash1")
    log("deleted", object_id="sk-geheim-geheim", by="sk-geheim-geheim")
    own, team, deleted = imported(su, "actor_type, actor_id, resource_type, resource_id, operation")
    assert own[:2] == ("user", "ann")
    assert (team[0], team[1]) == ("key", own[3])
    assert team[2:4] == ("LiteLLM_TeamTable", "t")
    assert deleted[1] == deleted[3] != own[3]
    assert "geheim" not in str(imported(su, "event::text"))


def test_rows_of_one_moment_are_all_imported_whatever_the_batches(litellm):
    su, _ = litellm
    su.execute(
        'insert into public."LiteLLM_AuditLog" (updated_at, action, table_name, object_id, updated_values) '
        "select '2024-01-02', 'created', 'LiteLLM_TeamTable', n::text, '{}' from generate_series(1, 25) as n"
    )
    run(su, "litellm", most=4)
    assert sorted(imported(su, "resource_id::int")) == [(n,) for n in range(1, 26)]
    assert run(su, "litellm")["events"] == 0


def test_litellms_rows_since_a_table_is_tracked_are_left_to_pgtrail(litellm):
    su, _ = litellm
    su.execute(
        'insert into public."LiteLLM_AuditLog" (updated_at, action, table_name, object_id, updated_values) '
        "select moment, 'created', name, 'x', '{\"token\": \"t\"}' "
        "from unnest(array[now() at time zone 'UTC' - interval '1 hour', now() at time zone 'UTC' - interval '1 second']) as moment, "
        "unnest(array['LiteLLM_VerificationToken', 'LiteLLM_TeamTable']) as name"
    )
    su.execute("update audit.tracked_table set created_at = now() - interval '30 minutes' where resource = 'key'")
    run(su, "litellm")
    assert sorted(imported(su, "table_name")) == [('public."LiteLLM_TeamTable"',)] * 2 + [
        ('public."LiteLLM_VerificationToken"',)
    ]
