"""An import runs nobody's code but Postgres', and its mark can't be chosen or left off."""

import psycopg
import pytest

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


def test_another_tool_tells_nothing_of_pgtrails_own_tables(su, old):
    su.execute(
        "insert into old.record_version (id, record_id, op, ts, table_oid, table_schema, table_name, record) values "
        "(1, gen_random_uuid(), 'INSERT', now() - interval '1 day', 1, 'audit', 'destination', '{\"id\": 1, \"name\": \"siem\"}')"
    )
    for _ in range(3):
        su.execute("select audit.import_batch('supa_audit', 'old.record_version')")
    assert su.execute("select count(*) from audit.event where imported_from is not null").fetchone() == (0,)
    assert su.execute("select problem from audit.import_problem").fetchall() == [
        ("it tells of pgtrail's own tables, which only pgtrail does",)
    ]
