"""An import runs nobody's code with rights of its own, and its mark can't be chosen or left off."""

import json

import psycopg
import pytest
from psycopg import sql
from tests.sql.test_import import run

pytestmark = pytest.mark.any_server

HISTORY = """
create schema old;
create table old.record_version (
    id bigint primary key, record_id uuid, old_record_id uuid, op text, ts timestamptz, table_oid oid,
    table_schema name, table_name name, record jsonb, old_record jsonb
);
"""
FORGED = """
select audit.store_import(%s, array[row(
    5, %s, now() - interval '2 days', null, 'DELETE', null, 'public.thing', null, null, null,
    'user', 'ceo', null, null, '{"id": 5}', null
)::audit.imported_row], '1', false)
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
    for call in ("audit.import_source('supa_audit')", "audit.import_batch('supa_audit', 'old.record_version')"):
        with pytest.raises(psycopg.Error, match="is not as supa_audit makes it") as refused:
            su.execute(f"select {call}")
        assert refused.value.sqlstate == "PT060"


def test_what_is_imported_has_a_mark_that_names_where_it_came_from(db, su, old):
    admin = db.connect("admin")
    su.execute("create table old.other (id int); grant select on old.other to admin")
    with pytest.raises(psycopg.Error, match=r"old\.other is no table of litellm"):
        admin.execute("select audit.begin_import('litellm', 'old.other', null)")
    (import_id,) = admin.execute("select (audit.begin_import('supa_audit', 'old.record_version', null)).id").fetchone()
    with pytest.raises(psycopg.errors.NotNullViolation):
        admin.execute(FORGED, [import_id, None])
    for _ in range(2):
        admin.execute(FORGED, [import_id, "4711"])
    marks = su.execute("select distinct imported_from from audit.event where actor_id = 'ceo'").fetchall()
    assert marks == [("supa_audit old.record_version 4711",)]


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
        su.execute("select audit.import_batch('supa_audit', 'old.record_version')")
    assert su.execute("select count(*) from audit.event where imported_from is not null").fetchone() == (0,)
    assert su.execute("select problem from audit.import_problem").fetchall() == [
        ("it tells of pgtrail's own tables, which only pgtrail does",)
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
    su.execute("select count(*) from audit.import_survey(%s, audit.import_source(%s))", [tool, tool])
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
def test_no_field_of_a_row_is_executed(db, su, old, traced, field):
    admin = db.connect("admin")
    (import_id,) = admin.execute("select (audit.begin_import('supa_audit', 'old.record_version', null)).id").fetchone()
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
        admin.execute(
            "select audit.store_import(%s, array[jsonb_populate_record(null::audit.imported_row, %s)], '1', false)",
            [import_id, json.dumps(row)],
        )
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
        'select audit.set_retention(''1 day'')', 'select audit.store_import(1, null, null, false)'
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


def test_what_maps_rows_to_events_is_called_by_pgtrail_alone(db, su, old):
    su.execute("create table public.thing (id int primary key, name text); select audit.track('public.thing')")
    su.execute(
        FORGED,
        [su.execute("select (audit.begin_import('supa_audit', 'old.record_version', null)).id").fetchone()[0], "1"],
    )
    found = su.execute(
        "select oid::regprocedure::text, proowner::regrole::text, prosecdef, proconfig from pg_proc where proname like 'import as %'"
    ).fetchall()
    assert [row[1:] for row in found] == [("audit_recorder", True, ["search_path=pg_catalog, pg_temp"])]
    for login in ("app", "reader", "auditor", "forwarder", "admin"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.connect(login).execute(
                """select * from audit."import as audit_recorder"('select 1', '{}', '{}', '{}', '{}')"""
            )
