"""A table is read as whoever calls (a superuser, say) only if that runs nobody's code: by suggest and by import."""

import threading

import psycopg
import pytest
from tests.adopting import adopting, suggested
from tests.sql.test_import_attacks import HISTORY

from pgtrail.adoption import install

pytestmark = pytest.mark.any_server

EVIL = """
create schema shop; grant usage, create on schema shop to app; grant usage on schema shop to admin;
create function shop.evil(text) returns text language plpgsql immutable as $$ begin raise warning 'ran as %', current_user; return ''; end $$;
create function shop.evil_number(int) returns int language plpgsql immutable as $$ begin raise warning 'ran as %', current_user; return 1; end $$;
create function shop.evil_equal(text, text) returns boolean language plpgsql immutable as $$ begin raise warning 'ran as %', current_user; return true; end $$;
alter function shop.evil(text) owner to app; alter function shop.evil_number(int) owner to app; alter function shop.evil_equal(text, text) owner to app;
"""

OWNED = {
    "a partition key": "create table shop.part (id int, status text, plain text) partition by list ((status || shop.evil('')))",
    "an index of a partition": (
        "create table shop.part (id int, status text, plain text) partition by list (id); "
        "create table shop.part_1 partition of shop.part default; create index on shop.part_1 (id) where shop.evil('') = ''"
    ),
    "a partition key of a partition": (
        "create table shop.part (id int, status text, plain text) partition by list (id); "
        "create table shop.part_1 partition of shop.part default partition by list ((status || shop.evil('')))"
    ),
    "an index of a child": (
        "create table shop.part (id int, status text, plain text); create table shop.part_1 () inherits (shop.part); "
        "create index on shop.part_1 (id) where shop.evil('') = ''"
    ),
    "a check of a child": (
        "create table shop.part (id int, status text, plain text); create table shop.part_1 () inherits (shop.part); "
        "alter table shop.part_1 add check (shop.evil('') = '') not valid"
    ),
    "an index": "create table shop.part (id int, status text, plain text); create index on shop.part ((shop.evil(status)))",
    "statistics": "create table shop.part (id int, status text, plain text); create statistics shop.s on (shop.evil(status) || plain) from shop.part",
    "a check": "create table shop.part (id int, status text, plain text, check (shop.evil('') = ''))",
    "an operator": (
        "create operator shop.=== (function = shop.evil_equal, leftarg = text, rightarg = text); alter operator shop.=== (text, text) owner to app; "
        "create table shop.part (id int, status text, plain text); create index on shop.part (id) where 'a' operator(shop.===) 'b'"
    ),
    "an operator of a superuser": (
        "create operator shop.=== (function = shop.evil_equal, leftarg = text, rightarg = text); "
        "create table shop.part (id int, status text, plain text); create index on shop.part (id) where 'a' operator(shop.===) 'b'"
    ),
    "a domain": (
        "create domain shop.checked as text check (shop.evil(value) = ''); alter domain shop.checked owner to app; "
        "create table shop.part (id int, status text, plain text); create index on shop.part (id) where 'a'::shop.checked = ''"
    ),
    "a cast": (
        "create type shop.pair as (a text); alter type shop.pair owner to app; "
        "create function shop.pair_text(shop.pair) returns text language plpgsql immutable as $$ begin raise warning 'ran as %', current_user; return ''; end $$; "
        "alter function shop.pair_text(shop.pair) owner to app; create cast (shop.pair as text) with function shop.pair_text(shop.pair); "
        "create table shop.part (id int, status text, plain text); create index on shop.part (id) where row('a')::shop.pair::text = ''"
    ),
    "a foreign table": (
        "create table shop.part (id int, status text, plain text) partition by list (id); create foreign data wrapper nowhere; "
        "create server nowhere foreign data wrapper nowhere; create foreign table shop.part_1 partition of shop.part default server nowhere"
    ),
}  # fmt: skip


@pytest.fixture
def ran(su):
    """What ran of the developer's code, and as whom. (A warning is not undone, whatever the code's transaction becomes.)"""
    said = []
    su.add_notice_handler(lambda notice: said.append(notice.message_primary))
    su.execute(EVIL)
    return lambda: [line for line in said if line.startswith("ran as")]


@pytest.fixture
def part(su, ran, request):
    """The table shop.part, of which something needs code of its owner, who is not a superuser."""
    su.execute(OWNED[request.param])
    su.execute("alter table shop.part owner to app")
    return ran


@pytest.mark.parametrize("part", OWNED, indirect=True)
def test_suggest_runs_nothing_of_a_tables_owner(su, part):
    before = len(part())
    text = suggested(su, "shop")
    assert part()[before:] == []
    assert "-- shop.part" in text
    assert "a sample could not be read: judged by names alone" in text


INERT = [
    ("create type shop.status as enum ('a', 'b'); alter type shop.status owner to app; "
    "create table shop.part (id int primary key, status shop.status, plain text default shop.evil('')); "
    "create index on shop.part (id) where status = 'a'; create index on shop.part (lower(plain)); create index on shop.part (id) where status = any ('{a,b}'::shop.status[])"),
    ("create table shop.part (id int check (id > 0), plain text, made text generated always as (plain || 'x') stored) partition by range (id); "
    "create table shop.part_1 partition of shop.part for values from (1) to (1000); create statistics shop.s on (id + 1), plain from shop.part"),
    "create type shop.row as (id int, plain text); alter type shop.row owner to app; create table shop.part of shop.row (primary key (id))",
    ("create table shop.part (id int primary key, plain text); create policy p on shop.part using (shop.evil('') = ''); "
    "alter table shop.part enable row level security"),
]  # fmt: skip


