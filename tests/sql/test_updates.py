"""How an update is recorded: what is compared, what of it is kept, and what a statement's rows are paired by."""

import json

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

UPDATES = """
    select resource_id, audit.row_before(event), after, changed
    from audit.event where operation = 'UPDATE' and category = 'thing' order by id
"""
ODD = (
    *("audited", "recorded", "moved", "named", "actor", "old", "new", "before", "after", "changed", "place", "image"),
    *("was", "becomes", "number", "found", "event", "category", "action", "writer", "said"),
)


def updates(su):
    return su.execute(UPDATES).fetchall()


def track(su, *, bulk=True, ignore="{}", table="public.thing"):
    su.execute("select audit.track(%s::regclass, 'thing', ignore => %s::text[], bulk => %s)", [table, ignore, bulk])


@pytest.fixture(params=[False, True], ids=["by row", "bulk"])
def bulk(request):
    return request.param


@pytest.fixture
def things(su):
    """A table that is tracked in bulk, with ten rows."""
    su.execute("create table public.thing (id int primary key, name text, hits int default 0)")
    su.execute("insert into public.thing select i, 'n' || i from generate_series(1, 10) as i")
    track(su, ignore="{hits}")
    return su


# What is kept ---------------------------------------------------------------------------------------------------------


def test_before_holds_what_moved_and_row_before_the_row(su, bulk):
    su.execute("create table public.thing (id int primary key, name text, note text, size numeric)")
    su.execute("insert into public.thing values (1, null, 'n', 1.0)")
    track(su, bulk=bulk)
    su.execute("update public.thing set name = 'a', size = 1.00")
    event = su.execute(
        "select before::text, audit.row_before(event)::text, changed from audit.event where operation = 'UPDATE'"
    )
    assert event.fetchall() == [
        ('{"size": 1.0}', '{"id": 1, "name": null, "note": "n", "size": 1.0}', ["name", "size"])
    ]


@pytest.mark.parametrize("table", ["thing", *ODD])
def test_columns_may_have_the_names_that_the_functions_use(su, bulk, table):
    columns = ", ".join(f'"{name}" text' for name in ODD)
    su.execute(f'create table public."{table}" (id int primary key, {columns})')
    track(su, bulk=bulk, table=f'public."{table}"')
    su.execute(f"insert into public.\"{table}\" (id, old) values (1, 'a'), (2, 'b')")
    row = dict.fromkeys(ODD)
    for statement in ("set " + ", ".join(f'"{name}" = $$x$$' for name in ODD), "set id = id + 10"):
        su.execute(f'update public."{table}" {statement}')
    x = dict.fromkeys(ODD, "x")
    assert sorted(updates(su), key=lambda event: int(event[0])) == [
        *((str(i), {"id": i} | row | {"old": old}, {"id": i} | x, list(ODD)) for i, old in ((1, "a"), (2, "b"))),
        *((str(i + 10), {"id": i} | x, {"id": i + 10} | x, ["id"]) for i in (1, 2)),
    ]
    su.execute(f'truncate public."{table}"')
    assert su.execute("select count(*) from audit.event where operation = 'TRUNCATE'").fetchone() == (2,)


def test_an_enum_with_an_implicit_cast_of_its_owners_is_compared_without_it(su, bulk):
    su.execute("create type public.kind as enum ('a', 'b')")
    su.execute(
        "create function public.spy(public.kind) returns text language plpgsql as $$ begin raise 'spied'; end $$"
    )
    su.execute("create cast (public.kind as text) with function public.spy(public.kind) as implicit")
    su.execute("create table public.thing (id int primary key, kind public.kind)")
    track(su, bulk=bulk)
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set kind = 'b'")
    assert updates(su) == [("1", {"id": 1, "kind": "a"}, {"id": 1, "kind": "b"}, ["kind"])]


@pytest.mark.any_server
def test_a_table_of_a_thousand_columns_is_recorded(su, bulk):
    su.execute(f"create table public.thing (id int primary key, {', '.join(f'c{i} int' for i in range(999))})")
    track(su, bulk=bulk)
    su.execute("insert into public.thing (id) values (1)")
    su.execute(f"update public.thing set {', '.join(f'c{i} = {i}' for i in range(999))}")
    ((key, before, after, changed),) = updates(su)
    assert (key, len(changed), before["c998"], after["c998"]) == ("1", 999, None, 998)


