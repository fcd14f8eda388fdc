"""Tracking: its settings, the schema changes that it follows, what it refuses."""

import psycopg
import pytest

pytestmark = pytest.mark.any_server


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


def test_a_table_is_followed_into_another_schema_and_through_its_renaming(su, thing):
    su.execute("create schema first")
    su.execute("alter table public.thing set schema first")
    su.execute("truncate first.thing")
    su.execute("insert into first.thing values (1, 'a')")
    su.execute("alter schema first rename to second")
    su.execute("update second.thing set name = 'b'")
    su.execute("truncate second.thing")
    tables = su.execute("select operation, table_name from audit.event where category = 'thing' order by id").fetchall()
    assert tables == [("INSERT", "first.thing"), ("UPDATE", "second.thing"), ("TRUNCATE", "second.thing")]


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
        ("audit.untrack('public.other')", "PT002", "not tracked"),
        ("audit.track('public.thing', secret => '{name}', label => 'name')", "PT004", "secret"),
        ("audit.track('public.thing', secret => '{name.token}', label => 'name')", "PT004", "secret"),
        ("audit.track('public.thing', secret => '{name}', org => 'name')", "PT004", "secret"),
        ("audit.track('public.thing', secret => '{name.token}', org => 'name')", "PT004", "secret"),
        ("audit.track('public.other', org => 'api_key')", "PT004", "secret"),
        ("audit.track('public.other', label => 'db_pass')", "PT004", "secret"),
        ("audit.track('public.thing', category => 'nope')", "PT002", '"nope"'),
        ("audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'new.name = = 1')", "PT006", "syntax error"),
        ("audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'new.nope = 1')", "PT006", "nope"),
        ("audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'new.name')", "PT006", "boolean"),
        ("audit.rule('public.thing', 'a.b', 'thing', 'INSERT', 'old.name = new.name')", "PT006", "no old row"),
        (
            "audit.rule('public.thing', 'a.b', 'thing', 'UPDATE', 'true); drop table public.thing; select (true')",
            "PT006",
            "without a semicolon",
        ),
        ("audit.drop_rule('public.thing', 'a.b')", "PT002", "no rule"),
        ("audit.grant_org('nobody_such', 'o')", "PT002", "no role"),
        ("audit_internal.parse_time('tralala')", "PT009", "invalid time"),
    ],
)
def test_bad_input_is_refused_with_its_mend_and_changes_nothing(su, thing, call, sqlstate, says):
    su.execute("create table public.other (id int, api_key text, db_pass text)")
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


@pytest.mark.parametrize(
    "condition",
    [
        "(select word from ts_stat('select array_to_tsvector(array[secret]) from audit.destination_secret') limit 1)::int > 0",
        "ts_stat('select 1') is not null",
        "query_to_xml('select 1', true, true, '') is not null",
        "exists (select from audit.destination_secret)",
        "exists (table audit.destination_secret)",
        "U&\"ts\\005fstat\"('x') is not null",
    ],
)
def test_a_condition_reads_nothing_but_the_row(thing, su, condition):
    with pytest.raises(psycopg.Error) as raised:
        su.execute("select audit.rule('public.thing', 'thing.leak', 'thing', 'INSERT', %s)", [condition])
    assert raised.value.sqlstate == "PT006"