@pytest.mark.parametrize(
    "statements", INERT, ids=["an enum", "partitions", "a typed table", "a policy that is not theirs"]
)
def test_what_runs_nothing_is_sampled(su, ran, statements):
    su.execute(statements)
    su.execute("insert into shop.part (id, plain) values (1, 'sk-' || repeat('a', 20))")
    su.execute("alter table shop.part owner to app")
    text = suggested(su, "shop")
    assert ran() == []
    assert "judged by names alone" not in text
    assert "-- secret: plain (its values look like secrets)" in text


def test_a_policy_that_applies_to_the_reader_is_code_of_its_owner(db, su, ran):
    su.execute(
        "create table shop.part (id int primary key, plain text); create policy p on shop.part using (shop.evil('') = '')"
    )
    su.execute("alter table shop.part enable row level security; grant select on shop.part to admin")
    found = "select pg_temp.code_run_by_reading('shop.part')"
    assert adopting(su, "suggest", found) == [(None,)]
    admin = db.connect("admin")
    su.execute("alter policy p on shop.part using (query_to_xml('select shop.evil()', true, true, '') is not null)")
    assert adopting(admin, "suggest", found) == [("policy p on table shop.part looks beyond the row",)]
    su.execute("alter policy p on shop.part using (shop.evil('') = '')")
    assert adopting(admin, "suggest", found) == [("policy p on table shop.part needs function shop.evil(text)",)]


def test_a_table_is_held_while_it_is_looked_at_and_read_and_let_go_after(db, su, ran):
    su.execute("create table shop.part (id int primary key, plain text); alter table shop.part owner to app")
    app = db.connect("app")
    app.execute("set lock_timeout = '200ms'")
    with su.transaction(force_rollback=True):
        install(su, "suggest")
        (place,) = su.execute("select pg_temp.hold_for_reading('shop.part')").fetchone()
        app.execute("insert into shop.part values (1, 'x')")
        for change in (
            "create index on shop.part (id) where shop.evil('') = ''",
            "create statistics shop.s on (shop.evil(plain) || plain) from shop.part",
            "alter table shop.part add check (shop.evil('') = '')",
            "alter table shop.part rename to other",
        ):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                app.execute(change)
        # The schema can be renamed: the table is read that was looked at.
        su2 = db.connect()
        su2.execute("alter schema shop rename to gone; create schema shop; create table shop.part (id int, plain text)")
        su2.execute("insert into shop.part select n, 'other' from generate_series(1, 9) as n")
        assert su.execute(f"select plain from {place} as source").fetchall() == [("x",)]
        su.execute("select pg_temp.release_source(%s)", [place])
    with su.transaction(force_rollback=True):
        install(su, "suggest")
        su.execute("select pg_temp.suggest('shop')").fetchall()
        assert su.execute(
            "select count(*) from pg_locks where mode = 'ShareUpdateExclusiveLock' and pid = pg_backend_pid()"
        ).fetchone() == (0,)
        assert su.execute("select to_regclass('pg_temp.\"pgtrail reading\"')").fetchone() == (None,)


def test_what_is_being_changed_is_not_read_as_a_superuser(db, su, ran):
    su.execute("create table shop.part (id int primary key, plain text); alter table shop.part owner to app")
    app = db.connect("app", autocommit=False)
    app.execute("create index on shop.part (id) where shop.evil('') = ''")
    finished = threading.Timer(0.3, app.commit)
    finished.start()
    text = suggested(su, "shop")
    finished.join()
    assert ran() == []
    assert "judged by names alone" in text
    with su.transaction(force_rollback=True):
        # What was committed after its snapshot such a transaction would not look at, and Postgres would plan with it.
        su.execute("set transaction isolation level repeatable read")
        install(su, "suggest")
        with pytest.raises(psycopg.Error, match="can't be held") as refused:
            su.execute("select pg_temp.hold_for_reading('shop.part')")
        assert refused.value.sqlstate == "PT034"


HOLD = "select pg_temp.hold_for_reading('shop.part')"


def test_a_role_that_a_superuser_has_set_reads_no_more_than_it_can_hold(db, su, ran):
    su.execute("create table shop.part (id int primary key, plain text); grant select on shop.part to admin")
    su.execute("set role admin")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        adopting(su, "suggest", HOLD)
    assert "can't be read by this role" in suggested(su, "shop")
    ((place,),) = adopting(db.connect("admin"), "suggest", HOLD)
    assert place.startswith("(select ")


HELD = [
    "create index on old.record_version (id) where shop.evil('') = ''",
    "create table old.more () inherits (old.record_version); create index on old.more (id) where shop.evil('') = ''",
    "alter table old.record_version alter op type shop.op using op::shop.op, alter table_name type shop.op using 'INSERT'",
]


@pytest.mark.parametrize("trap", HELD, ids=["an index", "an index of a child", "an enum with a cast"])
def test_import_reads_no_history_that_would_run_its_owners_code(su, ran, trap):
    su.execute(HISTORY)
    su.execute("create type shop.op as enum ('INSERT'); alter type shop.op owner to app")
    su.execute(trap)
    before = len(ran())
    for call in ("import_source('supa_audit')", "import_batch('supa_audit', 'old.record_version')", "import_survey('supa_audit', 'old.record_version')"):  # fmt: skip
        with pytest.raises(psycopg.Error, match="is not as supa_audit creates it") as refused:
            adopting(su, "import", f"select pg_temp.{call}")
        assert refused.value.sqlstate == "PT002"
    assert ran()[before:] == []