@pytest.mark.parametrize(
    ("condition", "seen"),
    [("old.hits = 0", True), ('old."hits" = 0', True), ("old . HITS = 0", True), ("to_jsonb(old) ->> 'hits' = '0'", True),
     ("to_jsonb(old.*)->>'hits' = '0'", True), ("(old).hits = 0", True), ("new.hits = 1", True), ("old.hits = new.hits", False),
     ("old is distinct from new and old.name = 'x'", False)],
)  # fmt: skip
def test_a_rule_sees_the_ignored_columns_as_they_were(su, bulk, condition, seen):
    su.execute("create table public.thing (id int primary key, name text, hits int default 0)")
    su.execute("insert into public.thing values (1, 'a')")
    track(su, bulk=bulk, ignore="{hits}")
    su.execute("select audit.rule('public.thing', 'thing.noticed', 'thing', condition => %s)", [condition])
    su.execute("update public.thing set name = 'b', hits = 1")
    assert su.execute("select action from audit.event where operation = 'UPDATE'").fetchall() == [
        ("thing.noticed" if seen else "thing.updated",)
    ]


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ("name = 'own'", [("thing", "thing.own")]),
        ("name = 'other'", [("teams", "thing.other")]),
        ("name = 'both'", [("thing", "thing.own"), ("teams", "thing.other")]),
        ("name = 'neither'", [("thing", "thing.updated")]),
        ("name = null", [("thing", "thing.updated")]),
    ],
)
def test_the_default_action_is_given_where_no_rule_of_any_category_matches(su, bulk, values, events):
    su.execute("create table public.thing (id int primary key, name text)")
    su.execute("insert into public.thing values (1, 'a')")
    track(su, bulk=bulk)
    for action, category in (("own", "thing"), ("other", "teams")):
        su.execute(
            "select audit.rule('public.thing', %s, %s, condition => %s)",
            [f"thing.{action}", category, f"new.name in ('{action}', 'both')"],
        )
    su.execute(f"update public.thing set {values}")
    assert (
        su.execute("select category, action from audit.event where operation = 'UPDATE' order by id").fetchall()
        == events
    )


# In bulk --------------------------------------------------------------------------------------------------------------


def test_a_statement_is_recorded_by_one_call_and_pairs_by_key(things):
    assert things.execute(
        "select tgtype & 1 from pg_trigger where tgrelid = 'public.thing'::regclass and tgoldtable is not null and tgnewtable is not null"
    ).fetchall() == [(0,)]
    things.execute("update public.thing set name = name || '!' where id <= 3")
    assert sorted(updates(things)) == [
        (str(i), {"id": i, "name": f"n{i}"}, {"id": i, "name": f"n{i}!"}, ["name"]) for i in (1, 2, 3)
    ]


def test_where_only_ignored_columns_moved_there_is_no_event(things):
    things.execute("update public.thing set hits = hits + 1")
    things.execute("update public.thing set name = name")
    assert updates(things) == []
    things.execute("update public.thing set hits = hits + 1, name = case id when 3 then 'x' else name end")
    assert [event[0] for event in updates(things)] == ["3"]


def test_two_rows_that_swap_their_keys_are_recorded_as_by_row(su):
    # Only a key that is not checked at once can be swapped; until it is, several rows may have it.
    su.execute("create table public.thing (id int primary key deferrable, name text)")
    su.execute(
        "alter table public.thing drop constraint thing_pkey, add primary key (id) deferrable initially deferred"
    )
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    track(su)
    su.execute("update public.thing set id = 3 - id")
    assert sorted(updates(su)) == [
        ("1", {"id": 2, "name": "b"}, {"id": 1, "name": "b"}, ["id"]),
        ("2", {"id": 1, "name": "a"}, {"id": 2, "name": "a"}, ["id"]),
    ]


