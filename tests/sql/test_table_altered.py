"""A change of a tracked table's schema, and a statement that gives its rows other values, is an event: who, what, which columns."""

import pytest
from tests.sql.conftest import unwatch


@pytest.fixture
def altered(su):
    """The events about altered tables since the last look: table, before, after without the command, the command."""
    last = 0

    def look():
        nonlocal last
        rows = su.execute(
            "select id, resource_id, before, after from audit.event where id > %s and action = 'audit.table_altered' "
            "order by id",
            [last],
        ).fetchall()
        last = max([last, *(row[0] for row in rows)])
        return [
            (table, before, {k: v for k, v in after.items() if k != "command"}, after.get("command"))
            for _, table, before, after in rows
        ]

    look()
    return look


T = "public.thing"

CHANGES = [
    # the statement, the part of the table, before, after
    ("alter table public.thing add column note text", {"columns": {}}, {"columns": {"note": "text"}}),
    (
        "alter table public.thing add column note text not null default 'S3CRET'",
        {"columns": {}}, {"columns": {"note": "text not null default"}, "rewritten": True},
    ),
    (
        "alter table public.thing add column at float default random()",
        {"columns": {}}, {"columns": {"at": "double precision default"}, "rewritten": True},
    ),
    (
        "alter table public.thing add column double int generated always as (id * 2) stored",
        {"columns": {}}, {"columns": {"double": "integer generated"}, "rewritten": True},
    ),
    ("alter table public.thing drop column name", {"columns": {"name": "text"}}, {"columns": {}}),
    ("alter table public.thing rename column name to title", {"columns": {"name": "text"}}, {"columns": {"title": "text"}}),
    (
        "alter table public.thing alter column name type varchar(9) using upper(name)",
        {"columns": {"name": "text"}}, {"columns": {"name": "character varying(9)"}, "rewritten": True},
    ),
    (
        "alter table public.thing alter column name type text using 'S3CRET'",
        {"columns": {"name": "text"}}, {"columns": {"name": "text, rewritten"}, "rewritten": True},
    ),
    (
        "alter table public.thing alter column name type text using 'S3CRET', add column x int, drop column hits",
        {"columns": {"name": "text", "hits": "integer default"}},
        {"columns": {"name": "text, rewritten", "x": "integer"}, "rewritten": True},
    ),
    ("alter table public.thing alter column name set default 'S3CRET'", {"columns": {"name": "text"}}, {"columns": {"name": "text default"}}),
    ("alter table public.thing alter column hits set default 7", {"columns": {"hits": "integer default"}}, {"columns": {"hits": "integer default, altered"}}),
    ("alter table public.thing alter column hits drop default", {"columns": {"hits": "integer default"}}, {"columns": {"hits": "integer"}}),
    ("alter table public.thing alter column name set not null", {"columns": {"name": "text"}}, {"columns": {"name": "text not null"}}),
    (
        "alter table public.thing alter column id add generated always as identity",
        {"columns": {"id": "integer not null"}}, {"columns": {"id": "integer not null identity"}},
    ),
    ("alter table public.thing add constraint short check (name <> 'S3CRET')", {"constraints": {}}, {"constraints": {"short": "check (name)"}}),
    ("alter table public.thing add constraint one unique (name)", {"constraints": {}}, {"constraints": {"one": "unique (name)"}}),
    ("alter table public.thing drop constraint thing_pkey", {"constraints": {"thing_pkey": "primary key (id)"}}, {"constraints": {}}),
    (
        "alter table public.thing add constraint up foreign key (hits) references public.thing not valid",
        {"constraints": {}}, {"constraints": {"up": "foreign key (hits) not valid"}},
    ),
    ("alter table public.thing owner to app", {"owner": "postgres"}, {"owner": "app"}),
    ("alter table public.thing rename to item", {"name": T}, {"name": "public.item"}),
    ("alter table public.thing set schema shop", {"name": T}, {"name": "shop.thing"}),
    ("alter table public.thing enable row level security", {"row_security": "disabled"}, {"row_security": "enabled"}),
    ("alter table public.thing force row level security", {"row_security": "disabled"}, {"row_security": "disabled, forced"}),
    ("alter table public.thing replica identity full", {"replica_identity": "default"}, {"replica_identity": "full"}),
    ("alter table public.thing set unlogged", {"persistence": "logged"}, {"persistence": "unlogged"}),
    ("create policy mine on public.thing for select using (name = 'S3CRET')", {"policies": {}}, {"policies": {"mine": "permissive for select"}}),
    ("create rule gone as on delete to public.thing do instead nothing", {"rules": {}}, {"rules": {"gone": "enabled, on delete do instead"}}),
    (
        "create trigger mine before update on public.thing for each row when (new.name = 'S3CRET') execute function suppress_redundant_updates_trigger('S3CRET')",
        {"triggers": {}}, {"triggers": {"mine": "enabled, before update for each row"}},
    ),
    ("alter table public.thing inherit public.parent", {"parents": []}, {"parents": ["public.parent"]}),
    ("create table public.child () inherits (public.thing)", {"children": []}, {"children": ["public.child"]}),
    ("alter type public.mood rename value 'sad' to 'blue'", {"types": {"public.mood": "sad, ok"}}, {"types": {"public.mood": "blue, ok"}}),
    ("alter type public.mood add value 'happy'", {"types": {"public.mood": "sad, ok"}}, {"types": {"public.mood": "sad, ok, happy"}}),
    (
        "alter domain public.short drop constraint short_check",
        {"types": {"public.short": "text check short_check"}}, {"types": {"public.short": "text"}},
    ),
]  # fmt: skip


