"""Whatever way a row is written: recorded exactly once, and right."""

import json

import psycopg
import pytest


def row(number, name):
    return {"id": number, "name": name}


def test_insert_on_conflict_records_each_arm_once(su, thing):
    su.execute("insert into public.thing values (1, 'old')")
    su.execute(
        "insert into public.thing values (1, 'new'), (2, 'two') on conflict (id) do update set name = excluded.name"
    )
    assert sorted(thing()[1:]) == [
        ("INSERT", "2", None, row(2, "two"), None),
        ("UPDATE", "1", row(1, "old"), row(1, "new"), ["name"]),
    ]
    su.execute("insert into public.thing values (1, 'newer') on conflict do nothing")
    assert len(thing()) == 3


def test_merge_records_each_arm_once(su, thing):
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    su.execute(
        "merge into public.thing using (values (1, 'x'), (2, null), (3, 'c')) as source (id, name) "
        "on thing.id = source.id "
        "when matched and source.name is null then delete "
        "when matched then update set name = source.name "
        "when not matched then insert (id, name) values (source.id, source.name)"
    )
    assert sorted(thing()[2:], key=lambda event: event[1]) == [
        ("UPDATE", "1", row(1, "a"), row(1, "x"), ["name"]),
        ("DELETE", "2", row(2, "b"), None, None),
        ("INSERT", "3", None, row(3, "c"), None),
    ]


def test_copy_records_every_row(su, thing):
    with su.cursor().copy("copy public.thing (id, name) from stdin") as copy:
        for number in range(100):
            copy.write_row((number, f"n{number}"))
    assert [event[3] for event in thing()] == [row(number, f"n{number}") for number in range(100)]


def test_a_bulk_update_pairs_every_row_with_its_own_before(su, thing):
    su.execute("insert into public.thing select i, 'n' || i from generate_series(1, 1000) as i")
    su.execute("update public.thing set name = name || '!'")
    updates = thing()[1000:]
    assert len(updates) == 1000
    assert all(
        before["id"] == after["id"] and after["name"] == before["name"] + "!" for _, _, before, after, _ in updates
    )


def test_a_changed_primary_key_is_one_event_with_both(su, thing):
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    su.execute("update public.thing set id = id + 10")
    assert sorted(thing()[2:]) == [
        ("UPDATE", "11", row(1, "a"), row(11, "a"), ["id"]),
        ("UPDATE", "12", row(2, "b"), row(12, "b"), ["id"]),
    ]


def test_cascades_record_every_row_that_goes(su, thing):
    su.execute("create table public.part (id int primary key, thing_id int references public.thing on delete cascade)")
    su.execute("select audit.track('public.part', 'part', 'thing')")
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("insert into public.part values (1, 1), (2, 1)")
    su.execute("delete from public.thing")
    assert sorted(event[1] for event in thing() if event[0] == "DELETE") == ["1", "1", "2"]


def test_a_writable_cte_records_each_of_its_writes(su, thing):
    su.execute("insert into public.thing values (1, 'a')")
    su.execute(
        "with gone as (delete from public.thing where id = 1 returning name) insert into public.thing select 2, name from gone"
    )
    assert sorted(event[:2] for event in thing()[1:]) == [("DELETE", "1"), ("INSERT", "2")]


def test_a_prepared_transaction_is_recorded_when_and_only_if_it_commits(db, su, thing):
    su.execute("grant all on public.thing to app")
    app = db.connect("app", autocommit=False)
    for number, end in ((1, app.tpc_commit), (2, app.tpc_rollback)):
        app.tpc_begin(f"t{number}")
        app.execute("insert into public.thing values (%s, 'x')", [number])
        app.tpc_prepare()
        assert len(thing()) == number - 1
        end()
    assert [event[1] for event in thing()] == ["1"]


def test_truncate_records_every_row_as_deleted(su, thing):
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    su.execute("truncate public.thing")
    assert thing()[2:] == [
        ("TRUNCATE", "1", row(1, "a"), None, None),
        ("TRUNCATE", "2", row(2, "b"), None, None),
    ]
    assert su.execute("select distinct action from audit.event where operation = 'TRUNCATE'").fetchall() == [
        ("thing.deleted",)
    ]


