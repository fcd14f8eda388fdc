"""A trigger for audited columns alone: what costs nothing, and that nothing goes unrecorded for it."""

import psycopg
import pytest

TRACK = "select audit.track('public.meter', 'meter', ignore => '{hits,seen_at}', hot => true)"
METER = """
create table public.meter (
    id int primary key, name text, hits int default 0, seen_at timestamptz, doubled int generated always as (hits * 2) stored
)
"""

BEFORE_TRIGGER = """
create function public.b() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger b before insert or update on public.meter for each row execute function public.b()
"""


@pytest.fixture
def meter(su):
    """A table whose UPDATE trigger is for its audited columns alone, with one row."""
    su.execute(METER)
    su.execute(TRACK)
    su.execute("insert into public.meter values (1, 'a', 0)")
    return su


def calls(su, statement):
    """How often the UPDATE trigger was called."""
    plan = su.execute(f"explain (analyze, format json) {statement}").fetchone()[0]
    return sum(trigger["Calls"] for trigger in plan[0]["Triggers"] if trigger["Trigger Name"] == "pgtrail_update")


def changed(su):
    return [row[0] for row in su.execute("select changed from audit.event where action = 'meter.updated' order by id")]


def test_an_update_of_ignored_columns_does_not_call_the_trigger(meter):
    assert calls(meter, "update public.meter set seen_at = now()") == 0
    assert calls(meter, "update public.meter set name = 'b', seen_at = now()") == 1
    assert changed(meter) == [["name"]]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.meter values (1, 'x') on conflict (id) do update set name = excluded.name",
        "merge into public.meter using (values (1)) as given (id) on meter.id = given.id when matched then update set name = 'x'",
        "update public.meter set (hits, name) = (select 1, 'x')",
    ],
)
def test_whatever_names_an_audited_column_is_recorded(meter, statement):
    meter.execute(statement)
    assert "name" in changed(meter)[0]


def test_a_stored_column_that_follows_an_ignored_one_is_recorded(meter):
    meter.execute("update public.meter set hits = 5")
    assert changed(meter) == [["doubled"]]


def test_a_foreign_key_that_acts_is_recorded(su):
    su.execute("create table public.site (id int primary key)")
    su.execute(
        "create table public.meter (id int primary key, site_id int references public.site on update cascade on delete set null, hits int)"
    )
    su.execute("select audit.track('public.meter', 'meter', ignore => '{hits}', hot => true)")
    su.execute("insert into public.site values (1)")
    su.execute("insert into public.meter values (1, 1, 0)")
    su.execute("update public.site set id = 2")
    su.execute("delete from public.site")
    assert changed(su) == [["site_id"], ["site_id"]]


def test_partitions_whose_columns_stand_in_another_order(su):
    su.execute("create table public.meter (id int, name text, hits int, primary key (id)) partition by range (id)")
    su.execute("create table public.meter_1 (hits int, gone int, name text, id int not null)")
    su.execute("alter table public.meter_1 drop column gone")
    su.execute("alter table public.meter attach partition public.meter_1 for values from (0) to (100)")
    su.execute("select audit.track('public.meter', 'meter', ignore => '{hits}', hot => true)")
    su.execute("insert into public.meter values (1, 'a', 0)")
    assert calls(su, "update public.meter set hits = 1") == 0
    su.execute("update public.meter_1 set name = 'b'")
    assert changed(su) == [["name"]]
    assert su.execute("select * from audit.doctor()").fetchall() == []


def test_a_column_that_is_added_or_renamed_is_recorded(meter):
    meter.execute("alter table public.meter add column extra int")
    meter.execute("update public.meter set extra = 1")
    meter.execute("alter table public.meter rename column extra to more")
    meter.execute("update public.meter set more = 2")
    assert changed(meter) == [["extra"], ["more"]]
    assert meter.execute("select * from audit.doctor()").fetchall() == []


def test_a_before_trigger_that_comes_later_has_each_update_call_it(meter):
    meter.execute(
        "create function public.shout() returns trigger language plpgsql as $$ begin new.name := new.name || '!'; return new; end $$"
    )
    meter.execute("create trigger shout before update on public.meter for each row execute function public.shout()")
    meter.execute("update public.meter set seen_at = now()")
    assert changed(meter) == [["name"]]
    meter.execute("drop trigger shout on public.meter")
    assert calls(meter, "update public.meter set seen_at = now()") == 0
    assert meter.execute("select * from audit.doctor()").fetchall() == []


def test_an_audited_column_is_dropped_once_it_is_tracked_without(meter):
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        meter.execute("alter table public.meter drop column name")
    with pytest.raises(psycopg.Error) as refused:
        meter.execute("alter table public.meter drop column name cascade")
    assert refused.value.sqlstate == "PT076"
    assert "audit.track('public.meter', …) without hot" in refused.value.diag.message_hint
    meter.execute("select audit.track('public.meter', 'meter', ignore => '{hits,seen_at}')")
    meter.execute("alter table public.meter drop column name")
    meter.execute("alter table public.meter drop column hits cascade")
    assert calls(meter, "update public.meter set seen_at = now()") == 1
    meter.execute("select audit.track('public.meter', 'meter', ignore => '{seen_at}', hot => true)")
    assert calls(meter, "update public.meter set seen_at = now()") == 0


def test_an_ignored_column_and_the_table_itself_may_go(meter):
    meter.execute("alter table public.meter drop column seen_at cascade")
    meter.execute("update public.meter set name = 'b'")
    assert changed(meter) == [["name"]]
    meter.execute("drop table public.meter cascade")


@pytest.mark.parametrize(
    ("before", "arguments", "reason"),
    [
        ("", ", bulk => true", "record by statement"),
        (BEFORE_TRIGGER, "", "BEFORE trigger"),
        ("alter event trigger pgtrail_follow_ddl disable", "", "event triggers"),
    ],
)
def test_it_is_refused_where_an_update_might_go_unrecorded(su, before, arguments, reason):
    su.execute(METER)
    su.execute(before)
    with pytest.raises(psycopg.Error, match=reason) as refused:
        su.execute(f"select audit.track('public.meter', hot => true{arguments})")
    assert refused.value.sqlstate == "PT001"
    assert "Leave out hot" in refused.value.diag.message_hint


def test_an_admin_who_owns_the_table_may(db, su):
    su.execute("grant create on schema public to admin")
    admin = db.connect("admin")
    admin.execute(METER)
    admin.execute(TRACK)
    admin.execute("insert into public.meter values (1, 'a', 0)")
    assert calls(admin, "update public.meter set seen_at = now()") == 0
    admin.execute("alter table public.meter add column extra int")
    admin.execute("update public.meter set extra = 1")
    assert changed(su) == [["extra"]]