@pytest.fixture
def shaped(su, thing):
    su.execute("create type public.mood as enum ('sad', 'ok')")
    su.execute("create domain public.short as text check (value <> 'S3CRET')")
    su.execute(
        "alter table public.thing add column mood public.mood default 'ok', add column moods public.mood[], add column code public.short"
    )
    su.execute("create table public.parent (id int not null, name text, hits int)")
    su.execute("create schema shop")
    su.execute("insert into public.thing (id, name) values (1, 'a')")


@pytest.mark.parametrize(("statement", "before", "after"), CHANGES, ids=[case[0] for case in CHANGES])
def test_a_change_of_a_table_is_one_event_that_says_what_changed(su, shaped, altered, statement, before, after):
    altered()
    with su.transaction():
        su.execute(statement)
        ((table, was, becomes, command),) = altered()
    assert (was, becomes) == (before, after)
    assert table == after.get("name", T)
    assert command == " ".join(statement.split()[:2]).upper()
    events = su.execute("select before, after from audit.event where category = 'audit'").fetchall()
    assert "S3CRET" not in str(events)
    assert "S3CRET" not in str(su.execute("select shape from audit.table_shape").fetchall())


@pytest.mark.parametrize(("statement", "before", "after"), CHANGES, ids=[case[0] for case in CHANGES])
def test_without_the_event_trigger_recompile_records_what_differs(su, shaped, altered, statement, before, after):
    altered()
    unwatch(su)
    su.execute(statement)
    assert altered() == []
    su.execute("select audit.recompile()")
    events = altered()
    if "text, rewritten" in str(after):
        # Nothing in the catalogue tells a value that was written anew from one that was not.
        return
    ((_, was, becomes, command),) = events
    becomes.pop("rewritten", None)
    assert (was, becomes, command) == (before, {k: v for k, v in after.items() if k != "rewritten"}, None)
    su.execute("select audit.recompile()")
    assert altered() == []


