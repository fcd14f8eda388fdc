"""History that other tools recorded, in tables of the shape that these tools make."""

import json
import re
import threading
from pathlib import Path

import psycopg
import pytest
from tests.adopting import adopting
from tests.sql.test_seals_document import recompute, seal_all
from tests.verifying import problems

from pgtrail.errors import PgtrailError
from pgtrail.install import migrate

RECIPE = Path(__file__).parents[2] / "docs" / "dba" / "coming-from.md"

pytestmark = pytest.mark.any_server

SUPA_AUDIT = """
create schema {schema};
create type {schema}.operation as enum ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE');
create table {schema}.record_version (
    id bigserial primary key,
    record_id uuid,
    old_record_id uuid,
    op {schema}.operation not null,
    ts timestamptz not null default now(),
    table_oid oid not null,
    table_schema name not null,
    table_name name not null,
    record jsonb,
    old_record jsonb,
    auth_uid uuid,
    auth_role text
);
create function {schema}.record_change() returns trigger language plpgsql security definer set search_path = '' as $f$
begin
    insert into {schema}.record_version (op, table_oid, table_schema, table_name, record, old_record)
    values (
        tg_op::{schema}.operation, tg_relid, tg_table_schema, tg_table_name,
        case when tg_op in ('INSERT', 'UPDATE') then pg_catalog.to_jsonb(new) end,
        case when tg_op in ('UPDATE', 'DELETE') then pg_catalog.to_jsonb(old) end
    );
    return null;
end $f$;
"""

EVENT = "category, action, operation, table_name, org_id, resource_type, resource_id, resource_label, audit.row_before(event), after, changed"
MARK = "supa_audit old_audit.record_version"


def imported(connection, columns=EVENT):
    return connection.execute(
        f"select {columns} from audit.event where imported_from is not null order by id"
    ).fetchall()


def batch(connection, tool, most=5000, dry_run=False):
    """What one batch came to."""
    found = "select pg_temp.import_batch(%s, pg_temp.import_source(%s), %s, %s)"
    ((done,),) = adopting(connection, "import", found, [tool, tool, most, dry_run], keep=True)
    return done


def run(connection, tool, most=5000, dry_run=False):
    """All batches; what the run came to."""
    while "total" not in (done := batch(connection, tool, most, dry_run)):
        pass
    return done["total"]


@pytest.fixture
def supa(su):
    """An empty log of supa_audit's shape, and a tracked table public.thing."""
    su.execute(SUPA_AUDIT.format(schema="old_audit"))
    su.execute(
        "create table public.thing (id int primary key, org_id text, name text, hits int default 0, config jsonb, api_token text)"
    )
    su.execute(
        "select audit.track('public.thing', org => 'org_id', label => 'name', ignore => '{hits}', secret => '{config.key}')"
    )
    return su


def record(connection, op, new=None, old=None, at="2025-03-05 10:00Z", table="thing", oid=0):
    return connection.execute(
        "insert into old_audit.record_version (op, ts, table_oid, table_schema, table_name, record, old_record) "
        "values (%s, %s, %s, 'public', %s, %s, %s) returning id",
        [op, at, oid, table, *(None if row is None else json.dumps(row) for row in (new, old))],
    ).fetchone()[0]


# As if pgtrail had been there ---------------------------------------------------------------------------------------


def test_what_is_imported_is_what_the_triggers_would_have_recorded(nemo):
    su = nemo.connect()
    su.execute(SUPA_AUDIT.format(schema="old_audit"))
    for table in ("organization", "profile", "api_key", "member", "setting"):
        su.execute(
            f"create trigger old after insert or update or delete on nemo.{table} "
            "for each row execute function old_audit.record_change()"
        )
    su.execute("""
        insert into nemo.organization (id, name, slug) values (gen_random_uuid(), 'Acme', 'acme');
        insert into nemo.profile (org_id, email, password_hash) select id, 'ann@acme.example', 'geheim' from nemo.organization;
        insert into nemo.api_key (org_id, name, key_prefix, key_hash, ip_allowlist, max_budget, metadata)
            select id, 'k', 'sk-1', 'geheim', '{10.0.0.0/8}', 1.50, '{"a": [1.0, null]}' from nemo.organization;
        update nemo.api_key set key_hash = 'geheimer', name = 'n';
        update nemo.api_key set spend = 9, last_used_at = now();
        update nemo.organization set plan_tier = 'tier_3', name = 'Acme Ltd';
        update nemo.profile set password_hash = 'x';
        insert into nemo.setting (org_id, name, value) select id, 'router', '{"retries": 3}' from nemo.organization;
        update nemo.setting set value = '{"retries": 4}';
        delete from nemo.api_key;
    """)
    recorded = su.execute(f"select {EVENT} from audit.event where category <> 'audit' order by id").fetchall()
    assert len(recorded) == 10
    # Before anything was tracked, in a transaction that pgtrail has nothing of.
    su.execute("update old_audit.record_version set ts = timestamptz '2024-02-29 23:59:59Z' + id * interval '1 second'")
    assert run(su, "supa_audit")["events"] == len(recorded)
    assert imported(su) == recorded
    assert "geheim" not in str(imported(su, "event::text"))


