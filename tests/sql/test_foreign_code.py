"""Nobody's code but pgtrail's and Postgres' own runs as audit_owner, who may read every secret."""

import contextlib

import psycopg
import pytest


@pytest.fixture
def shop(db):
    """A schema of a developer, who owns what is in it, and who leaves traces of who ran it in public.ran."""
    su = db.connect()
    su.execute("create schema shop authorization app; grant usage on schema shop to public")
    su.execute("create table public.ran (who text); grant insert on public.ran to public")
    app = db.connect("app")
    app.execute("create type shop.mood as enum ('good', 'bad')")
    app.execute("create type shop.point as (x int, y text)")
    app.execute("create domain shop.label as text")
    app.execute(
        "create table shop.item (id int primary key, mood shop.mood, moods shop.mood[], point shop.point, label shop.label, owner shop.mood)"
    )
    for name, arguments, returns in (
        ("mood_to_json", "shop.mood", "json"), ("mood_to_jsonb", "shop.mood", "jsonb"), ("mood_to_text", "shop.mood", "text"),
        ("point_to_json", "shop.point", "json"), ("point_to_text", "shop.point", "text"), ("mood_to_bool", "shop.mood", "boolean"),
    ):  # fmt: skip
        value = {"json": "'\"x\"'", "jsonb": "'\"x\"'", "text": "'x'", "boolean": "true"}[returns]
        app.execute(
            f"create function shop.{name}({arguments}) returns {returns} language plpgsql as "
            f"$$ begin insert into public.ran values (current_user); return {value}; end $$"
        )
        app.execute(f"create cast ({arguments} as {returns}) with function shop.{name}({arguments}) as assignment")
    return db


def ran(db):
    return {who for (who,) in db.connect().execute("select who from public.ran").fetchall()}


@pytest.mark.parametrize("settings", ["", ", org => 'owner', label => 'mood'", ", secret => '{point.x,mood.y}'"])
def test_a_cast_of_somebodys_type_never_runs(shop, settings):
    su, app = shop.connect(), shop.connect("app")
    su.execute(f"select audit.track('shop.item'{settings})")
    app.execute("insert into shop.item values (1, 'good', '{good,bad}', '(1,a)', 'l', 'bad')")
    app.execute("update shop.item set mood = 'bad', point = row(2, 'b'), moods = null")
    app.execute("delete from shop.item")
    app.execute("insert into shop.item (id) values (2)")
    app.execute("truncate shop.item")
    assert ran(shop) == set()
    first = su.execute("select after from audit.event where resource_type = 'item' order by id limit 1").fetchone()[0]
    if not settings:
        assert first == {"id": 1, "mood": "good", "moods": "{good,bad}", "point": "(1,a)", "label": "l", "owner": "bad"}


def test_a_key_of_somebodys_type_is_written_by_its_output_function(shop):
    su, app = shop.connect(), shop.connect("app")
    app.execute("create table shop.keyed (mood shop.mood primary key)")
    su.execute("select audit.track('shop.keyed')")
    app.execute("insert into shop.keyed values ('good')")
    assert ran(shop) == set()
    assert su.execute("select resource_id from audit.event where resource_type = 'keyed'").fetchone() == ("good",)


def test_types_of_superusers_are_recorded_as_they_always_were(db):
    su = db.connect()
    su.execute("create type public.mood as enum ('good'); create type public.point as (x int, m public.mood[])")
    su.execute("create table public.thing (id int primary key, point public.point, span int4range)")
    su.execute("select audit.track('public.thing')")
    su.execute("insert into public.thing values (1, row(1, '{good}'), '[1,3)')")
    assert su.execute("select after from audit.event where resource_type = 'thing'").fetchone()[0] == {
        "id": 1, "point": {"x": 1, "m": ["good"]}, "span": "[1,3)",
    }  # fmt: skip


@pytest.mark.parametrize(
    "condition",
    [
        "public.evil()",
        'public . "evil"()',
        "new.n operator(public.===) 1",
        "new.n::public.checked > 0",
        "exists (table audit.destination_secret)",
        "query_to_xml('select secret from audit.destination_secret', true, true, '') is not null",
        "table_to_xml('audit.destination_secret', true, true, '') is not null",
        "true; end; create table public.pwned (); --",
        "true) or public.evil() or (true",
    ],
)
@pytest.mark.parametrize("how", ["audit.rule", "insert"])
def test_a_condition_with_anything_but_postgres_own_is_refused(db, condition, how):
    su = db.connect()
    su.execute("create table public.thing (id int primary key, n int)")
    su.execute("create function public.evil() returns boolean language sql as 'select true'")
    su.execute("create function public.evil_too(int, int) returns boolean language sql as 'select true'")
    su.execute("create operator public.=== (function = public.evil_too, leftarg = int, rightarg = int)")
    su.execute("create domain public.checked as int check (public.evil())")
    su.execute("select audit.track('public.thing')")
    before = su.execute("select count(*), (select count(*) from audit.rule) from pg_proc").fetchone()
    admin = db.connect("admin")
    if how == "audit.rule":
        with pytest.raises(psycopg.Error) as raised:
            admin.execute("select audit.rule('public.thing', 'thing.evil', 'thing', 'INSERT', %s)", [condition])
        assert raised.value.sqlstate == "PT006"
    else:
        insert = "insert into audit.rule (relation, operation, action, category, condition) values ('public.thing', 'INSERT', 'a.b', 'thing', %s)"
        # Refused, or (where its text alone says so) left out of what is compiled.
        with contextlib.suppress(psycopg.Error):
            admin.execute(insert, [condition])
        su.execute("select audit.recompile()")
        assert (
            "evil"
            not in su.execute("select prosrc from pg_proc where proname = 'capture public.thing insert'").fetchone()[0]
        )
        assert (
            "xml"
            not in su.execute("select prosrc from pg_proc where proname = 'capture public.thing insert'").fetchone()[0]
        )
    assert su.execute("select to_regclass('public.pwned')").fetchone() == (None,)
    if how == "audit.rule":
        assert su.execute("select count(*), (select count(*) from audit.rule) from pg_proc").fetchone() == before


@pytest.mark.parametrize(
    "condition",
    [
        "new.n > 0",
        "new.n is distinct from old.n",
        "new.name ~ '^a'",
        "coalesce(new.n, 0) between 1 and 5",
        "lower(new.name) = 'x'",
    ],
)
def test_ordinary_conditions_are_taken(db, condition):
    su = db.connect()
    su.execute("create table public.thing (id int primary key, n int, name text)")
    su.execute("select audit.track('public.thing')")
    su.execute("select audit.rule('public.thing', 'thing.ok', 'thing', 'UPDATE', %s)", [condition])