def test_rows_that_have_one_key_until_the_transaction_ends_are_told_apart(su):
    su.execute("create table public.thing (id int primary key deferrable initially deferred, name text)")
    track(su)
    su.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    with su.transaction():
        su.execute("update public.thing set id = 1 where id = 2")
        su.execute("update public.thing set name = upper(name)")
        su.execute("update public.thing set id = 2 where name = 'B'")
    assert updates(su) == [
        ("1", {"id": 2, "name": "b"}, {"id": 1, "name": "b"}, ["id"]),
        ("1", {"id": 1, "name": "a"}, {"id": 1, "name": "A"}, ["name"]),
        ("1", {"id": 1, "name": "b"}, {"id": 1, "name": "B"}, ["name"]),
        ("2", {"id": 1, "name": "B"}, {"id": 2, "name": "B"}, ["id"]),
    ]


@pytest.mark.parametrize("moved", ["id + 100000", "200001 - id"])
@pytest.mark.parametrize(
    "plan", ["", "set enable_hashjoin = off", "set work_mem = '64kB'", "set enable_mergejoin = off"]
)
def test_keys_that_move_are_paired_with_what_they_were(su, moved, plan):
    su.execute("create table public.thing (id int primary key, name text)")
    su.execute("insert into public.thing select i, 'n' || i from generate_series(1, 3000) as i order by md5(i::text)")
    track(su)
    if plan:
        su.execute(plan)
    su.execute(f"update public.thing set id = {moved} where id > 10")
    assert len(updates(su)) == 2990
    assert all(before["name"] == after["name"] and changed == ["id"] for _, before, after, changed in updates(su))


def test_keys_that_move_and_keys_that_stay_in_one_statement(things):
    things.execute(
        "update public.thing set id = case when id > 8 then id + 100 else id end, name = name || '!' where id > 6"
    )
    assert sorted((before["id"], after["id"], after["name"]) for _, before, after, _ in updates(things)) == [
        (7, 7, "n7!"), (8, 8, "n8!"), (9, 109, "n9!"), (10, 110, "n10!"),
    ]  # fmt: skip


def test_a_key_of_several_columns_and_of_any_type(su):
    su.execute("create schema other")
    su.execute("create extension citext schema other")
    su.execute("create type public.kind as enum ('a', 'b')")
    su.execute(
        "create table public.thing (one int, two other.citext, three public.kind, name text, primary key (three, two, one))"
    )
    su.execute("insert into public.thing select i, 'N' || i, 'a', 'n' from generate_series(1, 5) as i")
    track(su)
    su.execute("update public.thing set name = 'm' || one")
    su.execute("update public.thing set three = 'b' where one = 2")
    found = updates(su)
    assert len(found) == 6
    assert all(before["one"] == after["one"] for _, before, after, _ in found)


def test_a_row_that_foreign_keys_update_twice_is_recorded_as_often(su):
    """Its actions belong to the statement that they follow from: all in one call, with the same key."""
    su.execute("create table public.person (id int primary key)")
    su.execute("insert into public.person values (1), (2)")
    su.execute(
        "create table public.thing (id int primary key, one int references public.person on update cascade on delete set null, "
        "two int references public.person on update cascade on delete set null)"
    )
    su.execute("insert into public.thing values (1, 1, 2)")
    track(su)
    su.execute("update public.person set id = id + 10")
    su.execute("delete from public.person")
    state = {"id": 1, "one": 1, "two": 2}
    for _, before, after, changed in updates(su):
        assert before == state
        assert len(changed) == 1
        state = after
    assert len(updates(su)) == 4
    assert state == {"id": 1, "one": None, "two": None}


def test_a_key_that_is_dropped_leaves_the_order_to_pair_by(things):
    things.execute("alter table public.thing drop constraint thing_pkey")
    things.execute("update public.thing set name = name || '!' where id <= 3")
    assert sorted((before["name"], after["name"]) for _, before, after, _ in updates(things)) == [
        (f"n{i}", f"n{i}!") for i in (1, 2, 3)
    ]


def test_it_can_be_switched_on_and_off_under_way(things):
    for number, bulk in enumerate((False, True, True, False)):
        track(things, bulk=bulk, ignore="{hits}")
        levels = things.execute(
            "select (tgtype & 1) = 1 from pg_trigger where tgrelid = 'public.thing'::regclass and tgtype & 16 = 16 and not tgisinternal"
        ).fetchall()
        assert levels == [(not bulk,)]
        things.execute("update public.thing set name = name || '!' where id = 1")
        assert len(updates(things)) == number + 1