@pytest.mark.parametrize(
    ("made", "statement", "before", "after"),
    [
        (
            "create policy mine on public.thing using (true)", "alter policy mine on public.thing using (false)",
            {"policies": {"mine": "permissive for all"}}, {"policies": {"mine": "permissive for all, altered"}},
        ),
        ("create policy mine on public.thing using (true)", "drop policy mine on public.thing", {"policies": {"mine": "permissive for all"}}, {"policies": {}}),
        (
            "create rule mine as on update to public.thing do also nothing", "drop rule mine on public.thing",
            {"rules": {"mine": "enabled, on update do also"}}, {"rules": {}},
        ),
        (
            "create rule mine as on update to public.thing do also nothing", "alter table public.thing disable rule mine",
            {"rules": {"mine": "enabled, on update do also"}}, {"rules": {"mine": "disabled, on update do also"}},
        ),
        (
            "create trigger mine before update on public.thing for each row execute function suppress_redundant_updates_trigger()",
            "alter table public.thing disable trigger mine",
            {"triggers": {"mine": "enabled, before update for each row"}}, {"triggers": {"mine": "disabled, before update for each row"}},
        ),
        (
            "create trigger mine before update on public.thing for each row execute function suppress_redundant_updates_trigger()",
            "create or replace trigger mine before update on public.thing for each row when (new.name = 'S3CRET') execute function suppress_redundant_updates_trigger()",
            {"triggers": {"mine": "enabled, before update for each row"}}, {"triggers": {"mine": "enabled, before update for each row, altered"}},
        ),
        (
            "create trigger mine before update on public.thing for each row execute function suppress_redundant_updates_trigger()",
            "drop trigger mine on public.thing",
            {"triggers": {"mine": "enabled, before update for each row"}}, {"triggers": {}},
        ),
        ("alter table public.thing inherit public.parent", "alter table public.thing no inherit public.parent", {"parents": ["public.parent"]}, {"parents": []}),
        ("create table public.child () inherits (public.thing)", "drop table public.child", {"children": ["public.child"]}, {"children": []}),
        ("create table public.up (id int primary key); alter table public.thing add constraint up foreign key (hits) references public.up not valid", "drop table public.up cascade", {"constraints": {"up": "foreign key (hits) not valid"}}, {"constraints": {}}),
        ("select", "drop domain public.short cascade", {"columns": {"code": "public.short"}, "types": {"public.short": "text check short_check"}}, {"columns": {}, "types": {}}),
        ("select", "alter schema public rename to other", {"name": T}, {"name": "other.thing"}),
    ],
)  # fmt: skip
def test_so_is_what_is_altered_or_dropped(su, shaped, altered, made, statement, before, after):
    su.execute(made)
    altered()
    su.execute(statement)
    events = altered()
    if "schema" in statement:
        events = [
            (name, {"name": was["name"]}, {"name": becomes["name"]}, command) for name, was, becomes, command in events
        ]
    ((_, was, becomes, command),) = events
    assert (was, becomes) == (before, after)
    assert command == (" ".join(statement.split()[:2]).upper() if "or replace" not in statement else "CREATE TRIGGER")


def test_a_column_that_has_rows_of_another_table_changes_with_that(su, thing, altered):
    su.execute("create table public.pair (a int, b text)")
    su.execute("alter table public.thing add column part public.pair, add column parts public.pair[]")
    altered()
    su.execute("alter table public.pair drop column b")
    assert altered() == [
        (T, {"types": {"public.pair": "a integer, b text"}}, {"types": {"public.pair": "a integer"}}, "ALTER TABLE")
    ]


def test_a_generated_columns_expression_counts_as_its_values(su, thing, altered):
    if su.info.server_version < 170000:
        pytest.skip("an expression can't be set before PostgreSQL 17")
    su.execute("alter table public.thing add column double int generated always as (id * 2) stored")
    altered()
    su.execute("alter table public.thing alter column double set expression as (id * 3)")
    ((_, before, after, _),) = altered()
    assert before == {"columns": {"double": "integer generated"}}
    assert after == {"columns": {"double": "integer generated, rewritten"}, "rewritten": True}


def test_an_untracked_table_is_nobodys_business(db, su, thing, altered):
    altered()
    for statement in (
        "create table public.other (id int primary key, name text)", "alter table public.other add column x int default 1",
        "create rule gone as on delete to public.other do instead nothing", "create policy p on public.other using (true)",
        "alter table public.other rename to another", "create type public.mood as enum ('a')", "alter type public.mood rename value 'a' to 'b'",
        "drop table public.another", "create function public.f() returns int language sql as 'select 1'", "grant execute on function public.f() to app",
        "create temporary table t (id int)", "alter table t add column x int", "drop table t",
    ):  # fmt: skip
        su.execute(statement)
    assert altered() == []


def test_pgtrails_own_work_is_no_change_of_a_table(su, thing, altered):
    su.execute("alter table public.thing enable row level security")
    altered()
    su.execute("select audit.track('public.thing', 'thing', ignore => '{name}', bulk => true)")
    su.execute("select audit.rule('public.thing', 'thing.hit', 'thing', 'UPDATE', 'new.hits > 1')")
    su.execute("select audit.recompile()")
    for statement in ("analyze", "vacuum full", "cluster", "truncate"):
        su.execute(f"{statement} public.thing" + (" using thing_pkey" if statement == "cluster" else ""))
    su.execute("alter table public.thing set (fillfactor = 50)")
    su.execute("create index on public.thing (name)")
    su.execute("select audit.recompile()")
    su.execute("select audit.untrack('public.thing')")
    su.execute("alter table public.thing add column x int")
    su.execute("select audit.track('public.thing', 'thing')")
    assert altered() == []