def test_truncate_records_what_row_level_security_would_hide(db, su, thing):
    su.execute("alter table public.thing enable row level security")
    su.execute("select audit.recompile()")
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("grant truncate on public.thing to app")
    db.connect("app").execute("truncate public.thing")
    assert [event[0] for event in thing()] == ["INSERT", "TRUNCATE"]


@pytest.mark.parametrize(
    "hide",
    [
        # Where no event trigger follows, there is no policy for who records.
        "drop event trigger pgtrail_extend_capture; alter table public.thing enable row level security",
        # Where one does, a restrictive policy takes back what pgtrail's gave, and so does who drops that.
        "alter table public.thing enable row level security; create policy narrow on public.thing as restrictive using (false)",
        "alter table public.thing enable row level security; drop policy pgtrail_truncate on public.thing",
    ],
)
def test_truncate_fails_rather_than_lose_rows_where_it_may_not_see_them(db, su, thing, hide):
    su.execute("insert into public.thing values (1, 'a')")
    su.execute(hide)
    su.execute("grant truncate on public.thing to app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        db.connect("app").execute("truncate public.thing")
    assert su.execute("select count(*) from public.thing").fetchone() == (1,)


@pytest.fixture
def partitioned(su, recorded):
    su.execute(
        "create table public.thing (id int, region text, name text, primary key (id, region)) partition by list (region)"
    )
    su.execute("create table public.thing_eu partition of public.thing for values in ('eu')")
    su.execute("create table public.thing_us partition of public.thing for values in ('us')")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    return recorded


def test_a_partitioned_table_is_recorded_through_its_parent_and_through_its_leaves(su, partitioned):
    su.execute("insert into public.thing values (1, 'eu', 'a'), (2, 'us', 'b')")
    su.execute("update public.thing_eu set name = 'A'")
    su.execute("delete from public.thing where id = 2")
    assert [event[:2] for event in partitioned()] == [
        ("INSERT", "1,eu"), ("INSERT", "2,us"), ("UPDATE", "1,eu"), ("DELETE", "2,us"),
    ]  # fmt: skip


def test_a_row_that_moves_to_another_partition_is_deleted_there_and_created_here(su, partitioned):
    su.execute("insert into public.thing values (1, 'eu', 'a')")
    su.execute("update public.thing set region = 'us'")
    (_, deleted, created) = partitioned()
    assert deleted[:3] == ("DELETE", "1,eu", {"id": 1, "region": "eu", "name": "a"})
    assert (*created[:2], created[3]) == ("INSERT", "1,us", {"id": 1, "region": "us", "name": "a"})


@pytest.mark.parametrize(("truncated", "gone"), [("thing", ["1,eu", "2,us"]), ("thing_eu", ["1,eu"])])
def test_truncate_of_a_partitioned_table_or_of_one_leaf_records_each_row_once(su, partitioned, truncated, gone):
    su.execute("insert into public.thing values (1, 'eu', 'a'), (2, 'us', 'b')")
    su.execute(f"truncate public.{truncated}")
    assert sorted(event[1] for event in partitioned()[2:]) == gone


def test_generated_and_identity_columns_are_recorded_as_they_are_stored(su, recorded):
    su.execute(
        "create table public.thing (id int generated always as identity primary key, a int, "
        "double int generated always as (a * 2) stored)"
    )
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing (a) values (4)")
    su.execute("update public.thing set a = 5")
    inserted, updated = recorded()
    assert inserted[3] == {"id": 1, "a": 4, "double": 8}
    assert (updated[3], sorted(updated[4])) == ({"id": 1, "a": 5, "double": 10}, ["a", "double"])


def test_nulls_quotes_emoji_and_a_megabyte_of_json_come_through(su, recorded):
    su.execute("create table public.thing (id int primary key, name text, data jsonb)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    big = {"text": "x" * 1_000_000, "nested": {"emoji": "🦊", "quote": "'\"\\"}}
    name = 'it\'s "quoted" \\ 🦊\n\t$$ %s {} audit'
    su.execute("insert into public.thing values (1, null, null), (2, %s, %s)", [name, json.dumps(big)])
    first, second = recorded()
    assert first[3] == {"id": 1, "name": None, "data": None}
    assert second[3] == {"id": 2, "name": name, "data": big}
    su.execute("update public.thing set name = 'x' where id = 2")
    assert recorded()[2][4] == ["name"]


def test_names_that_need_quoting_are_tracked_like_any_other(su, recorded):
    su.execute('create schema "Weird Table"')
    su.execute(
        'create table "Weird Table"."Select" ("Order" int primary key, "na""me" text, "it\'s" text, "$1 {}" text)'
    )
    su.execute("""select audit.track('"Weird Table"."Select"', 'thing', label => 'na"me', ignore => array['it''s'])""")
    su.execute("""insert into "Weird Table"."Select" values (1, 'a', 'b', 'c')""")
    su.execute("""update "Weird Table"."Select" set "it's" = 'ignored'""")
    su.execute("""update "Weird Table"."Select" set "$1 {}" = 'd'""")
    su.execute("""truncate "Weird Table"."Select" """)
    events = recorded()
    assert [event[0] for event in events] == ["INSERT", "UPDATE", "TRUNCATE"]
    assert events[1][3] == {"Order": 1, 'na"me': "a", "$1 {}": "d"}
    assert su.execute("select distinct table_name from audit.event where category = 'thing'").fetchone() == (
        '"Weird Table"."Select"',
    )


def test_a_table_of_300_columns_and_a_name_of_63_bytes_is_tracked(su, recorded):
    name = "t" * 63
    columns = ", ".join(f"c{number} int" for number in range(300))
    su.execute(f"create table public.{name} (id int primary key, {columns})")
    su.execute(f"select audit.track('public.{name}', 'thing')")
    su.execute(f"insert into public.{name} (id) values (1)")
    su.execute(f"update public.{name} set c299 = 1, c0 = 2")
    inserted, updated = recorded()
    assert len(inserted[3]) == 301
    assert sorted(updated[4]) == ["c0", "c299"]


def test_types_without_equality_are_compared_and_so_is_what_equality_overlooks(su, recorded):
    su.execute("create table public.thing (id int primary key, j json, p point, n numeric)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("""insert into public.thing values (1, '{"a": 1}', '(1,2)', 1.0)""")
    su.execute("update public.thing set id = id, n = 1.0, p = '(1,2)'")
    for change in ("""j = '{"a":  1}'""", "p = '(1,3)'", "n = 1.00"):
        su.execute(f"update public.thing set {change}")
    assert [event[4] for event in recorded()[1:]] == [["j"], ["p"], ["n"]]


def test_a_row_that_a_trigger_of_the_application_changes_is_recorded_as_it_is_stored(su, thing):
    su.execute(
        "create function public.shout() returns trigger language plpgsql as "
        "$$ begin new.name := upper(new.name); return new; end $$"
    )
    su.execute("create trigger zz before insert or update on public.thing for each row execute function public.shout()")
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set hits = 1, name = 'a'")
    assert thing() == [("INSERT", "1", None, row(1, "A"), None)]
    su.execute("update public.thing set name = 'b'")
    assert thing()[1][3] == row(1, "B")


def test_a_table_without_a_key_is_tracked_with_a_warning_that_says_how_its_rows_are_told_apart(db, su, recorded):
    notices = []
    connection = db.connect()
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("create table public.thing (name text)")
    connection.execute("select audit.track('public.thing', 'thing')")
    assert any("no primary key" in notice and "digest" in notice for notice in notices)
    connection.execute("insert into public.thing values ('a'), ('b')")
    ids = {event[1] for event in recorded()}
    assert len(ids) == 2


def test_a_unique_index_over_what_is_not_null_serves_as_key(su, recorded):
    su.execute("create table public.thing (name text not null unique, note text unique)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values ('a', 'b')")
    assert recorded()[0][1] == "a"


def test_virtual_columns_are_not_recorded_and_can_name_nothing(su, recorded):
    if su.info.server_version < 180000:
        pytest.skip("there are none before PostgreSQL 18")
    su.execute(
        "create table public.thing (id int primary key, a text, name text generated always as (a || '!') virtual)"
    )
    for argument in ("label => 'name'", "org => 'name'", "actor => 'name'"):
        with pytest.raises(psycopg.Error, match="is virtual") as refused:
            su.execute(f"select audit.track('public.thing', {argument})")
        assert refused.value.sqlstate == "PT002"
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values (1, 'x')")
    su.execute("update public.thing set a = 'y'")
    su.execute("delete from public.thing")
    assert [(kind, before and before["a"], after and after["a"]) for kind, _, before, after, _ in recorded()] == [
        ("INSERT", None, "x"), ("UPDATE", "x", "y"), ("DELETE", "y", None),
    ]  # fmt: skip
