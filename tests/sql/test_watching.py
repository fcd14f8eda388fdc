"""Watching the watcher: whoever switches recording or the log's protection off is recorded."""

import psycopg
import pytest

OPERATIONS = ("insert", "update", "delete", "truncate")


@pytest.mark.parametrize(("word", "state"), [("disable", "disabled"), ("enable replica", "replica")])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_switching_a_trigger_off_and_on_again_are_two_events(su, thing, told, operation, word, state):
    trigger = f"pgtrail_{operation}"
    told()
    su.execute(f"alter table public.thing {word} trigger {trigger}")
    su.execute("alter table public.thing add column note text")
    su.execute(f"alter table public.thing {word} trigger {trigger}")
    off = ("audit.capture_disabled", "public.thing", {"triggers": {trigger: "enabled"}}, {"triggers": {trigger: state}})
    assert [event for event in told() if event[0] != "audit.table_changed"] == [off]
    su.execute(f"alter table public.thing enable trigger {trigger}")
    su.execute("alter table public.thing add column other text")
    on = ("audit.capture_enabled", "public.thing", {"triggers": {trigger: state}}, {"triggers": {trigger: "enabled"}})
    assert [event for event in told() if event[0] != "audit.table_changed"] == [on]


def test_all_triggers_at_once_are_one_event_and_recompile_enables_them(su, thing, told):
    told()
    su.execute("alter table public.thing disable trigger all")
    ((action, _, before, after),) = told()
    assert action == "audit.capture_disabled"
    assert set(before["triggers"].values()) == {"enabled"}
    assert after == {"triggers": {f"pgtrail_{operation}": "disabled" for operation in OPERATIONS}}
    su.execute("insert into public.thing values (1, 'unseen')")
    assert thing() == []
    su.execute("select audit.recompile()")
    actions = [event[0] for event in told()]
    assert set(actions) == {"audit.capture_enabled"}
    su.execute("insert into public.thing values (2, 'seen')")
    assert len(thing()) == 1
    assert su.execute("select * from audit.doctor()").fetchall() == []
    su.execute("select audit.recompile()")
    assert told() == []


@pytest.mark.parametrize(
    "drop",
    [
        "drop trigger pgtrail_update on public.thing",
        """drop function audit."capture public.thing update"() cascade""",
        "alter trigger pgtrail_update on public.thing rename to other",
        "create or replace trigger pgtrail_update after update on public.thing for each row execute function suppress_redundant_updates_trigger()",
    ],
)
def test_dropping_a_trigger_or_what_is_as_good_is_an_event(su, thing, told, drop):
    told()
    su.execute(drop)
    ((action, table, before, after),) = told()
    assert (action, table) == ("audit.capture_disabled", "public.thing")
    assert before == {"triggers": {"pgtrail_update": "enabled"}}
    assert after == {"triggers": {"pgtrail_update": "missing"}}
    su.execute("select audit.recompile()")
    assert [event[0] for event in told()] == ["audit.capture_enabled"]
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set name = 'b'")
    assert len(thing()) == 2, "each once"


def test_without_the_event_trigger_recompile_tells_both_late(su, thing, told, unwatched):
    told()
    su.execute("alter table public.thing disable trigger pgtrail_update")
    su.execute("drop trigger pgtrail_delete on public.thing")
    assert told() == []
    su.execute("select audit.recompile()")
    states = {"pgtrail_update": "disabled", "pgtrail_delete": "missing"}
    enabled = dict.fromkeys(states, "enabled")
    assert told() == [
        ("audit.capture_disabled", "public.thing", {"triggers": enabled}, {"triggers": states}),
        ("audit.capture_enabled", "public.thing", {"triggers": states}, {"triggers": enabled}),
    ]


def test_pgtrails_own_work_is_no_tampering(su, thing, told):
    told()
    su.execute("select audit.track('public.thing', 'thing', ignore => '{name}')")
    su.execute("select audit.rule('public.thing', 'thing.hit', 'thing', 'UPDATE', 'new.hits > 1')")
    su.execute("select audit.recompile()")
    su.execute("select audit.untrack('public.thing')")
    su.execute("select audit.track('public.thing', 'thing')")
    assert [event[0] for event in told()] == [
        "audit.table_changed",
        "audit.table_untracked",
        "audit.table_tracked",
    ]
    su.execute("alter table public.thing disable trigger pgtrail_update")
    assert [event[0] for event in told()] == ["audit.capture_disabled"]