def test_it_says_where_it_is_from_and_when_and_who_it_was(supa):
    first = record(supa, "INSERT", {"id": 1, "name": "a"}, at="2025-03-05 10:00:00.123456Z")
    supa.execute(
        "update old_audit.record_version set auth_uid = '00000000-0000-4000-8000-000000000001', auth_role = 'authenticated'"
    )
    record(supa, "UPDATE", {"id": 1, "name": "b"}, {"id": 1, "name": "a"})
    supa.execute("update old_audit.record_version set auth_role = 'service_role' where id > %s", [first])
    run(supa, "supa_audit")
    assert imported(supa, "imported_from, occurred_at::text, actor_type, actor_id, db_role, application_name, client_addr") == [
        (f"{MARK} {first}", "2025-03-05 10:00:00.123456+00", "user", "00000000-0000-4000-8000-000000000001", "postgres", "", None),
        (f"{MARK} {first + 1}", "2025-03-05 10:00:00+00", "role", "service_role", "postgres", "", None),
    ]  # fmt: skip
    begun, ended = supa.execute("select action, after from audit.event where action ~ 'import' order by id").fetchall()
    assert begun == ("audit.import_begun", {"tool": "supa_audit", "source": "old_audit.record_version"})
    assert ended[0] == "audit.imported"
    assert ended[1].items() >= {"rows": 2, "events": 2, "skipped": 0}.items()


def test_months_are_made_for_it_and_a_dropped_one_can_come_back(supa):
    record(supa, "INSERT", {"id": 1}, at="2019-12-31 23:59:59.999999Z")
    record(supa, "INSERT", {"id": 2}, at="2020-01-01 00:00Z")
    supa.execute("set timezone = 'Asia/Tokyo'")
    run(supa, "supa_audit")
    assert imported(supa, "tableoid::regclass::text") == [("audit.event_2019_12",), ("audit.event_2020_01",)]
    assert supa.execute("select count(*) from audit.event_default").fetchone() == (0,)
    seal_all(supa)
    supa.execute("select audit.set_retention('1 year')")
    assert supa.execute("select audit.drop_partition('audit.event_2019_12')").fetchone() == (1,)
    record(supa, "INSERT", {"id": 3}, at="2019-12-30Z")
    run(supa, "supa_audit")
    seal_all(supa)
    assert imported(supa, "tableoid::regclass::text") == [("audit.event_2020_01",), ("audit.event_2019_12_2",)]
    assert supa.execute("select audit.drop_partition('audit.event_2019_12_2')").fetchone() == (1,)
    assert problems(supa) == []


def test_changes_of_one_transaction_keep_their_order(supa):
    for n in range(3):
        record(supa, "INSERT", {"id": 7, "name": f"{n}"})
        record(supa, "DELETE", old={"id": 7, "name": f"{n}"})
    run(supa, "supa_audit", most=4)
    assert imported(supa, "operation") == [("INSERT",), ("DELETE",)] * 3


def test_what_pgtrail_recorded_itself_is_not_imported_too(supa):
    supa.execute(
        "create trigger old after insert or update or delete on public.thing "
        "for each row execute function old_audit.record_change()"
    )
    supa.execute("insert into public.thing (id, name) values (1, 'a'), (2, 'b')")
    supa.execute("update public.thing set name = 'c' where id = 2")
    supa.execute("alter table public.thing disable trigger pgtrail_delete")
    supa.execute("delete from public.thing where id = 1")
    assert run(supa, "supa_audit")["events"] == 1
    assert imported(supa, "action, resource_id") == [("thing.deleted", "1")]


