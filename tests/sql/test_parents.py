"""A tracked table below an untracked parent: what is written through that is recorded, once."""

import pytest
from tests.sql.conftest import unwatch

COLUMNS = "id int not null, name text, hits int default 0"


@pytest.fixture(params=["event trigger", "recompile"])
def followed(request, su):
    """Runs a schema change: followed by the event triggers, or by recompile without them."""

    def change(statement):
        if request.param == "event trigger":
            su.execute(statement)
        else:
            if su.execute("select from pg_event_trigger").fetchone() is not None:
                unwatch(su)
            su.execute(statement)
            assert {
                row[0] for row in su.execute("select problem from audit.doctor() where problem <> 'information'")
            } == {"compiled out of date"}
            su.execute("select audit.recompile()")
        assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []

    return change


@pytest.fixture
def writes(su, recorded):
    """Runs a statement, and gives what it recorded: operation, resource id."""

    def run(*statements):
        before = len(recorded())
        for statement in statements:
            su.execute(statement)
        return sorted(event[:2] for event in recorded()[before:])

    return run


def by_row(su, table="public.thing"):
    """The operations whose trigger fires for each row."""
    rows = su.execute(
        "select substr(tgname, 9) from pg_trigger where tgrelid = %s::regclass and tgname like 'pgtrail%%' and tgtype & 1 = 1 order by 1",
        [table],
    )
    return [row[0] for row in rows]


EVERY = ["delete", "insert", "update"]

THROUGH_A_PARENT = [
    ("update public.parent set name = 'b' where id = 1", [("UPDATE", "1")]),
    ("delete from public.parent where id in (1, 2)", [("DELETE", "1"), ("DELETE", "2")]),
    ("with gone as (delete from public.parent where id = 1 returning *) select * from gone", [("DELETE", "1")]),
    (
        (
            "merge into public.parent using (values (1), (2)) as given (number) on id = number "
            "when matched and id = 1 then update set name = 'm' when matched then delete"
        ),
        [("DELETE", "2"), ("UPDATE", "1")],
    ),
    ("truncate public.parent", [("TRUNCATE", "1"), ("TRUNCATE", "2")]),
]
DIRECT = [
    ("insert into public.thing values (7, 'x'), (8, 'y')", [("INSERT", "7"), ("INSERT", "8")]),
    ("update public.thing set name = 'u'", [("UPDATE", "1"), ("UPDATE", "2")]),
    ("delete from public.thing", [("DELETE", "1"), ("DELETE", "2")]),
    ("truncate public.thing", [("TRUNCATE", "1"), ("TRUNCATE", "2")]),
]


@pytest.fixture
def pair(su, thing):
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    su.execute(f"create table public.parent ({COLUMNS})")


@pytest.mark.parametrize("bulk", [False, True])
def test_what_is_written_through_a_parent_is_recorded(su, pair, followed, writes, told, bulk):
    su.execute(f"select audit.track('public.thing', 'thing', label => 'name', ignore => '{{hits}}', bulk => {bulk})")
    at_first = by_row(su)
    told()
    followed("alter table public.thing inherit public.parent")
    assert by_row(su) == EVERY
    for statement, expected in THROUGH_A_PARENT + DIRECT:
        with su.transaction(force_rollback=True):
            assert writes(statement) == expected, statement
    followed("alter table public.thing no inherit public.parent")
    assert by_row(su) == at_first
    for statement, expected in DIRECT:
        with su.transaction(force_rollback=True):
            assert writes(statement) == expected, statement
    assert told() == [], "nobody touched a trigger"


THROUGH_A_ROOT = [
    *THROUGH_A_PARENT,
    ("insert into public.parent values (5, 'x'), (15, 'elsewhere')", [("INSERT", "5")]),
    ("update public.parent set id = 12 where id = 1", [("DELETE", "1")]),
    ("insert into public.parent values (11, 'e'); update public.parent set id = 3 where id = 11", [("INSERT", "3")]),
    (
        (
            "merge into public.parent using (values (1), (4)) as given (number) on id = number "
            "when matched then update set name = 'm' when not matched then insert values (number, 'n')"
        ),
        [("INSERT", "4"), ("UPDATE", "1")],
    ),
]


