"""Watching the watcher: whoever stops the recording is recorded."""

import psycopg
import pytest


@pytest.fixture
def owned(db):
    """A tracked table of an ordinary developer."""
    su = db.connect()
    su.execute("create schema shop authorization app; grant usage on schema shop to public")
    app = db.connect("app")
    app.execute("create table shop.item (id int primary key, name text)")
    su.execute("select audit.track('shop.item', 'item', label => 'name')")
    return db


@pytest.fixture
def told(owned):
    """The audit events since the last call: action without `audit.`, label."""
    su = owned.connect()
    seen = [su.execute("select max(id) from audit.event").fetchone()[0]]

    def since():
        rows = su.execute(
            "select id, substr(action, 7), resource_label from audit.event where id > %s and category = 'audit' order by id",
            seen,
        ).fetchall()
        seen[0] = max([seen[0], *(row[0] for row in rows)])
        return [row[1:] for row in rows]

    return since


@pytest.mark.parametrize("trigger", ["pgtrail_insert", "pgtrail_update", "pgtrail_delete", "pgtrail_truncate", "all"])
@pytest.mark.parametrize("how", ["disable trigger", "enable replica trigger"])
def test_a_disabled_trigger_is_an_event_and_so_is_its_return(owned, told, trigger, how):
    if (trigger, how) == ("all", "enable replica trigger"):
        how = "disable trigger"
    app = owned.connect("app")
    app.execute(f"alter table shop.item {how} {trigger}")
    assert told() == [("capture_disabled", "shop.item")]
    app.execute("alter table shop.item add column note text")
    app.execute(f"alter table shop.item {how} {trigger}")
    assert told() == [], "it is said once"
    app.execute(f"alter table shop.item enable trigger {trigger}")
    assert told() == [("capture_enabled", "shop.item")]
    actor = (
        owned.connect()
        .execute("select distinct actor_id, db_role from audit.event where action ~ 'capture_'")
        .fetchall()
    )
    assert actor == [("app", "app")]


def test_a_dropped_trigger_is_an_event_and_recompiling_brings_it_back(owned, told):
    owned.connect("app").execute("drop trigger pgtrail_update on shop.item")
    assert told() == [("capture_disabled", "shop.item")]
    assert ("trigger missing",) in owned.connect().execute("select problem from audit.doctor()").fetchall()
    owned.connect().execute("select audit.recompile('shop.item')")
    assert told() == [("capture_enabled", "shop.item")]


def test_recompiling_enables_what_was_disabled(owned, told):
    owned.connect("app").execute("alter table shop.item disable trigger user")
    owned.connect().execute("select audit.recompile()")
    assert told() == [("capture_disabled", "shop.item"), ("capture_enabled", "shop.item")]
    owned.connect("app").execute("insert into shop.item values (1, 'a')")
    assert owned.connect().execute("select count(*) from audit.event where category = 'item'").fetchone() == (1,)


def test_what_is_rolled_back_has_not_happened(owned, told):
    app = owned.connect("app", autocommit=False)
    app.execute("alter table shop.item disable trigger all")
    app.rollback()
    assert told() == []
    app.execute("insert into shop.item values (1, 'a')")
    app.commit()
    assert owned.connect().execute("select count(*) from audit.event where category = 'item'").fetchone() == (1,)


@pytest.mark.parametrize("statement", ["drop table shop.item", "drop schema shop cascade", "drop owned by app"])
def test_a_dropped_table_is_an_event_under_its_name_and_leaves_nothing_behind(owned, told, statement):
    owned.connect("postgres" if "owned" in statement else "app").execute(statement)
    assert told()[0] == ("table_dropped", "shop.item")
    su = owned.connect()
    assert su.execute("select count(*) from pg_proc where proname like 'capture shop.item%'").fetchone() == (0,)
    assert su.execute("select count(*) from audit.tracked_table where resource = 'item'").fetchone() == (0,)
    assert su.execute("select problem from audit.doctor()").fetchall() == []


