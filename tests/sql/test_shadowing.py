"""Nothing that a caller names like something of ours ever runs as the owner."""

import psycopg
import pytest

TRAP = "language plpgsql as $$ begin insert into public.ran values (current_user, '{}'); return {}; end $$"
SCALARS = {
    "text": "'x'",
    "jsonb": "'{}'::jsonb",
    "boolean": "true",
    "bigint": "1",
    "void": "null",
    "bytea": "''::bytea",
}


def function(name, arguments, returns):
    return f"create function {{schema}}.{name}({arguments}) returns {returns} " + TRAP.replace("{}", name, 1).replace(
        "{}", SCALARS.get(returns, "null"), 1
    )


SHADOWS = {
    "domain text": "create domain {schema}.text as pg_catalog.text check (public.trap('domain text'))",
    "domain jsonb": "create domain {schema}.jsonb as pg_catalog.jsonb check (public.trap('domain jsonb'))",
    "domain int8": "create domain {schema}.int8 as pg_catalog.int8 check (public.trap('domain int8'))",
    "domain inet": "create domain {schema}.inet as pg_catalog.inet check (public.trap('domain inet'))",
    "domain timestamptz": "create domain {schema}.timestamptz as pg_catalog.timestamptz check (public.trap('domain timestamptz'))",
    "function current_setting": function("current_setting", "text, boolean", "text"),
    "function to_jsonb": function("to_jsonb", "anyelement", "jsonb"),
    "function jsonb_build_object": function("jsonb_build_object", 'variadic "any"', "jsonb").replace(
        "plpgsql", "plpgsql"
    ),
    "function set_config": function("set_config", "text, text, boolean", "text"),
    "function array_remove": function("array_remove", "text[], text", "boolean"),
    "function format": function("format", "text, text", "text"),
    "function sha256": function("sha256", "bytea", "bytea"),
    "function clock_timestamp": function("clock_timestamp", "", "text"),
    "function pg_try_advisory_xact_lock": function("pg_try_advisory_xact_lock", "bigint", "boolean"),
    "function now": function("now", "", "text"),
    "function array_append": function("array_append", "text[], text", "text[]"),
    "function claimed_actor": function("claimed_actor", "", "text"),
    "function wake": function("wake", "", "void"),
    "table event": "create table {schema}.event (id int, category text, action text)",
    "table cursor": "create table {schema}.cursor (id int, destination_id int)",
    "table new_rows": "create table {schema}.new_rows (id int)",
    "table pg_class": "create table {schema}.pg_class (oid int, relname text)",
    "table pg_roles": "create table {schema}.pg_roles (oid oid, rolname name)",
    "view pg_proc": "create view {schema}.pg_proc as select public.trap('view pg_proc') as proname",
    "operator =": "create operator {schema}.= (function = public.trap_too, leftarg = text, rightarg = text)",
    "operator ||": "create operator {schema}.|| (function = public.trap_text, leftarg = text, rightarg = text)",
    "operator <>": "create operator {schema}.<> (function = public.trap_too, leftarg = text, rightarg = text)",
    "operator ~": "create operator {schema}.~ (function = public.trap_too, leftarg = text, rightarg = text)",
    "operator *=": "create operator {schema}.*= (function = public.trap_record, leftarg = record, rightarg = record)",
    "aggregate string_agg": "create aggregate {schema}.string_agg(text, text) (sfunc = public.trap_agg, stype = text)",
}


@pytest.fixture
def armed(nemo):
    """Every login has a schema of its own, and leaves in public.ran who ran its traps."""
    su = nemo.connect()
    su.execute("create table public.ran (who text, what text); grant insert on public.ran to public")
    su.execute("insert into nemo.organization (name, slug) values ('A', 'a')")
    for name, arguments, returns, value in (
        ("trap", "text", "boolean", "true"), ("trap_too", "text, text", "boolean", "true"), ("trap_text", "text, text", "text", "'x'"),
        ("trap_record", "record, record", "boolean", "true"), ("trap_agg", "text, text, text", "text", "'x'"),
    ):  # fmt: skip
        su.execute(
            f"create function public.{name}({arguments}) returns {returns} language plpgsql as "
            f"$$ begin insert into public.ran values (current_user, '{name}'); return {value}; end $$"
        )
    return nemo


CALLS = {
    "app": [
        "select audit.set_actor('a', 'b', ip => '192.0.2.1')",
        "insert into nemo.team (org_id, name) select id, 'x' from nemo.organization",
        "update nemo.team set name = 'y', models = '{{a}}'",
        "delete from nemo.team",
        "truncate nemo.setting",
    ],
    "reader": [
        "select * from audit_internal.newest_events(audit.filter('{{\"actor_id\": \"app\"}}'), 9)",
        "select * from audit.log", "select * from audit.diff", "select * from audit.export", "select audit_internal.record_export('{{}}', 1)",
    ],
    "auditor": ["select * from audit.doctor()", "select * from audit.retention_plan()", "select * from audit.destination_status"],
    "forwarder": [
        "select audit.seal()", "select audit_internal.record_heartbeat('w', '30 s')", "select * from audit_internal.next_batch(1, 'w')",
        "select audit.maintain()", "select audit_internal.index_events(1)", "select audit_internal.remove_worker('w')",
    ],
    "admin": [
        "select audit.add_destination('s', 'https://s.example')", "select audit.rotate_secret('s')", "select audit.grant_org('reader', 'o')",
        "select audit.replay_events('s', 'why', event_ids => '{{1}}')", "select audit.remove_destination('s', true)",
        "select audit.set_retention('400 days')", "select audit.place_hold('h', 'why')", "select audit.set_on_failure('continue')",
        "select audit.make_partitions(1)", "select audit_internal.compile_table('nemo.team')", "select audit.erase_actor('app', 'why')",
    ],
}  # fmt: skip


@pytest.mark.parametrize("where", ["pg_temp", "own"])
@pytest.mark.parametrize("user", CALLS)
def test_what_a_caller_names_like_ours_never_runs_as_another(armed, user, where):
    su = armed.connect()
    su.execute(
        f"create schema own authorization {user}; grant usage on schema own to public; grant usage on schema nemo to {user}"
    )
    armed.connect("app").execute("insert into nemo.team (org_id, name) select id, 'before' from nemo.organization")
    connection = armed.connect(user)
    connection.execute("create temporary table first (x int)")
    made = 0
    for shadow in SHADOWS.values():
        try:
            connection.execute(shadow.replace("{schema}", where))
            made += 1
        except psycopg.Error:
            # Not everything can be made everywhere; enough of it can.
            continue
    assert made >= 15
    # Named last, pg_catalog is searched last; not named at all, it would come first.
    connection.execute(f"set search_path = {where}, public, pg_catalog")
    for call in CALLS[user]:
        connection.execute(call.replace("{{", "{").replace("}}", "}"))
    ran = {who for (who,) in su.execute("select distinct who from public.ran").fetchall()}
    assert ran <= {user}, "its own traps, as itself, at the most"
    if user == "app":
        assert su.execute(
            "select count(*) from audit.event where db_role = 'app' and category = 'teams'"
        ).fetchone() == (6,)


def test_the_traps_do_go_off(armed):
    """Otherwise the test above would prove nothing."""
    app = armed.connect("app")
    app.execute("create temporary table first (x int)")
    app.execute(SHADOWS["domain text"].replace("{schema}", "pg_temp"))
    app.execute("set search_path = pg_temp, public, pg_catalog")
    app.execute("select 'x'::text")
    assert armed.connect().execute("select who, what from public.ran").fetchall() == [("app", "trap")]