@pytest.mark.parametrize(
    "table",
    [
        "create table public.thing (id int primary key) partition by list (id)",
        "create table public.thing (id int)",
        "create table public.parent (id int); create table public.thing (primary key (id)) inherits (public.parent)",
        "create table public.thing (id int primary key); create table public.child () inherits (public.thing); select audit.track('public.child')",
    ],
    ids=["partitioned", "without a key", "inherits", "is inherited from"],
)
def test_what_cannot_be_paired_is_refused(su, table):
    su.execute(table)
    with pytest.raises(psycopg.Error) as refused:
        track(su)
    assert refused.value.sqlstate == "PT001"
    assert "Leave out bulk" in refused.value.diag.message_hint


def test_the_policy_continue_holds_for_it_too(things):
    things.execute("select audit.set_on_failure('continue')")
    things.execute("select audit.rule('public.thing', 'thing.broken', 'thing', condition => '1 / (new.id - 2) > 5')")
    things.execute("update public.thing set name = 'x' where id <= 3")
    found = things.execute(
        "select action from audit.event where operation = 'UPDATE' and category = 'thing'"
    ).fetchall()
    assert found == [("thing.updated",)] * 3


# Hashes, and the quick look ---------------------------------------------------------------------------------------------


def test_the_hashes_of_every_event_are_those_of_its_ids(su, bulk):
    su.execute("create table public.thing (id int primary key, email text)")
    su.execute("insert into public.thing values (1, 'ann@acme')")
    su.execute("select audit.track('public.thing', 'thing', bulk => %s, personal => true)", [bulk])
    su.execute("call audit.record_baseline('public.thing')")
    with su.transaction():
        su.execute("select audit.set_actor('ann@acme', 'Ann')")
        su.execute("insert into public.thing values (2, 'a'), (3, 'b')")
        su.execute("update public.thing set email = email || '.'")
        su.execute("delete from public.thing where id = 2")
        su.execute("truncate public.thing")
    su.execute("select audit.record('audit.tried', 'thing', 'r', 'label', null, '{}', null)")
    wrong = "select action from audit.event where resource_hash is distinct from hashtextextended(resource_id, 0)"
    assert su.execute(wrong).fetchall() == []
    su.execute("select audit.erase_actor('ann@acme', 'ticket 17')")
    assert su.execute("select count(*) from audit.event where actor_id = 'ann@acme'").fetchone() == (0,)
    assert su.execute(wrong).fetchall() == []


NAMES = st.text(max_size=6) | st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            ["password", "pin", "Api", "\u212aey", "key", "database", "Url", "URL", "webhook", "_", "\n", "\x0b", "\x1c", " ", "\u00a0", "-",
             "P\u0130N", "recovery", "code", "seed", "mfa", "x", "1"]
        ),
        max_size=4,
    ),
)  # fmt: skip
NAMES = NAMES.map(lambda name: name.replace("\x00", "").encode("utf-8", "ignore").decode())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES | st.builds(lambda space, text: space + text, st.sampled_from(["", " ", "\t", "\x0b", "\x1c", "\u00a0", "\u2003"]), st.sampled_from(["{", "[1]", '"', "a"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
@given(document=VALUES)
@example(document={"database\nurl": "x"})
@example(document={"\u212aey": "x"})
@example(document={"a": "\x1c{}"})
@example(document=['"{"'])
def test_where_the_quick_look_finds_nothing_there_is_nothing_to_redact(su, document):
    assert su.execute(
        "select audit_internal.may_name_secret(doc::text) or audit_internal.redact(doc, '{**,?}') = doc from (select %s::jsonb) as given (doc)",
        [Jsonb(document)],
    ).fetchone() == (True,)


def test_a_name_that_json_writes_with_escapes_is_redacted_too(su, bulk):
    su.execute("create table public.thing (id int primary key, config json)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.?}', bulk => %s)", [bulk])
    su.execute("insert into public.thing values (1, %s)", [r'{"p\u0061ssword": "geheim"}'])
    su.execute("update public.thing set config = %s", [r'{"\u0070assword": "geheim2", "a": 1}'])
    assert "geheim" not in json.dumps(
        su.execute("select before, after from audit.event where category = 'thing'").fetchall()
    )
