"""An import runs nobody's code with rights of its own, and its mark can't be chosen or left off."""

import json

import psycopg
import pytest
from psycopg import sql
from tests.adopting import adopting
from tests.sql.test_import import batch, run

from pgtrail.adoption import install

pytestmark = pytest.mark.any_server

HISTORY = """
create schema old;
create table old.record_version (
    id bigint primary key, record_id uuid, old_record_id uuid, op text, ts timestamptz, table_oid oid,
    table_schema name, table_name name, record jsonb, old_record jsonb
);
"""
STORED = """
with became as materialized (
    select set_config('role', 'audit_owner', true)
),
stored as materialized (
    select pg_temp.store_import(
        (pg_temp.begin_import('supa_audit', 'old.record_version', null)).id,
        array[jsonb_populate_record(null::audit.imported_row, %s)], '1', false
    )
    from became
)
select set_config('role', 'none', true) from stored
"""


@pytest.fixture
def old(su):
    """An empty history of supa_audit, which an admin may read."""
    su.execute(HISTORY)
    su.execute("grant usage on schema old to admin; grant select on old.record_version to admin")


@pytest.mark.parametrize(
    "trap",
    [
        (
            "create type old.t as (v timestamptz); create function old.f(old.t) returns timestamptz language sql as 'select ($1).v'; "
            "create cast (old.t as timestamptz) with function old.f(old.t); "
            "alter table old.record_version alter ts type old.t using row(ts)::old.t"
        ),
        (
            "create function old.spy(int) returns int language plpgsql immutable as 'begin return 1; end'; "
            "alter function old.spy(int) owner to app; create index on old.record_version (id) where old.spy(3) = 3"
        ),
    ],
    ids=["a cast", "an index"],
)
def test_a_table_that_would_run_its_owners_code_is_not_read(su, old, trap):
    su.execute(trap)
    su.execute("grant create on schema old to app")
    if "create type" in trap:
        su.execute("alter type old.t owner to app")
    for call in ("pg_temp.import_source('supa_audit')", "pg_temp.import_batch('supa_audit', 'old.record_version')"):
        with pytest.raises(psycopg.Error, match="is not as supa_audit creates it") as refused:
            adopting(su, "import", f"select {call}")
        assert refused.value.sqlstate == "PT002"


@pytest.mark.parametrize(
    ("schema", "table"), [("audit", "destination"), ("AUDIT", "destination"), ('"audit"', ' "destination"')]
)
def test_another_tool_tells_nothing_of_pgtrails_own_tables(su, old, schema, table):
    su.execute(
        "insert into old.record_version (id, record_id, op, ts, table_oid, table_schema, table_name, record) values "
        "(1, gen_random_uuid(), 'INSERT', now() - interval '1 day', 1, %s, %s, '{\"id\": 1, \"name\": \"siem\"}')",
        [schema, table],
    )
    for _ in range(3):
        batch(su, "supa_audit")
    assert su.execute("select count(*) from audit.event where imported_from is not null").fetchone() == (0,)
    assert su.execute("select problem from audit.import_problem").fetchall() == [
        ("it is about pgtrail's own tables, which only pgtrail records",)
    ]


HOSTILE = [
    "%1$s", "%s%s%s%s", "%I %L %%", "a'::text||array[shop.e()],'{x}')end,null::text[]--", "{}", "{leaf}", "{{}}", "$1", "$$; select shop.e(); $$",
    "\\", "\\'||shop.e()||\\'", "*/ select shop.e() /*", "--", "x\n; select shop.e(); --", "\\u0061", "source.before", "old.id", "new", "named",
    "count(distinct imported_from)", "row(seen.*)::audit.imported_row", "'||shop.e()||'", '"||shop.e()||"', "pgtrail xmin", "\x01\u2028", "E'\\x'",
]  # fmt: skip
"""Names that are SQL, templates and marks, and such as our own statements have."""

