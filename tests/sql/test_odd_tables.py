"""Tables as other people make them: right, or a clear error."""

import psycopg
import pytest

pytestmark = pytest.mark.any_server


def events(su, category):
    return su.execute(
        "select table_name, operation, resource_id from audit.event where category = %s order by id", [category]
    ).fetchall()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("create view public.odd as select 1 as id", "is a view: track the tables that it reads"),
        ("create materialized view public.odd as select 1 as id", "is a view: track the tables that it reads"),
        ("create foreign table public.odd (id int) server elsewhere", "is a foreign table: track it in the database"),
        ("create temporary table odd (id int)", "is temporary"),
        ("create sequence public.odd", "is not a table"),
        ("create type public.odd as (id int)", "is not a table"),
        ("create table public.t (id int primary key); create index odd on public.t (id)", "is not a table"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(su, made, says):
    su.execute("create foreign data wrapper nowhere; create server elsewhere foreign data wrapper nowhere")
    su.execute(made)
    with pytest.raises(psycopg.errors.Error, match=says) as refused:
        su.execute("select audit.track('odd')")
    assert refused.value.sqlstate == "PT001"


def test_a_key_of_several_columns_identifies_a_row(su):
    su.execute('create table public.odd (a text, "B c" text, n int, primary key ("B c", a))')
    su.execute("select audit.track('public.odd')")
    su.execute("insert into public.odd values ('x,y', '(\"z\")', 1), ('', 'null', 2)")
    su.execute("update public.odd set n = 3 where a = ''")
    names = [row[2] for row in events(su, "odd")]
    assert names[2] in names[:2]
    assert len(set(names)) == 2
    # Two keys that look alike stay two.
    su.execute("""insert into public.odd values ('a,b', 'c', 1), ('b', 'c,a', 1)""")
    assert len({row[2] for row in events(su, "odd")}) == 4


def test_tables_of_one_name_in_several_schemas_are_told_apart(su):
    for schema in ("one", "two"):
        su.execute(f"create schema {schema}; create table {schema}.odd (id int primary key)")
        su.execute(f"select audit.track('{schema}.odd')")
    su.execute("insert into one.odd values (1); insert into two.odd values (1); delete from one.odd")
    assert events(su, "odd") == [("one.odd", "INSERT", "1"), ("two.odd", "INSERT", "1"), ("one.odd", "DELETE", "1")]
    su.execute("drop schema one cascade")
    su.execute("insert into two.odd values (2)")
    assert events(su, "odd")[-1] == ("two.odd", "INSERT", "2")


def test_a_table_with_children_waits_for_them_to_be_tracked(su):
    su.execute("create table public.odd (id int primary key, name text)")
    su.execute("create table public.child (note text) inherits (public.odd)")
    with pytest.raises(
        psycopg.errors.Error, match=r"what inherits from it is not tracked yet \(public.child\)"
    ) as refused:
        su.execute("select audit.track('public.odd')")
    assert refused.value.sqlstate == "PT001"
    su.execute("select audit.track('public.child', 'odd')")
    su.execute("select audit.track('public.odd')")
    su.execute("insert into public.odd values (1, 'a'); insert into public.child values (2, 'b', 'n')")
    su.execute("update public.odd set name = 'c'")
    su.execute("delete from public.odd")
    su.execute("insert into public.child values (3, 'b', 'n'); truncate public.odd")
    found = sorted(
        (operation, name, resource.split("-")[0][:3] if len(resource) > 30 else resource)
        for name, operation, resource in events(su, "odd")
    )
    assert [operation for operation, *_ in found] == ["DELETE"] * 2 + ["INSERT"] * 3 + ["TRUNCATE"] + ["UPDATE"] * 2


def test_a_child_that_comes_later_is_named_by_the_doctor(su):
    su.execute("create table public.odd (id int primary key)")
    su.execute("select audit.track('public.odd')")
    su.execute("create table public.child () inherits (public.odd)")
    assert su.execute("select problem, subject, hint from audit.doctor()").fetchall() == [
        ("child untracked", "public.child", "select audit.track('public.child', …)")
    ]


def test_a_composite_an_enum_a_range_and_an_array_come_through(su):
    su.execute("create type public.mood as enum ('good', 'bad'); create type public.pair as (a int, b text)")
    su.execute("create table public.odd (id int primary key, m public.mood, p public.pair, r int4range, l text[][])")
    su.execute("select audit.track('public.odd')")
    su.execute("insert into public.odd values (1, 'good', (1, 'x'), '[1,3)', '{{a,b},{c,d}}')")
    assert su.execute("select after from audit.event where category = 'odd'").fetchone()[0] == {
        "id": 1, "m": "good", "p": {"a": 1, "b": "x"}, "r": "[1,3)", "l": [["a", "b"], ["c", "d"]],
    }  # fmt: skip


def test_a_row_that_the_tables_own_triggers_refuse_or_change_back_gives_no_event(su):
    su.execute("create table public.odd (id int primary key, name text)")
    su.execute(
        "create function public.refuse() returns trigger language plpgsql as "
        "$$ begin if new.name = 'no' then return null; end if; new.name := old.name; return new; end $$"
    )
    su.execute("select audit.track('public.odd')")
    su.execute("insert into public.odd values (1, 'a')")
    su.execute("create trigger refuse before update on public.odd for each row execute function public.refuse()")
    su.execute("update public.odd set name = 'no'; update public.odd set name = 'b'")
    assert [operation for _, operation, _ in events(su, "odd")] == ["INSERT"]


def test_a_partition_is_recorded_with_its_root_and_not_by_itself(su):
    su.execute("create table public.odd (id int primary key) partition by range (id)")
    su.execute("create table public.odd_1 partition of public.odd for values from (0) to (100)")
    with pytest.raises(psycopg.errors.Error, match=r"is a partition: track public\.odd, with which it is recorded"):
        su.execute("select audit.track('public.odd_1')")
    su.execute("create table public.odd_2 (id int primary key); select audit.track('public.odd_2')")
    su.execute("alter table public.odd attach partition public.odd_2 for values from (100) to (200)")
    su.execute("insert into public.odd values (150); delete from public.odd where id = 150")
    assert [operation for _, operation, _ in events(su, "odd_2")] == ["INSERT", "DELETE"], "through the root, too"
    assert su.execute("select problem, subject from audit.doctor()").fetchall() == []
    with pytest.raises(psycopg.errors.Error, match="has partitions that are tracked by themselves"):
        su.execute("select audit.track('public.odd')")
    su.execute("select audit.untrack('public.odd_2'); select audit.track('public.odd')")
    su.execute("insert into public.odd values (1), (150)")
    assert [name for name, *_ in events(su, "odd")] == ["public.odd"] * 2


def test_a_trigger_of_the_applications_keeps_its_name(su):
    su.execute("create table public.odd (id int primary key)")
    su.execute("create function public.mine() returns trigger language plpgsql as 'begin return null; end'")
    su.execute("create trigger pgtrail_update after update on public.odd for each row execute function public.mine()")
    with pytest.raises(psycopg.errors.Error, match="a trigger of its own called pgtrail_update") as refused:
        su.execute("select audit.track('public.odd')")
    assert refused.value.sqlstate == "PT001"


def recorded(su):
    """What was recorded of public.odd: operation, id of the row, the rows."""
    return su.execute(
        "select operation, resource_id, audit.row_before(event), after from audit.event where table_name = 'public.odd' order by id"
    ).fetchall()


@pytest.mark.parametrize("bulk", [False, True], ids=["by row", "bulk"])
def test_rows_that_swap_a_deferrable_key_are_paired_as_they_moved(su, bulk):
    su.execute("create table public.odd (position int primary key deferrable initially deferred, name text)")
    su.execute("select audit.track('public.odd', bulk => %s)", [bulk])
    su.execute("insert into public.odd values (1, 'a'), (2, 'b')")
    with su.transaction():
        su.execute("update public.odd set position = 1 where position = 2")
        su.execute("update public.odd set name = upper(name)")
        su.execute("update public.odd set position = 2 where name = 'B'")
    moved = [(before["name"], after["name"]) for kind, _, before, after in recorded(su) if kind == "UPDATE"]
    assert sorted(moved) == [("B", "B"), ("a", "A"), ("b", "B"), ("b", "b")]


JSON_THAT_JSONB_REFUSES = (r'{"x":"\u0000"}', '{"x":1e999999}', r'"\ud800"', r'{"a": ["\udc00\ud800"], "a": 1}')


@pytest.mark.parametrize("content", JSON_THAT_JSONB_REFUSES)
def test_json_that_jsonb_refuses_is_recorded_as_its_text(su, content):
    su.execute("create table public.odd (id int primary key, d json, list json[])")
    su.execute("select audit.track('public.odd')")
    su.execute("insert into public.odd values (1, %s, array[%s]::json[])", [content, content])
    su.execute("update public.odd set id = 2")
    su.execute("delete from public.odd")
    assert [kind for kind, *_ in recorded(su)] == ["INSERT", "UPDATE", "DELETE"]
    assert {str((after or before)["d"]) for *_, before, after in recorded(su)} == {content}


def test_json_that_jsonb_takes_is_recorded_as_json(su):
    su.execute("create table public.odd (id int primary key, d json)")
    su.execute("select audit.track('public.odd')")
    su.execute("""insert into public.odd values (1, '{"b": [1, null], "a": "ü"}'), (2, null)""")
    assert [after["d"] for *_, after in recorded(su)] == [{"b": [1, None], "a": "ü"}, None]


def test_a_type_with_a_json_form_of_its_own_is_recorded_as_text(su):
    """As PostGIS has one, which knows no curves, and no NaN."""
    su.execute(
        """
        create type public.geometry as (x float8, y float8);
        create function public.as_json(public.geometry) returns json language plpgsql immutable as
            $$ begin if $1.x = 'NaN' then raise 'no GeoJSON of this'; end if; return '{"type": "Point"}'; end $$;
        create cast (public.geometry as json) with function public.as_json(public.geometry);
        create domain public.place as public.geometry;
        create table public.odd (id int primary key, g public.geometry, gs public.geometry[], p public.place);
        """
    )
    su.execute("select audit.track('public.odd')")
    su.execute("insert into public.odd values (1, '(NaN,1.00000000000001)', '{\"(NaN,1)\"}', '(NaN,2)')")
    su.execute("update public.odd set g = '(1,2)'")
    (_, _, _, made), (_, _, before, after) = recorded(su)
    assert (made["g"], made["p"]) == ("(NaN,1.00000000000001)", "(NaN,2)")
    assert "NaN" in str(made["gs"])
    assert (before["g"], after["g"]) == ("(NaN,1.00000000000001)", "(1,2)")


def test_a_table_of_which_no_column_is_audited_still_says_which_rows_came_and_went(su):
    su.execute("create table public.odd (id int primary key, a text)")
    su.execute("select audit.track('public.odd', ignore => '{id,a}')")
    su.execute("insert into public.odd values (1, 'x')")
    su.execute("update public.odd set a = 'y'")
    su.execute("delete from public.odd")
    assert [event[:2] for event in recorded(su)] == [("INSERT", "1"), ("DELETE", "1")]


@pytest.mark.parametrize("dropped", [False, True])
def test_a_table_without_a_column_is_recorded(su, dropped):
    su.execute(f"create table public.odd ({'a int' if dropped else ''})")
    su.execute("select audit.track('public.odd')")
    if dropped:
        su.execute("alter table public.odd drop column a")
    su.execute("insert into public.odd default values")
    su.execute("delete from public.odd")
    su.execute("insert into public.odd default values; truncate public.odd")
    assert [kind for kind, *_ in recorded(su)][:2] == ["INSERT", "DELETE"]


def test_a_table_that_citus_distributes_is_refused(su):
    """Its rows are in other tables, on other servers."""
    su.execute("create table public.odd (id int primary key)")
    su.execute("set allow_system_table_mods = on; create table pg_catalog.pg_dist_partition (logicalrelid regclass)")
    su.execute("select audit.track('public.odd')")
    su.execute("insert into pg_catalog.pg_dist_partition values ('public.odd')")
    with pytest.raises(psycopg.errors.Error, match="Citus") as refused:
        su.execute("select audit.track('public.odd')")
    assert refused.value.sqlstate == "PT001"