# Once ---------------------------------------------------------------------------------------------------------------


def test_it_goes_on_where_it_was_and_a_second_run_imports_what_came_since(supa, db):
    for n in range(10):
        record(supa, "INSERT", {"id": n})
    for _ in range(3):
        batch(supa, "supa_audit", 3)
    assert len(imported(supa)) == 6
    run(db.connect(), "supa_audit", most=3)
    assert run(supa, "supa_audit")["rows"] == 0
    record(supa, "INSERT", {"id": 10})
    assert run(supa, "supa_audit")["rows"] == 1
    assert imported(supa, "resource_id") == [(str(n),) for n in range(11)]
    ended = "select after ->> 'rows' from audit.event where action = 'audit.imported' order by id"
    assert supa.execute(ended).fetchall() == [("10",), ("1",)]


def test_a_row_that_is_committed_late_is_not_passed_over(supa, db):
    late = db.connect()
    with late.transaction():
        record(late, "INSERT", {"id": 1})
        record(supa, "INSERT", {"id": 2})
        assert run(supa, "supa_audit")["events"] == 1
    assert run(supa, "supa_audit")["events"] == 1
    assert run(supa, "supa_audit")["events"] == 0
    assert imported(supa, "resource_id") == [("2",), ("1",)]


def test_two_at_once_import_it_once(supa, db, wait_until):
    for n in range(20):
        record(supa, "INSERT", {"id": n})
    batch(supa, "supa_audit")
    other = db.connect()
    with supa.transaction():
        batch(supa, "supa_audit", 7)
        second = threading.Thread(target=run, args=(other, "supa_audit", 7))
        second.start()
        waits = "select from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        wait_until(lambda: db.connect().execute(waits, [other.info.backend_pid]).fetchone() is not None)
    run(supa, "supa_audit", 7)
    second.join()
    assert sorted(imported(supa, "resource_id::int")) == [(n,) for n in range(20)]


def test_a_rehearsal_says_the_same_and_leaves_nothing(supa):
    record(supa, "INSERT", {"id": 1})
    record(supa, "INSERT", {"id": "garbage"})
    record(supa, "UPDATE", {"id": 1, "hits": 2}, {"id": 1, "hits": 1})
    state = "select (select count(*) from audit.event), (select count(*) from audit.import), (select count(*) from audit_internal.partition_bounds())"
    before = supa.execute(state).fetchone()
    with supa.transaction(force_rollback=True):
        rehearsed = run(supa, "supa_audit", dry_run=True)
    assert supa.execute(state).fetchone() == before
    assert rehearsed.items() >= {"rows": 3, "events": 2, "unfit": 1}.items()
    assert run(supa, "supa_audit") == rehearsed


# What does not fit --------------------------------------------------------------------------------------------------


def test_a_table_that_is_not_tracked_or_gone_is_told_by_its_name_without_secrets(supa):
    supa.execute("create table public.plain (code text primary key, note text)")
    row = {
        "code": "c", "apiKey": "geheim", "password": "geheim", "note": "n",
        "deep": {"list": [{"secret": "geheim"}, "sk-geheim-geheim"], "text": '{"token": "geheim"}'}, "url": "https://u:geheim@host/x",
    }  # fmt: skip
    record(supa, "INSERT", row, table="plain")
    record(supa, "UPDATE", row | {"note": "m", "password": "geheimer"}, row, table="plain")
    record(supa, "UPDATE", row, row, table="plain")
    record(supa, "DELETE", old={"id": 5, "cookie": "geheim"}, table="Gone Table")
    run(supa, "supa_audit")
    told = imported(supa, "category, action, table_name, org_id, resource_type, resource_id, changed")
    assert told == [
        ("plain", "plain.created", "public.plain", None, "plain", "c", None),
        ("plain", "plain.updated", "public.plain", None, "plain", "c", ["note", "password"]),
        ("gone_table", "Gone Table.deleted", 'public."Gone Table"', None, "Gone Table", "5", None),
    ]
    assert supa.execute("select count(*) from audit.category where name = 'gone_table'").fetchone() == (1,)
    assert "geheim" not in str(imported(supa, "event::text"))