@pytest.mark.parametrize(
    ("attach", "detach"),
    [
        (
            "alter table public.parent attach partition public.thing for values from (0) to (10)",
            "alter table public.parent detach partition public.thing",
        ),
        (
            (
                "create table public.middle (like public.parent) partition by range (id); "
                "alter table public.middle attach partition public.thing for values from (0) to (10); "
                "alter table public.parent attach partition public.middle for values from (0) to (10)"
            ),
            "alter table public.parent detach partition public.middle; alter table public.middle detach partition public.thing",
        ),
        (
            (
                "create table public.middle (like public.parent) partition by range (id); "
                "alter table public.parent attach partition public.middle for values from (0) to (10); "
                "alter table public.middle attach partition public.thing for values from (0) to (10)"
            ),
            "alter table public.middle detach partition public.thing; drop table public.middle",
        ),
    ],
)
def test_what_is_written_through_a_partitioned_parent_is_recorded(su, thing, followed, writes, told, attach, detach):
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    su.execute(f"create table public.parent ({COLUMNS}) partition by range (id)")
    su.execute("create table public.rest partition of public.parent for values from (10) to (20)")
    told()
    followed(attach)
    assert by_row(su) == EVERY
    for statement, expected in THROUGH_A_ROOT + DIRECT:
        with su.transaction(force_rollback=True):
            assert writes(*statement.split("; ")) == expected, statement

    def copied():
        with su.cursor() as cursor, cursor.copy("copy public.parent (id, name) from stdin") as copy:
            copy.write("6\tc\n16\td\n")

    before = len(thing())
    copied()
    assert [event[:2] for event in thing()[before:]] == [("INSERT", "6")]
    su.execute("delete from public.parent where id > 2")
    followed(detach)
    assert by_row(su) == ["update"]
    for statement, expected in DIRECT:
        with su.transaction(force_rollback=True):
            assert writes(statement) == expected, statement
    assert told() == []


def test_a_table_that_has_a_parent_already_is_recorded_by_row(su, writes):
    su.execute(f"create table public.parent ({COLUMNS})")
    su.execute("create table public.thing (primary key (id)) inherits (public.parent)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    for statement, expected in THROUGH_A_PARENT + DIRECT:
        with su.transaction(force_rollback=True):
            assert writes(statement) == expected, statement


def test_a_grandparent_counts(su, pair, followed, writes):
    su.execute("create table public.middle () inherits (public.parent)")
    followed("alter table public.thing inherit public.middle")
    for statement, expected in THROUGH_A_PARENT + DIRECT:
        with su.transaction(force_rollback=True):
            assert writes(statement) == expected, statement


def test_where_the_parent_is_tracked_too_each_row_is_recorded_once(su, pair, followed, writes, told):
    su.execute("select audit.track('public.parent', 'thing')")
    su.execute("alter table public.parent add primary key (id)")
    su.execute("insert into public.parent values (3, 'c')")
    told()
    followed("alter table public.thing inherit public.parent")
    for statement, expected in [
        ("update public.parent set name = 'z'", [("UPDATE", "1"), ("UPDATE", "2"), ("UPDATE", "3")]),
        ("delete from public.parent", [("DELETE", "1"), ("DELETE", "2"), ("DELETE", "3")]),
        ("truncate public.parent", [("TRUNCATE", "1"), ("TRUNCATE", "2"), ("TRUNCATE", "3")]),
    ]:
        with su.transaction(force_rollback=True):
            assert writes(statement) == expected, statement
    followed("alter table public.thing no inherit public.parent")
    assert by_row(su) == by_row(su, "public.parent") == ["update"]
    assert told() == []


def test_a_child_that_is_tracked_later_or_no_more_is_recorded_once(su, pair, writes):
    su.execute("alter table public.parent add primary key (id); insert into public.parent values (3, 'c')")
    su.execute("select audit.track('public.parent', 'thing')")
    su.execute("create table public.child () inherits (public.parent); insert into public.child values (4, 'd')")
    su.execute("alter table public.child add primary key (id)")
    su.execute("select audit.track('public.child', 'thing')")
    with su.transaction(force_rollback=True):
        assert writes("delete from public.parent") == [("DELETE", "3"), ("DELETE", "4")]
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    su.execute("select audit.untrack('public.child')")
    with su.transaction(force_rollback=True):
        assert writes("delete from public.parent") == [("DELETE", "3"), ("DELETE", "4")], "as seen through the parent"
    su.execute("select audit.track('public.child', 'thing')")
    su.execute("drop table public.child")
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    with su.transaction(force_rollback=True):
        assert writes("delete from public.parent") == [("DELETE", "3")]


def test_an_owner_without_any_grant_is_followed_too(db, su, writes):
    su.execute("create schema shop authorization app")
    app = db.connect("app")
    app.execute(f"create table shop.thing ({COLUMNS}, primary key (id))")
    app.execute(f"create table shop.parent ({COLUMNS})")
    su.execute("select audit.track('shop.thing', 'thing')")
    app.execute("insert into shop.thing values (1, 'a'), (2, 'b')")
    app.execute("alter table shop.thing inherit shop.parent")
    app.execute("delete from shop.parent where id = 2")
    assert writes("delete from shop.parent where id = 1") == [("DELETE", "1")]
    assert su.execute("select count(*) from audit.event where operation = 'DELETE'").fetchone() == (2,)
    app.execute("alter table shop.thing no inherit shop.parent")
    assert by_row(su, "shop.thing") == ["update"]
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []


def test_nobody_calls_what_changes_a_triggers_level(db):
    for user in ("app", "admin", "auditor", "forwarder"):
        with pytest.raises(Exception, match="permission denied"):
            db.connect(user).execute("select audit_internal.fit_trigger('pg_class', 'INSERT', true, '{}')")
