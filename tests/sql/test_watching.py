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
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    su.execute("select audit.recompile()")
    assert told() == []


@pytest.mark.parametrize(
    "drop",
    [
        "drop trigger pgtrail_update on public.thing",
        """drop function audit_internal."capture public.thing update"() cascade""",
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


def capture(operation, table="thing"):
    return f'audit_internal."capture public.{table} {operation}"'


ALTERED_TRIGGERS = [
    ("update", f"create or replace trigger pgtrail_update after update on public.thing for each row when (false) execute function {capture('update')}()"),
    ("update", f"create or replace trigger pgtrail_update after update of hits on public.thing for each row execute function {capture('update')}()"),
    ("update", f"create or replace trigger pgtrail_update before update on public.thing for each row execute function {capture('update')}()"),
    ("update", f"create or replace trigger pgtrail_update after update on public.thing for each statement execute function {capture('update')}()"),
    ("update", f"create or replace trigger pgtrail_update after delete on public.thing for each row execute function {capture('update')}()"),
    ("update", f"create or replace trigger pgtrail_update after update on public.thing for each row execute function {capture('update')}('x')"),
    ("update", f"create or replace trigger pgtrail_update after update on public.thing for each row execute function {capture('update', 'other')}()"),
    ("update", f"drop trigger pgtrail_update on public.thing; create constraint trigger pgtrail_update after update on public.thing deferrable initially deferred for each row execute function {capture('update')}()"),
    ("insert", f"create or replace trigger pgtrail_insert after insert on public.thing referencing new table as rows for each statement execute function {capture('insert')}()"),
    ("insert", f"create or replace trigger pgtrail_insert after insert on public.thing for each row execute function {capture('insert')}()"),
    ("delete", f"create or replace trigger pgtrail_delete after delete on public.thing for each statement execute function {capture('delete')}()"),
    ("truncate", f"create or replace trigger pgtrail_truncate after truncate on public.thing for each statement execute function {capture('truncate')}()"),
    ("truncate", f"create or replace trigger pgtrail_truncate before truncate on public.thing for each statement execute function {capture('update')}()"),
]  # fmt: skip

ALTERED_FUNCTIONS = [
    (
        f"create or replace function {capture('update')}() returns trigger language plpgsql security definer "
        "set search_path = pg_catalog, pg_temp as 'begin return null; end'"
    ),
    f"alter function {capture('update')}() security invoker",
    f"alter function {capture('update')}() set search_path = public",
    f"alter function {capture('update')}() reset all",
    f"alter function {capture('update')}() owner to app",
    f"alter function {capture('update')}() stable",
    f'alter function {capture("update")}() rename to "capture other"',
]
GRANTS = [
    f"grant execute on function {capture('update')}() to app",
    "grant execute on all functions in schema audit_internal to public",
]


@pytest.fixture
def other(su):
    su.execute("create table public.other (id int primary key, name text, hits int default 0)")
    su.execute("select audit.track('public.other', 'thing', label => 'name', ignore => '{hits}')")


def sees_every_write_once(su, thing, told):
    """Capture is repaired: four writes are four events."""
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    before = len(thing())
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set name = 'b'")
    su.execute("delete from public.thing")
    su.execute("insert into public.thing values (2, 'c')")
    su.execute("truncate public.thing")
    assert [event[:2] for event in thing()[before:]] == [
        ("INSERT", "1"), ("UPDATE", "1"), ("DELETE", "1"), ("INSERT", "2"), ("TRUNCATE", "2"),
    ]  # fmt: skip
    names = su.execute("select distinct table_name from audit.event where category = 'thing'").fetchall()
    assert names == [("public.thing",)]
    su.execute("select audit.recompile()")
    assert told() == []


@pytest.mark.parametrize(("operation", "alter"), ALTERED_TRIGGERS, ids=[case[1] for case in ALTERED_TRIGGERS])
def test_a_trigger_that_is_not_as_it_was_made_is_an_event_and_is_repaired(su, thing, other, told, operation, alter):
    trigger = f"pgtrail_{operation}"
    told()
    su.execute(alter)
    action, table, before, after = told()[-1]
    assert (action, table, after) == ("audit.capture_altered", "public.thing", {"triggers": {trigger: "altered"}})
    assert list(before["triggers"]) == [trigger]
    assert [
        row[:2]
        for row in su.execute("select * from audit.doctor() where problem <> 'information'")
        if row[0] == "trigger altered"
    ] == [("trigger altered", "public.thing")]
    su.execute("select audit.recompile()")
    action, table, before, after = told()[-1]
    # (A constraint trigger is dropped and created, which are two events.)
    assert (action, table, after) == ("audit.capture_enabled", "public.thing", {"triggers": {trigger: "enabled"}})
    assert before == {"triggers": {trigger: "missing" if "constraint" in alter else "altered"}}
    sees_every_write_once(su, thing, told)


@pytest.mark.parametrize(("operation", "alter"), ALTERED_TRIGGERS[:2] + ALTERED_TRIGGERS[6:9])
def test_without_the_event_trigger_the_doctor_and_recompile_say_so(su, thing, other, told, unwatched, operation, alter):
    trigger = f"pgtrail_{operation}"
    told()
    su.execute(alter)
    assert [
        row[:2]
        for row in su.execute("select * from audit.doctor() where problem <> 'information'")
        if row[0] == "trigger altered"
    ] == [("trigger altered", "public.thing")]
    su.execute("select audit.recompile()")
    enabled, altered = {"triggers": {trigger: "enabled"}}, {"triggers": {trigger: "altered"}}
    assert told() == [
        ("audit.capture_altered", "public.thing", enabled, altered),
        ("audit.capture_enabled", "public.thing", altered, enabled),
    ]
    sees_every_write_once(su, thing, told)


def test_one_that_is_altered_again_is_an_event_again(su, thing, told):
    told()
    su.execute(ALTERED_TRIGGERS[0][1])
    su.execute(ALTERED_TRIGGERS[1][1])
    su.execute("alter table public.thing disable trigger pgtrail_update")
    assert [event[0] for event in told()] == ["audit.capture_altered"] * 3
    su.execute("select audit.recompile()")
    assert [event[0] for event in told()] == ["audit.capture_enabled"]
    sees_every_write_once(su, thing, told)


def test_a_second_trigger_with_our_function_is_named_and_dropped(su, thing, told):
    told()
    su.execute(f"create trigger zz after update on public.thing for each row execute function {capture('update')}()")
    assert [row[:2] for row in su.execute("select * from audit.doctor() where problem <> 'information'")] == [
        ("trigger doubled", "public.thing")
    ]
    su.execute("select audit.recompile()")
    sees_every_write_once(su, thing, told)


@pytest.mark.parametrize("alter", ALTERED_FUNCTIONS)
def test_a_capture_function_that_is_not_as_compiled_is_an_event_and_is_repaired(su, thing, told, alter):
    told()
    su.execute(alter)
    events = [event for event in told() if event[1] == "public.thing"]
    assert {event[0] for event in events} == {"audit.capture_altered"}
    assert events[-1][3]["triggers"]["pgtrail_update"] == "function altered"
    assert ("compiled out of date", "public.thing") in [
        row[:2] for row in su.execute("select * from audit.doctor() where problem <> 'information'")
    ]
    su.execute("select audit.recompile()")
    assert [event[0] for event in told() if event[1] == "public.thing"][-1] == "audit.capture_enabled"
    sees_every_write_once(su, thing, told)


@pytest.mark.parametrize("grant", GRANTS)
def test_whoever_else_may_call_a_capture_function_is_found_and_recorded_at_the_next_look(su, thing, told, grant):
    told()
    su.execute(grant)
    assert ("compiled out of date", "public.thing") in [
        row[:2] for row in su.execute("select * from audit.doctor() where problem <> 'information'")
    ]
    su.execute("alter table public.thing set (fillfactor = 90)")
    # By which it is compiled anew, one function after the other, and the grant taken back.
    altered, *enabled = [event[0] for event in told() if event[1] == "public.thing"]
    assert (altered, set(enabled)) == ("audit.capture_altered", {"audit.capture_enabled"})
    # (Those of other tables, too.)
    su.execute("select audit.recompile()")
    told()
    sees_every_write_once(su, thing, told)


@pytest.mark.parametrize("alter", ALTERED_FUNCTIONS[:6])
def test_so_it_is_without_the_event_trigger(su, thing, told, unwatched, alter):
    told()
    su.execute(alter)
    assert ("compiled out of date", "public.thing") in [
        row[:2] for row in su.execute("select * from audit.doctor() where problem <> 'information'")
    ]
    su.execute("select audit.recompile()")
    actions = [event[0] for event in told()]
    assert (actions[0], actions[-1]) == ("audit.capture_altered", "audit.capture_enabled")
    sees_every_write_once(su, thing, told)


def test_altered_and_put_back_within_one_transaction_are_two_events(su, thing, told):
    body = su.execute(f"select pg_get_functiondef('{capture('update')}()'::regprocedure)").fetchone()[0]
    told()
    with su.transaction():
        su.execute(ALTERED_FUNCTIONS[0])
        su.execute("insert into public.thing values (1, 'a')")
        su.execute("update public.thing set name = 'unseen'")
        su.execute(body)
    assert [event[0] for event in told()] == ["audit.capture_altered", "audit.capture_enabled"]


@pytest.mark.parametrize(
    ("alter", "repair"),
    [
        (
            "create or replace trigger refuse_change before update or delete on audit.seal for each row when (false) execute function audit_internal.refuse_change()",
            "create or replace trigger refuse_change before update or delete on audit.seal for each row execute function audit_internal.refuse_change()",
        ),
        (
            "create or replace trigger refuse_change before delete on audit.event for each row execute function audit_internal.refuse_change()",
            "create or replace trigger refuse_change before update or delete on audit.event for each row execute function audit_internal.refuse_change()",
        ),
        (
            "create or replace trigger refuse_truncate after truncate on audit.seal for each statement execute function audit_internal.refuse_change()",
            "create or replace trigger refuse_truncate before truncate on audit.seal for each statement execute function audit_internal.refuse_change()",
        ),
        ("alter function audit_internal.refuse_change() security definer", "alter function audit_internal.refuse_change() security invoker"),
        ("alter function audit_internal.refuse_change() owner to app", "alter function audit_internal.refuse_change() owner to audit_owner"),
        ("alter function audit_internal.refuse_change() set search_path = public", None),
        ("create or replace function audit_internal.refuse_change() returns trigger language plpgsql as 'begin return new; end'", None),
        ("create or replace function audit_internal.is_erasure(was audit.event, becomes audit.event) returns boolean language sql as 'select true'", None),
    ],
)  # fmt: skip
def test_the_protection_of_the_log_is_compared_whole_too(su, told, alter, repair):
    if repair is None:
        name = alter.split("(")[0].split()[-1]
        repair = su.execute("select pg_get_functiondef(%s::regproc)", [name]).fetchone()[0]
    told()
    su.execute(alter)
    events = told()
    assert events
    assert {event[0] for event in events} == {"audit.protection_altered"}
    assert {row[0] for row in su.execute("select * from audit.doctor() where problem <> 'information'")} == {
        "log unprotected"
    }
    su.execute(repair)
    assert {event[0] for event in told()} == {"audit.protection_enabled"}
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []


def test_dropping_what_refuses_changes_is_an_event(su, told):
    su.execute("drop function audit_internal.refuse_change() cascade")
    assert {event[0] for event in told()} == {"audit.protection_disabled"}
    assert "log unprotected" in {
        row[0] for row in su.execute("select * from audit.doctor() where problem <> 'information'")
    }


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
        "for each statement execute function audit_internal.refuse_change()"
    )
    assert [event[0] for event in told()] == ["audit.protection_enabled"]


@pytest.mark.parametrize(
    ("off", "on"),
    [
        ("alter table audit.seal disable trigger all", "alter table audit.seal enable trigger all"),
        (
            "drop trigger refuse_truncate on audit.seal_leaves",
            "create trigger refuse_truncate before truncate on audit.seal_leaves for each statement execute function audit_internal.refuse_change()",
        ),
    ],
)
def test_so_is_that_of_the_seals_and_the_doctor_mends_it(su, told, off, on):
    su.execute(off)
    assert [event[0] for event in told()] == ["audit.protection_disabled"]
    hints = su.execute("select hint from audit.doctor() where problem = 'log unprotected'").fetchall()
    assert hints
    for (hint,) in hints:
        su.execute(hint)
    assert {event[0] for event in told()} == {"audit.protection_enabled"}
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
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
    su.execute(
        "select audit.add_destination('siem', 'https://siem.example', options => '{\"categories\": [\"audit\"]}')"
    )
    su.execute("alter table public.thing disable trigger all")
    assert su.execute(
        "select audit_internal.matches_destination(event, destination) from audit.event, audit.destination where action = 'audit.capture_disabled'"
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
    for name in ("follow_ddl", "follow_drop"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.connect("admin").execute(f"select audit_internal.{name}()")