TOOLS = {
    "supa_audit": (
        HISTORY,
        (
            "insert into old.record_version (id, op, ts, table_schema, table_name, record) "
            "select %(n)s, 'INSERT', now() - interval '3 days', %(schema)s, %(table)s, %(row)s"
        ),
    ),
    "audit_trigger": (
        """
        create schema old; create table old.logged_actions (
            event_id bigint primary key, schema_name text, table_name text, relid oid, session_user_name text,
            action_tstamp_clk timestamptz, transaction_id bigint, application_name text, client_addr inet, action text,
            row_data jsonb, changed_fields jsonb
        )
        """,
        (
            "insert into old.logged_actions (event_id, action, action_tstamp_clk, schema_name, table_name, row_data) "
            "select %(n)s, 'I', now() - interval '3 days', %(schema)s, %(table)s, %(row)s"
        ),
    ),
    "litellm": (
        """
        create schema old; create table {} (
            id text primary key, updated_at timestamp, changed_by text, changed_by_api_key text, action text, table_name text,
            object_id text, before_value jsonb, updated_values jsonb
        )
        """,
        (
            "insert into {} (id, updated_at, changed_by, action, table_name, object_id, updated_values) "
            "select %(n)s::text, now() - interval '3 days', 'ann', 'created', %(table)s, '7', %(row)s"
        ),
    ),
}


@pytest.fixture
def traced(su):
    """What ran of shop.e(). (A warning is not undone, whatever becomes of the transaction.)"""
    said = []
    su.add_notice_handler(lambda notice: said.append(notice.message_primary))
    su.execute("create schema shop; grant usage on schema shop to public")
    su.execute(
        "create function shop.e() returns text language plpgsql as $$ begin raise warning 'ran as %', current_user; return 'x'; end $$"
    )
    return lambda: [line for line in said if line.startswith("ran as")]


@pytest.mark.parametrize("tool", TOOLS)
def test_no_name_is_executed_or_a_template(su, traced, tool):
    identifier = sql.Identifier
    schema, columns = HOSTILE[3], dict.fromkeys(name[:63] for name in HOSTILE)
    creates, inserts = TOOLS[tool]
    source = sql.Identifier(schema, "LiteLLM_AuditLog")
    su.execute(sql.SQL("create schema {}").format(identifier(schema)))
    su.execute(sql.SQL(creates).format(source))
    row = {"id": 7} | {name: f"of {name}" for name in columns}
    tables = {name: number for number, name in enumerate(HOSTILE)}
    for name, number in tables.items():
        fields = sql.SQL(", ").join(
            sql.SQL("{} {}").format(identifier(column), sql.SQL("jsonb" if column == "{}" else "text"))
            for column in columns
        )
        tracked = identifier(schema, name)
        su.execute(sql.SQL("create table {} (id int primary key, {})").format(tracked, fields))
        if number % 2:
            su.execute(
                "select audit.track(%s::regclass, %s, 'teams', org => %s, label => %s, secret => %s)",
                [tracked.as_string(su), name, HOSTILE[0], HOSTILE[3], [HOSTILE[1], "{}.**.x"]],
            )
        su.execute(
            sql.SQL(inserts).format(source), {"n": number, "schema": schema, "table": name, "row": json.dumps(row)}
        )
    adopting(su, "import", "select count(*) from pg_temp.import_survey(%s, pg_temp.import_source(%s))", [tool, tool])
    assert run(su, tool).items() >= {"rows": len(tables), "events": len(tables), "unfit": 0, "skipped": 0}.items()
    assert traced() == []
    for name, number in tables.items():
        event = su.execute(
            "select table_name, action, resource_type, resource_id, org_id, resource_label, after from audit.event "
            "where imported_from like %s",
            [f"% {number}"],
        ).fetchone()
        assert (event[1], event[2]) == (f"{name}.created", name)
        assert event[3] == "7"
        if number % 2:
            assert event[4:6] == (row[HOSTILE[0]], row[HOSTILE[3]])
            assert event[6] == row | {HOSTILE[1]: "[redacted]"}
        else:
            assert event[6] == row