def test_a_row_that_does_not_fit_is_told_by_its_fields_and_noted(supa):
    record(supa, "INSERT", {"id": 1, "api_token": "geheim", "name": "a", "hits": 3})
    unfit = record(
        supa,
        "INSERT",
        {"id": "x", "org_id": "o", "name": "b", "api_token": "geheim", "hits": 1, "config": {"key": "geheim"}},
    )
    record(supa, "INSERT", {"id": 3})
    timeless = record(supa, "INSERT", {"id": 4}, at="infinity")
    assert run(supa, "supa_audit").items() >= {"rows": 4, "events": 3, "unfit": 1, "skipped": 1}.items()
    assert imported(supa, "org_id, resource_id, resource_label, after")[1] == (
        "o", "x", "b",
        {"id": "x", "org_id": "o", "name": "b", "api_token": "[redacted]", "config": {"key": "[redacted]"}},
    )  # fmt: skip
    noted = supa.execute(
        "select row_id, table_name, skipped, problem from audit.import_problem order by row_id"
    ).fetchall()
    assert [row[:3] for row in noted] == [(str(unfit), "public.thing", False), (str(timeless), "public.thing", True)]
    assert "22P02" in noted[0][3]
    assert "geheim" not in str(imported(supa, "event::text")) + str(noted)


def test_a_column_that_is_gone_is_history_too_and_one_that_came_is_not(supa):
    supa.execute("alter table public.thing add column colour text")
    record(supa, "UPDATE", {"id": 1, "size": 2, "old_secret": "geheim"}, {"id": 1, "size": 1, "old_secret": "x"})
    run(supa, "supa_audit")
    redacted = {"id": 1, "old_secret": "[redacted]"}
    assert imported(supa, "before, after, changed") == [
        (redacted | {"size": 1}, redacted | {"size": 2}, ["old_secret", "size"])
    ]


def test_what_has_no_rows_has_no_operation(supa):
    record(supa, "TRUNCATE")
    record(supa, "INSERT")
    run(supa, "supa_audit")
    assert imported(supa, "category, action, operation, before, after") == [
        ("thing", "thing.truncated", None, None, None), ("thing", "thing.created", None, None, None)
    ]  # fmt: skip


def test_a_renamed_table_is_known_by_its_oid(supa):
    oid = supa.execute("select 'public.thing'::regclass::oid").fetchone()[0]
    record(supa, "INSERT", {"id": 1, "org_id": "o"}, oid=oid)
    supa.execute("alter table public.thing rename to item")
    record(supa, "INSERT", {"id": 2, "org_id": "o"}, oid=oid, table="item")
    run(supa, "supa_audit")
    assert imported(supa, "table_name, org_id") == [("public.item", "o")] * 2


def test_the_organization_is_found_through_other_tables(supa):
    supa.execute("create table public.team (id int primary key, org text); insert into public.team values (7, 'acme')")
    supa.execute("create table public.item (id int primary key, team_id int references public.team)")
    supa.execute("select audit.track('public.item', org => 'team_id -> public.team.org')")
    record(supa, "INSERT", {"id": 1, "team_id": 7}, table="item")
    record(supa, "INSERT", {"id": 2, "team_id": 8}, table="item")
    assert run(supa, "supa_audit").items() >= {"events": 2, "unfit": 0}.items()
    assert imported(supa, "resource_id, org_id") == [("1", "acme"), ("2", None)]


def test_types_that_others_own_run_nothing_of_theirs(supa, db):
    supa.execute(f"create role stranger_{db.name} login")
    try:
        supa.execute(f"grant create on schema public to stranger_{db.name}; set role stranger_{db.name}")
        supa.execute("""
            create function public.spy(text) returns boolean language plpgsql as
                $f$begin raise exception 'ran as %', current_user; end$f$;
            create domain public.noted as text check (public.spy(value));
            create type public.colour as enum ('red');
            create table public.theirs (id int primary key, note public.noted, colour public.colour);
        """)
        supa.execute("reset role; select audit.track('public.theirs')")
        supa.execute(
            "select audit.rule('public.theirs', 'theirs.reddened', 'theirs', 'INSERT', 'new.colour = ''red''')"
        )
        record(supa, "INSERT", {"id": 1, "note": "n", "colour": "red"}, table="theirs")
        assert run(supa, "supa_audit").items() >= {"events": 1, "unfit": 0}.items()
        assert imported(supa, "action, after") == [("theirs.reddened", {"id": 1, "note": "n", "colour": "red"})]
    finally:
        supa.execute(f"reset role; drop owned by stranger_{db.name} cascade; drop role stranger_{db.name}")


