"""What happens to the application when recording fails: refused, or, where the operator prefers that, gone on with."""

import psycopg
import pytest


@pytest.fixture
def thing_of_app(db):
    """A table that the role `app` writes to; its rule divides by a column."""
    su = db.connect()
    su.execute("create table public.thing (id int primary key, name text, n int)")
    su.execute("grant all on public.thing to app")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    for operation in ("INSERT", "UPDATE", "DELETE"):
        row = "old" if operation == "DELETE" else "new"
        su.execute("select audit.rule('public.thing', 'thing.odd', 'thing', %s, %s)", [operation, f"1 / {row}.n > 0"])
    return db


def events(db):
    return db.connect().execute(
        "select action, operation, resource_label, after ->> 'sqlstate' from audit.event "
        "where resource_type in ('thing', 'tracked_table') and action !~ '^audit.table' order by id"
    ).fetchall()  # fmt: skip


WRITES = ("insert into public.thing values (2, 'b', 0)", "update public.thing set n = 0", "delete from public.thing")


def test_as_installed_nothing_goes_unrecorded_the_change_fails_and_says_in_what(thing_of_app):
    app = thing_of_app.connect("app")
    app.execute("insert into public.thing values (1, 'a', 1)")
    for statement in WRITES[:2]:
        with pytest.raises(psycopg.errors.DivisionByZero) as raised:
            app.execute(statement)
        assert 'audit_internal."capture public.thing' in raised.value.diag.context
    assert app.execute("select * from public.thing").fetchall() == [(1, "a", 1)]
    assert events(thing_of_app) == [("thing.odd", "INSERT", "a", None)]


def test_who_prefers_it_goes_on_and_what_can_be_recorded_is(thing_of_app):
    su, app = thing_of_app.connect(), thing_of_app.connect("app")
    app.execute("insert into public.thing values (1, 'a', 1)")
    su.execute("select audit.set_on_failure('continue')")
    for statement in WRITES:
        app.execute(statement)
    found = events(thing_of_app)
    assert found[0] == ("thing.odd", "INSERT", "a", None)
    assert [(action, operation) for action, operation, _, _ in found[1:]] == [
        ("thing.created", "INSERT"), ("audit.recording_failed", None),
        ("thing.updated", "UPDATE"), ("audit.recording_failed", None),
        ("thing.deleted", "DELETE"), ("thing.deleted", "DELETE"), ("audit.recording_failed", None),
    ]  # fmt: skip
    assert {state for action, _, _, state in found if action == "audit.recording_failed"} == {"22012"}
    su.execute("select audit.set_on_failure('refuse')")
    with pytest.raises(psycopg.errors.DivisionByZero):
        app.execute("insert into public.thing values (3, 'c', 0)")


def test_going_on_does_not_need_the_log_at_all(thing_of_app):
    su, app = thing_of_app.connect(), thing_of_app.connect("app")
    su.execute("select audit.set_on_failure('continue')")
    su.execute("revoke insert on audit.event from audit_owner")
    notices = []
    app.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    app.execute("insert into public.thing values (1, 'a', 1)")
    assert notices == ["pgtrail: INSERT on public.thing was not recorded (42501)"]


def test_without_a_failure_both_record_the_same(thing_of_app):
    su, app = thing_of_app.connect(), thing_of_app.connect("app")
    su.execute("select audit.set_on_failure('continue')")
    app.execute("insert into public.thing values (1, 'a', 1), (2, 'b', 2)")
    app.execute("update public.thing set name = 'c' where id = 1")
    app.execute("truncate public.thing")
    assert sorted((operation, action) for action, operation, _, _ in events(thing_of_app)) == [
        ("INSERT", "thing.created"), ("INSERT", "thing.odd"), ("TRUNCATE", "thing.deleted"), ("TRUNCATE", "thing.odd"), ("UPDATE", "thing.odd"),
    ]  # fmt: skip


def test_a_deadlock_or_a_cancelled_statement_is_no_failure_of_recording(thing_of_app):
    su, app = thing_of_app.connect(), thing_of_app.connect("app")
    su.execute("select audit.set_on_failure('continue')")
    app.execute("insert into public.thing values (1, 'a', 1)")
    blocker = thing_of_app.connect(autocommit=False)
    blocker.execute("lock table audit.event")
    app.execute("set statement_timeout = '100ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        app.execute("update public.thing set name = 'x'")
    blocker.rollback()
    assert app.execute("select name from public.thing").fetchone() == ("a",)


def test_the_choice_is_an_admins_and_an_event(thing_of_app):
    admin = thing_of_app.connect("admin")
    admin.execute("select audit.set_on_failure('continue')")
    admin.execute("select audit.set_on_failure('continue')")
    changes = admin.execute(
        "select before ->> 'on_failure', after ->> 'on_failure' from audit.event where action = 'audit.policy_changed'"
    )
    assert changes.fetchall() == [("refuse", "continue")]
    with pytest.raises(psycopg.Error) as raised:
        admin.execute("select audit.set_on_failure('whatever')")
    assert raised.value.sqlstate == "PT009"
    for user in ("app", "reader", "auditor", "forwarder"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            thing_of_app.connect(user).execute("select audit.set_on_failure('refuse')")