@pytest.mark.parametrize(
    "field", ["operation", "verb", "table_name", "object_id", "record_id", "actor_type", "actor_id", "user_agent"]
)
def test_no_field_of_a_row_is_executed(su, old, traced, field):
    su.execute(
        "create table public.thing (id int primary key, name text); select audit.track('public.thing', label => 'name')"
    )
    for number, text in enumerate(HOSTILE):
        row = {
            "key": number, "row_id": text, "occurred_at": "2025-01-01", "operation": "DELETE", "table_name": "public.thing",
            "before": {"id": number, "name": text, text: text},
        }  # fmt: skip
        if field == "table_name" and text.count('"'):
            continue
        row |= {field: f'"{text}".x' if field == "table_name" else text}
        adopting(su, "import", STORED, [json.dumps(row)], keep=True)
    assert traced() == []
    marks = {
        mark
        for (mark,) in su.execute("select imported_from from audit.event where imported_from is not null").fetchall()
    }
    assert marks <= {f"supa_audit old.record_version {text}" for text in HOSTILE}


# Who runs what tables and rules say -----------------------------------------------------------------------------------

SPY = """
create type public.odd as enum ('x'); create table public.told (line text); grant insert on public.told to public;
create function public.odd_to_json(public.odd) returns json language plpgsql as $f$
declare
    attempt text;
begin
    raise warning 'ran as %', current_user;
    foreach attempt in array array[
        'insert into public.told values (''x'')', 'create temporary table pgtrail (x int)', 'select set_config(''transaction_read_only'', ''off'', true)',
        'set transaction read write', 'select count(*) from audit.event', 'select count(*) from audit.destination_secret', 'set role audit_owner',
        'insert into audit.event (category, action, resource_type, actor_type) values (''x'', ''x'', ''x'', ''x'')',
        'select audit.set_retention(''1 day'')'
    ]
    loop
        begin
            execute attempt;
            raise warning 'done: %', attempt;
        exception
            when others then
                null;
        end;
    end loop;
    perform set_config('search_path', 'evil', false);
    return to_json('seen'::text);
end $f$;
create cast (public.odd as json) with function public.odd_to_json(public.odd);
create table public.strange (id int primary key, odd public.odd);
"""


def test_what_a_type_would_run_is_not_run(su, old):
    said = []
    su.add_notice_handler(lambda notice: said.append(notice.message_primary))
    su.execute(SPY)
    su.execute("select audit.track('public.strange')")
    su.execute(
        "insert into old.record_version (id, op, ts, table_schema, table_name, record) "
        "values (1, 'INSERT', now() - interval '2 days', 'public', 'strange', '{\"id\": 1, \"odd\": \"x\"}')"
    )
    assert run(su, "supa_audit")["events"] == 1
    assert said == []
    assert su.execute("show search_path").fetchone() == ('"$user", public',)
    assert su.execute("select after from audit.event where imported_from is not null").fetchone() == (
        {"id": 1, "odd": "x"},
    )


def test_what_maps_rows_to_events_runs_as_the_role_that_records_and_does_not_stay(su, old):
    su.execute("create table public.thing (id int primary key, name text); select audit.track('public.thing')")
    with su.transaction(force_rollback=True):
        install(su, "import")
        su.execute("set local role audit_owner; select pg_temp.make_importer('public.thing')")
        made = "select proowner::regrole::text, prosecdef, proconfig, proacl::text from pg_proc where proname like 'import as %'"
        assert su.execute(made).fetchall() == [
            (
                "audit_recorder",
                True,
                ["search_path=pg_catalog, pg_temp"],
                "{audit_recorder=X/audit_recorder,audit_owner=X/audit_recorder}",
            )
        ]
    su.execute(
        "insert into old.record_version (id, op, ts, table_schema, table_name, record) "
        "values (1, 'INSERT', now() - interval '2 days', 'public', 'thing', '{\"id\": 1}')"
    )
    assert run(su, "supa_audit")["events"] == 1
    assert su.execute("select count(*) from pg_proc where proname like 'import as %'").fetchone() == (0,)
