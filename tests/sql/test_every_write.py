"""Whatever way a row is written: recorded exactly once, and right."""

import json

import psycopg
import pytest

EVENTS = """
    select operation, resource_id, before, after, changed
    from audit.event
    where category = 'thing'
    order by id
"""


@pytest.fixture
def su(db):
    connection = db.connect()
    connection.add_notice_handler(lambda _: None)
    return connection


@pytest.fixture
def thing(su):
    """A tracked table public.thing (id, name, hits), hits ignored; the events of its category so far."""
    su.execute("create table public.thing (id int primary key, name text, hits int default 0)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name', ignore => '{hits}')")
    return lambda: su.execute(EVENTS).fetchall()


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


def test_truncate_fails_rather_than_lose_rows_where_it_may_not_see_them(db, su, thing):
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("alter table public.thing enable row level security")
    su.execute("grant truncate on public.thing to app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        db.connect("app").execute("truncate public.thing")
    assert su.execute("select count(*) from public.thing").fetchone() == (1,)


@pytest.fixture
def partitioned(su):
    su.execute(
        "create table public.thing (id int, region text, name text, primary key (id, region)) partition by list (region)"
    )
    su.execute("create table public.thing_eu partition of public.thing for values in ('eu')")
    su.execute("create table public.thing_us partition of public.thing for values in ('us')")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    return lambda: su.execute(EVENTS).fetchall()


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


def test_generated_and_identity_columns_are_recorded_as_they_are_stored(su):
    su.execute(
        "create table public.thing (id int generated always as identity primary key, a int, "
        "double int generated always as (a * 2) stored)"
    )
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing (a) values (4)")
    su.execute("update public.thing set a = 5")
    inserted, updated = su.execute(EVENTS).fetchall()
    assert inserted[3] == {"id": 1, "a": 4, "double": 8}
    assert (updated[3], sorted(updated[4])) == ({"id": 1, "a": 5, "double": 10}, ["a", "double"])


def test_nulls_quotes_emoji_and_a_megabyte_of_json_come_through(su):
    su.execute("create table public.thing (id int primary key, name text, data jsonb)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    big = {"text": "x" * 1_000_000, "nested": {"emoji": "🦊", "quote": "'\"\\"}}
    name = 'it\'s "quoted" \\ 🦊\n\t$$ %s {} audit'
    su.execute("insert into public.thing values (1, null, null), (2, %s, %s)", [name, json.dumps(big)])
    first, second = su.execute(EVENTS).fetchall()
    assert first[3] == {"id": 1, "name": None, "data": None}
    assert second[3] == {"id": 2, "name": name, "data": big}
    su.execute("update public.thing set name = 'x' where id = 2")
    assert su.execute(EVENTS).fetchall()[2][4] == ["name"]


def test_names_that_need_quoting_are_tracked_like_any_other(su):
    su.execute('create schema "Weird Table"')
    su.execute(
        'create table "Weird Table"."Select" ("Order" int primary key, "na""me" text, "it\'s" text, "$1 {}" text)'
    )
    su.execute("""select audit.track('"Weird Table"."Select"', 'thing', label => 'na"me', ignore => array['it''s'])""")
    su.execute("""insert into "Weird Table"."Select" values (1, 'a', 'b', 'c')""")
    su.execute("""update "Weird Table"."Select" set "it's" = 'ignored'""")
    su.execute("""update "Weird Table"."Select" set "$1 {}" = 'd'""")
    su.execute("""truncate "Weird Table"."Select" """)
    events = su.execute(EVENTS).fetchall()
    assert [event[0] for event in events] == ["INSERT", "UPDATE", "TRUNCATE"]
    assert events[1][3] == {"Order": 1, 'na"me': "a", "$1 {}": "d"}
    assert su.execute("select distinct table_name from audit.event where category = 'thing'").fetchone() == (
        '"Weird Table"."Select"',
    )


def test_a_table_of_300_columns_and_a_name_of_63_bytes_is_tracked(su):
    name = "t" * 63
    columns = ", ".join(f"c{number} int" for number in range(300))
    su.execute(f"create table public.{name} (id int primary key, {columns})")
    su.execute(f"select audit.track('public.{name}', 'thing')")
    su.execute(f"insert into public.{name} (id) values (1)")
    su.execute(f"update public.{name} set c299 = 1, c0 = 2")
    inserted, updated = su.execute(EVENTS).fetchall()
    assert len(inserted[3]) == 301
    assert sorted(updated[4]) == ["c0", "c299"]


def test_types_without_equality_are_compared_and_so_is_what_equality_overlooks(su):
    su.execute("create table public.thing (id int primary key, j json, p point, n numeric)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("""insert into public.thing values (1, '{"a": 1}', '(1,2)', 1.0)""")
    su.execute("update public.thing set id = id, n = 1.0, p = '(1,2)'")
    for change in ("""j = '{"a":  1}'""", "p = '(1,3)'", "n = 1.00"):
        su.execute(f"update public.thing set {change}")
    assert [event[4] for event in su.execute(EVENTS).fetchall()[1:]] == [["j"], ["p"], ["n"]]


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


def test_a_table_without_a_key_is_tracked_with_a_warning_that_says_how_its_rows_are_told_apart(db, su):
    notices = []
    connection = db.connect()
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("create table public.thing (name text)")
    connection.execute("select audit.track('public.thing', 'thing')")
    assert any("no primary key" in notice and "digest" in notice for notice in notices)
    connection.execute("insert into public.thing values ('a'), ('b')")
    ids = {event[1] for event in connection.execute(EVENTS)}
    assert len(ids) == 2


def test_a_unique_index_over_what_is_not_null_serves_as_key(su):
    su.execute("create table public.thing (name text not null unique, note text unique)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values ('a', 'b')")
    assert su.execute(EVENTS).fetchone()[1] == "a"


def test_a_key_that_is_a_secret_tells_rows_apart_without_being_shown(su):
    su.execute("create table public.thing (token text primary key, n int)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values ('S3CRET', 1), ('S3CRET-2', 1)")
    su.execute("update public.thing set n = 2 where token = 'S3CRET'")
    events = su.execute(EVENTS).fetchall()
    assert events[2][1] in {events[0][1], events[1][1]}
    assert len({events[0][1], events[1][1]}) == 2
    assert "S3CRET" not in str(events)


def test_secrets_inside_json_are_redacted_wherever_the_path_leads(su):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute(
        "select audit.track('public.thing', 'thing', secret => '{config.api_key,config.hooks.*.secret,config.deep.*.*}')"
    )
    config = {
        "api_key": "S3CRET", "level": 1, "none": None, "deep": {"a": {"b": "S3CRET", "c": None}},
        "hooks": [{"secret": "S3CRET", "url": "u"}, {"secret": None}, "S3CRET"],
    }  # fmt: skip
    su.execute("insert into public.thing values (1, %s), (2, '\"S3CRET\"'), (3, null), (4, '[]')", [json.dumps(config)])
    rows = [event[3]["config"] for event in su.execute(EVENTS)]
    assert rows[0] == {
        "api_key": "[redacted]", "level": 1, "none": None, "deep": {"a": {"b": "[redacted]", "c": None}},
        "hooks": [{"secret": "[redacted]", "url": "u"}, {"secret": None}, "[redacted]"],
    }  # fmt: skip
    assert rows[1:] == ["[redacted]", None, []]


def test_columns_that_look_secret_are_redacted_unless_revealed(su):
    su.execute(
        'create table public.thing (id int primary key, "passwordHash" text, api_token text, max_tokens int, salt text, hashtag text)'
    )
    su.execute("select audit.track('public.thing', 'thing', reveal => '{salt}')")
    su.execute("insert into public.thing values (1, 'S3CRET', 'S3CRET', 4, 'sea', 'fox')")
    assert su.execute(EVENTS).fetchone()[3] == {
        "id": 1, "passwordHash": "[redacted]", "api_token": "[redacted]", "max_tokens": 4, "salt": "sea", "hashtag": "fox",
    }  # fmt: skip


def test_a_schema_change_is_followed_in_its_own_transaction(su, thing):
    su.execute("insert into public.thing values (1, 'a')")
    with su.transaction():
        su.execute("alter table public.thing add column note text, add column session_token text")
        su.execute("alter table public.thing rename column name to title")
        su.execute("alter table public.thing rename column hits to clicks")
        su.execute("update public.thing set note = 'n', session_token = 'S3CRET'")
    su.execute("update public.thing set clicks = 5")
    su.execute("alter table public.thing alter column title type varchar(10)")
    su.execute("alter table public.thing drop column note")
    su.execute("update public.thing set title = 'b'")
    su.execute("alter table public.thing rename to things")
    su.execute("update public.things set title = 'c'")
    updates = [event[3:] for event in thing()[1:]]
    token = {"session_token": "[redacted]"}
    assert [(after, sorted(changed)) for after, changed in updates] == [
        ({"id": 1, "title": "a", "note": "n", **token}, ["note", "session_token"]),
        ({"id": 1, "title": "b", **token}, ["title"]),
        ({"id": 1, "title": "c", **token}, ["title"]),
    ]
    assert su.execute("select label, ignore from audit.tracked_table where resource = 'thing'").fetchone() == (
        "title",
        ["clicks"],
    )
    assert su.execute("select resource_label, table_name from audit.event order by id desc limit 1").fetchone() == (
        "c",
        "public.things",
    )


def test_a_secret_column_stays_secret_when_it_is_renamed(su):
    su.execute("create table public.thing (id int primary key, plain text)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{plain}')")
    su.execute("alter table public.thing rename column plain to open_text")
    su.execute("insert into public.thing values (1, 'S3CRET')")
    assert su.execute(EVENTS).fetchone()[3] == {"id": 1, "open_text": "[redacted]"}


def test_a_rule_that_a_schema_change_breaks_costs_no_event(su, thing):
    su.execute("select audit.rule('public.thing', 'thing.renamed', 'thing', 'UPDATE', 'new.name <> old.name')")
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set name = 'b'")
    su.execute("alter table public.thing rename column name to title")
    su.execute("update public.thing set title = 'c'")
    actions = su.execute("select action from audit.event where category = 'thing' order by id").fetchall()
    assert actions == [("thing.created",), ("thing.renamed",), ("thing.updated",)]


@pytest.mark.parametrize(
    ("call", "sqlstate", "says"),
    [
        ("audit.track('pg_catalog.pg_views')", "PT001", "is a view"),
        ("audit.track('audit.event')", "PT001", "the log itself"),
        ("audit.track('public.thing', ignore => '{nope}')", "PT002", '"nope"'),
        ("audit.track('public.thing', secret => '{nope.x}')", "PT002", '"nope"'),
        ("audit.track('public.thing', org => 'nope')", "PT002", '"nope"'),
        ("audit.untrack('public.other')", "PT003", "not tracked"),
        ("audit.track('public.thing', secret => '{name}', label => 'name')", "PT004", "secret"),
        ("audit.track('public.thing', category => 'nope')", "PT005", '"nope"'),
        ("audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'new.name = = 1')", "PT006", "syntax error"),
        ("audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'new.nope = 1')", "PT006", "nope"),
        ("audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'new.name')", "PT006", "boolean"),
        ("audit.rule('public.thing', 'a.b', 'thing', 'INSERT', 'old.name = new.name')", "PT006", "no old row"),
        (
            "audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'true); drop table public.thing; select (true')",
            "PT006",
            "not allowed",
        ),
        ("audit.drop_rule('public.thing', 'a.b')", "PT007", "no rule"),
        ("audit.grant_org('nobody_such', 'o')", "PT014", "no role"),
        ("audit.moment('tralala')", "PT015", "no time"),
    ],
)
def test_bad_input_is_refused_with_its_mend_and_changes_nothing(su, thing, call, sqlstate, says):
    su.execute("create table public.other (id int)")
    state = "select (select array_agg(t order by t) from audit.tracked_table t)::text, (select array_agg(r) from audit.rule r)::text"
    before = su.execute(state).fetchone()
    with pytest.raises(psycopg.Error, match=says) as raised:
        su.execute(f"select {call}")
    assert raised.value.sqlstate == sqlstate
    assert raised.value.diag.message_hint
    assert su.execute(state).fetchone() == before


def test_tracking_again_changes_the_settings_and_untracking_leaves_the_events(su, thing):
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("select audit.track('public.thing', 'thing', label => 'name', ignore => '{hits}')")
    su.execute("select audit.track('public.thing', 'thing', ignore => '{name}')")
    su.execute("update public.thing set name = 'ignored now'")
    su.execute("update public.thing set hits = 7")
    assert [event[4] for event in thing()[1:]] == [["hits"]]
    su.execute("select audit.untrack('public.thing')")
    su.execute("delete from public.thing")
    assert len(thing()) == 2
    leftovers = "select count(*) from pg_proc where proname like 'capture public.thing %'"
    assert su.execute(leftovers).fetchone() == (0,)
    assert su.execute("select count(*) from pg_trigger where tgrelid = 'public.thing'::regclass").fetchone() == (0,)


def test_recompile_puts_back_triggers_that_were_dropped_and_forgets_tables_that_are_gone(su, thing):
    su.execute("drop trigger pgtrail_update on public.thing")
    su.execute("create table public.other (id int primary key)")
    su.execute("select audit.track('public.other', 'other')")
    su.execute("drop table public.other")
    su.execute("select audit.recompile()")
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set name = 'b'")
    assert len(thing()) == 2
    assert su.execute("select count(*) from audit.tracked_table where resource = 'other'").fetchone() == (0,)
    assert su.execute("select count(*) from pg_proc where proname like 'capture public.other %'").fetchone() == (0,)