def test_who_did_it_is_named_and_no_organization_reads_it(db, su, thing):
    su.execute("alter table public.thing owner to app")
    app = db.connect("app")
    with app.transaction():
        app.execute("select audit.set_actor('usr_1', 'mallory@acme')")
        app.execute("alter table public.thing alter column name type text using 'x'")
    row = su.execute(
        "select actor_id, db_role, resource_type, resource_label, org_id, category from audit.event "
        "where action = 'audit.table_altered' and db_role = 'app'"
    ).fetchone()
    assert row == ("usr_1", "app", "tracked_table", "public.thing", None, "audit")


@pytest.fixture
def parts(su):
    su.execute("create table public.thing (id int primary key, name text) partition by range (id)")
    su.execute("create table public.thing_1 partition of public.thing for values from (0) to (10)")
    su.execute("create table public.thing_2 partition of public.thing for values from (10) to (20)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values (1, 'a'), (11, 'b')")


def test_a_partitioned_table_is_one_event_however_many_partitions_it_has(su, parts, altered):
    altered()
    for statement, after in [
        ("alter table public.thing add column x int", {"columns": {"x": "integer"}}),
        ("alter table public.thing alter column name type text using 'x'", {"columns": {"name": "text, rewritten"}, "rewritten": True}),
        ("alter table public.thing add constraint c check (id > 0)", {"constraints": {"c": "check (id)"}}),
        ("create trigger mine after update on public.thing for each row execute function suppress_redundant_updates_trigger()",
         {"triggers": {"mine": "enabled, after update for each row"}}),
    ]:  # fmt: skip
        su.execute(statement)
        assert [event[2] for event in altered()] == [after], statement


def test_what_is_done_to_one_partition_says_which(su, parts, altered):
    altered()
    for statement, after in [
        ("create rule gone as on delete to public.thing_1 do instead nothing", {"rules": {"gone": "enabled, on delete do instead"}}),
        ("alter table public.thing_1 owner to app", {"owner": "app"}),
        ("create trigger mine before update on public.thing_1 for each row execute function suppress_redundant_updates_trigger()",
         {"triggers": {"mine": "enabled, before update for each row"}}),
    ]:  # fmt: skip
        su.execute(statement)
        assert [event[2] for event in altered()] == [{"partition": "public.thing_1", **after}], statement


def test_a_table_put_in_the_place_of_a_tracked_one_shows(su, thing, altered):
    su.execute("insert into public.thing values (1, 'a')")
    altered()
    with su.transaction():
        su.execute("alter table public.thing rename to thing_old")
        su.execute("create table public.thing as table public.thing_old")
    assert [(table, before, after) for table, before, after, _ in altered()] == [
        ("public.thing_old", {"name": "public.thing"}, {"name": "public.thing_old"})
    ]


def test_two_changes_within_one_transaction_are_two_events_and_what_rolls_back_is_none(su, thing, altered):
    altered()
    with su.transaction():
        su.execute("alter table public.thing alter column name type text using upper(name)")
        su.execute("alter table public.thing alter column name type text using lower(name)")
    assert len(altered()) == 2
    with su.transaction(force_rollback=True):
        su.execute("alter table public.thing add column x int")
    assert altered() == []


def test_a_restored_table_was_not_altered(su, thing, altered):
    # As after a restore: the same table by another oid.
    altered()
    su.execute('update audit.table_shape set shape = shape || \'{"oid": 1, "columns": {}}\'')
    su.execute("alter table public.thing owner to app")
    assert altered() == []
    su.execute("alter table public.thing owner to postgres")
    assert len(altered()) == 1


def test_a_grant_or_a_function_of_the_applications_is_looked_at_in_passing(su, thing, told):
    told()
    su.execute("create function public.f() returns int language sql as 'select 1'")
    su.execute("alter function public.f() stable")
    su.execute("grant execute on function public.f() to app")
    su.execute("drop function public.f()")
    assert told() == []