# Who may ------------------------------------------------------------------------------------------------------------


def test_who_may_act_as_the_owner_imports_what_they_may_read_and_nobody_else(supa, db):
    record(supa, "INSERT", {"id": 1})
    supa.execute(
        "grant usage on schema old_audit to public; grant select, update on old_audit.record_version to public"
    )
    for role in ("admin", "auditor", "reader", "forwarder", "app"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(db.connect(role), "supa_audit")
    migrator = f"migrator_{db.name}"
    supa.execute(f"create role {migrator} login in role audit_owner")
    try:
        supa.execute("alter table old_audit.record_version enable row level security")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            run(db.connect(migrator), "supa_audit")
        supa.execute("alter table old_audit.record_version disable row level security")
        assert run(db.connect(migrator), "supa_audit")["events"] == 1
        assert imported(supa, "db_role") == [(migrator,)]
        supa.execute(f"alter default privileges for role {migrator} revoke execute on functions from public")
        record(supa, "INSERT", {"id": 2})
        assert run(db.connect(migrator), "supa_audit")["events"] == 1
    finally:
        db.close()
        supa = db.connect()
        supa.execute(f"drop owned by {migrator} cascade; drop role {migrator}")


def test_what_is_no_such_table_is_refused(supa):
    for tool, table, said in (
        ("supa", None, "can't import the log"),
        ("litellm", None, "there is no table of litellm"),
        ("supa_audit", "public.thing", "is not a table of supa_audit"),
    ):
        with pytest.raises(psycopg.Error, match=said) as raised:
            adopting(supa, "import", "select pg_temp.import_source(%s, %s)", [tool, table])
        assert raised.value.sqlstate == "PT002"


# Held to it ---------------------------------------------------------------------------------------------------------


def test_it_is_sealed_with_its_mark(supa):
    for n in range(5):
        record(supa, "INSERT", {"id": n, "name": "n"})
    supa.execute("insert into public.thing (id) values (100)")
    seal_all(supa)
    run(supa, "supa_audit")
    seal_all(supa)
    assert problems(supa) == []
    recompute(supa)
    first = imported(supa, "id")[0][0]
    own = supa.execute("select max(id) from audit.event where imported_from is null").fetchone()[0]
    with pytest.raises(psycopg.Error, match="append-only"):
        supa.execute("update audit.event set imported_from = null where id = %s", [first])
    for event_id, mark in ((first, None), (first, "supa_audit x 1"), (own, "supa_audit x 1")):
        with supa.transaction(force_rollback=True):
            supa.execute("set local session_replication_role = replica")
            supa.execute("update audit.event set imported_from = %s where id = %s", [mark, event_id])
            assert (event_id, "it was changed") in [row[1:] for row in problems(supa)]


def test_an_erasure_reaches_it_and_can_not_touch_its_mark(supa):
    record(supa, "INSERT", {"id": 1, "name": "ann@x.example"})
    supa.execute("update old_audit.record_version set auth_uid = '00000000-0000-4000-8000-000000000001'")
    run(supa, "supa_audit")
    seal_all(supa)
    supa.execute("select audit.erase_actor('00000000-0000-4000-8000-000000000001', 'ticket 1', '{ann@x.example}')")
    assert "ann@x" not in str(imported(supa, "event::text"))
    assert problems(supa) == []
    assert run(supa, "supa_audit")["events"] == 0
    with supa.transaction(force_rollback=True):
        supa.execute("insert into audit.erasure (pseudonym, reason) values ('p', 'r')")
        with pytest.raises(psycopg.Error, match="append-only"):
            supa.execute("update audit.event set imported_from = null where imported_from is not null")


def test_destinations_get_it_by_a_replay_alone(supa, db):
    supa.execute(
        'select audit.add_destination(\'siem\', \'https://siem.example/\', options => \'{"categories": ["thing"], "since": "2000-01-01"}\')'
    )
    record(supa, "INSERT", {"id": 1})
    run(supa, "supa_audit")
    supa.execute("insert into public.thing (id) values (2)")
    worker = db.connect("forwarder")
    worker.execute("select audit_internal.record_heartbeat('w', '30 s')")
    batch = "select event_ids, lease_token from audit_internal.next_batch(%s, 'w')"
    live = supa.execute("select id from audit.cursor").fetchone()[0]
    own = supa.execute("select id from audit.event where category = 'thing' and imported_from is null").fetchone()[0]
    [old] = imported(supa, "id")[0]
    events, token = worker.execute(batch, [live]).fetchone()
    assert events == [own]
    worker.execute("select audit_internal.record_delivery(%s, %s, %s, %s)", [live, token, events, own])
    assert worker.execute(batch, [live]).fetchone()[0] == []
    assert supa.execute("select events_behind, seconds_behind from audit.destination_status").fetchone() == (0, 0)
    supa.execute("select audit.replay_events('siem', 'history', since => '2025-01-01', until => '2025-12-31')")
    replay = supa.execute("select id from audit.cursor where replay_id is not null").fetchone()[0]
    assert worker.execute(batch, [replay]).fetchone()[0] == [old]


def test_an_import_that_is_for_nobody_does_not_stay_in_the_way(supa, db):
    supa.execute(
        "select audit.add_destination('siem', 'https://siem.example/', options => '{\"categories\": [\"thing\"]}')"
    )
    supa.execute(
        "insert into old_audit.record_version (op, ts, table_oid, table_schema, table_name, record) "
        "select 'INSERT', '2025-03-05Z', 0, 'public', 'thing', jsonb_build_object('id', n) from generate_series(1, 1500) as n"
    )
    run(supa, "supa_audit")
    worker = db.connect("forwarder")
    worker.execute("select audit_internal.record_heartbeat('w', '30 s')")
    worker.execute("select from audit_internal.next_batch((select id from audit.cursor), 'w')")
    passed = "select pg_visible_in_snapshot((select max(xid) from audit.event where imported_from is not null), batch_from) from audit.cursor"
    assert supa.execute(passed).fetchone() == (True,)


def test_months_of_it_are_not_kept_for_destinations_that_never_get_it(supa):
    supa.execute(
        "select audit.add_destination('siem', 'https://siem.example/', options => '{\"since\": \"2000-01-01\"}')"
    )
    record(supa, "INSERT", {"id": 1}, at="2020-05-05Z")
    run(supa, "supa_audit")
    seal_all(supa)
    supa.execute("select audit.set_retention('1 year')")
    assert supa.execute("select partition, kept_because from audit.retention_plan()").fetchall() == [
        ("audit.event_2020_05", [])
    ]
    survey = "select beyond_retention from pg_temp.import_survey('supa_audit', 'old_audit.record_version')"
    assert adopting(supa, "import", survey) == [(1,)]


# Without a gap ------------------------------------------------------------------------------------------------------


def test_the_recipe_moves_a_schema_out_of_the_way_without_a_gap(bare_db):
    su = bare_db.connect()
    su.add_notice_handler(lambda _: None)
    su.execute(SUPA_AUDIT.format(schema="audit"))
    su.execute("""
        create table public.account (id int primary key, org_id text, name text);
        create trigger old after insert or update or delete on public.account
            for each row execute function audit.record_change();
        create function audit.disable_tracking(regclass) returns void language plpgsql set search_path = '' as
            $f$begin execute format('drop trigger old on %s', $1); end$f$;
    """)
    writer = bare_db.connect()
    writer.execute("insert into public.account values (1, 'o', 'a')")
    with pytest.raises(PgtrailError, match=r"schema audit that is not pgtrail's \(it has record_version\)") as refused:
        migrate(bare_db.dsn())
    assert "docs/dba/coming-from.md" in str(refused.value)
    move, set_function_owner = re.findall(r"^```sql\n(.*?)^```", RECIPE.read_text(), re.MULTILINE | re.DOTALL)
    su.execute(move)
    writer.execute("update public.account set name = 'b'")
    migrate(bare_db.dsn())
    writer.execute("update public.account set name = 'c'")
    su.execute(set_function_owner)
    writer.execute("update public.account set name = 'd'")
    run(su, "supa_audit")
    told = "select after ->> 'name', imported_from is not null from audit.event where category = 'account' order by occurred_at"
    assert su.execute(told).fetchall() == [("a", True), ("b", True), ("c", True), ("d", False)]
    seal_all(su)
    assert problems(su) == []