def test_whoever_did_it_is_named(db, su, thing, told):
    su.execute("alter table public.thing owner to app")
    app = db.connect("app")
    with app.transaction():
        app.execute("select audit.set_actor('usr_1', 'mallory@acme')")
        app.execute("alter table public.thing disable trigger all")
    row = su.execute(
        "select actor_id, actor_label, db_role, resource_type, resource_label from audit.event where action = 'audit.capture_disabled'"
    ).fetchone()
    assert row == ("usr_1", "mallory@acme", "app", "tracked_table", "public.thing")


def test_the_logs_own_protection_is_watched_too(su, told):
    su.execute("alter table audit.event disable trigger refuse_change")
    ((action, table, before, after),) = told()
    assert (action, table) == ("audit.protection_disabled", "audit.event")
    assert after["triggers"]["refuse_change"] == "disabled"
    assert after["triggers"]["refuse_change on audit.event_default"] == "disabled"
    assert set(before["triggers"].values()) == {"enabled"}
    su.execute("alter table audit.event enable trigger refuse_change")
    assert [event[:2] for event in told()] == [("audit.protection_enabled", "audit.event")]
    su.execute("drop trigger refuse_truncate on audit.event_default")
    ((action, table, _, after),) = told()
    assert (action, table) == ("audit.protection_disabled", "audit.event")
    assert after == {"triggers": {"refuse_truncate on audit.event_default": "missing"}}
    su.execute(
        "create trigger refuse_truncate before truncate on audit.event_default "
        "for each statement execute function audit.refuse_change()"
    )
    assert [event[0] for event in told()] == ["audit.protection_enabled"]


@pytest.mark.parametrize(
    ("off", "on"),
    [
        ("alter table audit.seal disable trigger all", "alter table audit.seal enable trigger all"),
        (
            "drop trigger refuse_truncate on audit.seal_leaves",
            "create trigger refuse_truncate before truncate on audit.seal_leaves for each statement execute function audit.refuse_change()",
        ),
    ],
)
def test_so_is_that_of_the_seals_and_the_doctor_mends_it(su, told, off, on):
    su.execute(off)
    assert [event[0] for event in told()] == ["audit.protection_disabled"]
    mends = su.execute("select mend from audit.doctor() where problem = 'log unprotected'").fetchall()
    assert mends
    for (mend,) in mends:
        su.execute(mend)
    assert {event[0] for event in told()} == {"audit.protection_enabled"}
    assert su.execute("select * from audit.doctor()").fetchall() == []
    su.execute(off)
    told()
    su.execute(on)
    assert [event[0] for event in told()] == ["audit.protection_enabled"]


def test_the_default_partition_becoming_one_is_no_tampering_but_a_detached_one_is(su, told):
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type) "
        "values ('2001-05-05', 'x', 'a.b', 'x', 'y')"
    )
    su.execute("select audit.make_partitions()")
    assert su.execute("select to_regclass('audit.event_2001_05') is not null").fetchone() == (True,)
    assert told() == []
    su.execute("alter table audit.event_2001_05 disable trigger refuse_truncate")
    assert [event[0] for event in told()] == ["audit.protection_disabled"]
    su.execute("alter table audit.event detach partition audit.event_2001_05")
    assert told() == [("audit.partition_detached", "audit.event_2001_05", {"table": "audit.event"}, None)]
    su.execute("drop table audit.event_2001_05")
    su.execute("drop table audit.event_default")
    assert told() == [("audit.partition_dropped", "audit.event_default", {"table": "audit.event"}, None)]


def test_such_an_event_is_forwarded_like_any_other(su, thing):
    su.execute("select audit.add_destination('siem', 'https://siem.example', categories => '{audit}')")
    su.execute("alter table public.thing disable trigger all")
    assert su.execute(
        "select audit.is_for(event, destination) from audit.event, audit.destination where action = 'audit.capture_disabled'"
    ).fetchone() == (True,)


def test_ddl_of_other_tables_is_not_noticed(db, su, thing, told):
    su.execute("create schema shop authorization app")
    app = db.connect("app")
    told()
    for statement in (
        "create table shop.other (id int)", "alter table shop.other add column x int", "create index on shop.other (x)",
        "alter table shop.other rename to another", "drop table shop.another", "create temporary table t (id int)", "drop table t",
    ):  # fmt: skip
        app.execute(statement)
    assert told() == []


def test_nobody_calls_the_event_triggers(db):
    for name in ("follow_ddl", "follow_drop", "touched_tables"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.connect("admin").execute(f"select audit.{name}()")