def test_tracking_again_and_untracking_are_no_loss_of_capture(owned, told):
    su = owned.connect()
    su.execute("select audit.track('shop.item', 'item', label => 'name', ignore => '{id}')")
    su.execute("select audit.recompile()")
    su.execute("select audit.untrack('shop.item')")
    assert told() == [("table_changed", "shop.item"), ("table_untracked", "shop.item")]
    assert su.execute("select count(*) from pg_trigger where tgrelid = 'shop.item'::regclass").fetchone() == (0,)


def test_partitions_come_and_go_with_their_trigger(owned, told):
    app, su = owned.connect("app"), owned.connect()
    app.execute("create table shop.sale (id int, k int, primary key (id, k)) partition by list (k)")
    su.execute("select audit.track('shop.sale', 'sale')")
    told()
    app.execute("create table shop.sale_1 partition of shop.sale for values in (1)")
    app.execute("create table shop.sale_2 (id int, k int not null, primary key (id, k))")
    app.execute("alter table shop.sale attach partition shop.sale_2 for values in (2)")
    app.execute("insert into shop.sale values (1, 1), (2, 2)")
    app.execute("truncate shop.sale_1, shop.sale_2")
    assert told() == []
    actions = su.execute("select action, table_name from audit.event where category = 'sale' order by id").fetchall()
    assert actions == [("sale.created", "shop.sale")] * 2 + [("sale.deleted", "shop.sale")] * 2
    app.execute("alter table shop.sale detach partition shop.sale_1")
    assert told() == [("partition_detached", "shop.sale_1")]
    assert su.execute("select count(*) from pg_trigger where tgrelid = 'shop.sale_1'::regclass").fetchone() == (0,)
    app.execute("truncate shop.sale_1")
    app.execute("alter table shop.sale_2 disable trigger pgtrail_insert")
    assert told() == [("capture_disabled", "shop.sale")]


@pytest.mark.parametrize(
    ("off", "on"),
    [
        (
            "alter table audit.event disable trigger refuse_change",
            "alter table audit.event enable trigger refuse_change",
        ),
        ("alter table audit.seal disable trigger all", "alter table audit.seal enable trigger all"),
        (
            "drop trigger refuse_truncate on audit.seal_leaves",
            "create trigger refuse_truncate before truncate on audit.seal_leaves for each statement execute function audit.refuse_change()",
        ),
    ],
)
def test_who_takes_the_logs_own_protection_away_is_recorded(owned, told, off, on):
    su = owned.connect()
    su.execute(off)
    assert told() == [("protection_disabled", None)]
    su.execute(on)
    assert told() == [("protection_enabled", None)]


def test_pgtrails_own_work_on_partitions_is_no_loss_of_protection(owned, told):
    su = owned.connect()
    su.execute("select audit.make_partitions(8)")
    su.execute(
        "insert into audit.event (category, action, resource_type, actor_type, occurred_at) values ('x', 'x.y', 'z', 'u', '2041-05-06')"
    )
    su.execute("select audit.make_partitions(8)")
    assert told() == []
    assert su.execute("select audit.is_protected()").fetchone() == (True,)


def test_such_an_event_is_forwarded_like_any_other(owned):
    su = owned.connect()
    su.execute("select audit.add_destination('siem', 'https://siem.example', categories => '{audit}')")
    owned.connect("app").execute("alter table shop.item disable trigger all")
    assert su.execute(
        "select audit.is_for(event, destination) from audit.event, audit.destination where action = 'audit.capture_disabled'"
    ).fetchone() == (True,)


def test_ddl_of_other_tables_is_not_noticed(owned, told):
    app = owned.connect("app")
    for statement in (
        "create table shop.other (id int)", "alter table shop.other add column x int", "create index on shop.other (x)",
        "alter table shop.other rename to another", "drop table shop.another", "create temporary table t (id int)", "drop table t",
    ):  # fmt: skip
        app.execute(statement)
    assert told() == []


def test_nobody_calls_the_event_triggers(owned):
    for name in (
        "audit.follow_ddl",
        "audit.follow_drop",
        "audit.note_capture",
        "audit.note_protection",
        "pgtrail_meta.follow_partitions",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owned.connect("admin").execute(f"select {name}()")
