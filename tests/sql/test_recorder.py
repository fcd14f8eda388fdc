"""Whatever the owner of a table makes of it: code of theirs runs as nobody who could do or read anything else."""

import concurrent.futures

import psycopg
import pytest

# It notes as whom it runs; and tries what nobody but pgtrail may do, and what only the other owner may read.
SPY = """
create schema shop authorization app;
grant usage on schema shop to public;
create schema other authorization admin;
create table public.ran (who text, did text);
grant insert, select on public.ran to public;
set role admin;
create table other.private (id int primary key, note text);
insert into other.private values (1, 'only admin may read this');
reset role;
set role app;
create table shop.key (id int primary key, name text, rpm_limit int);
create function shop.spy(text) returns text language plpgsql immutable as $$
declare
    attempt text;
begin
    foreach attempt in array array[
        'insert into public.ran select current_user, ''ran''',
        'insert into audit.recording (category, action, resource_type, actor_type) values (''forged'', ''forged.event'', ''x'', ''x'')',
        'insert into audit.event (category, action, resource_type, actor_type) values (''forged'', ''forged.event'', ''x'', ''x'')',
        'alter function audit_internal."capture other.private update"() security invoker',
        'alter function audit_internal."capture shop.key update"() security invoker',
        'alter function audit_internal."read shop.key"(regclass, tid, tid) reset search_path',
        'drop function audit_internal."capture other.private update"() cascade',
        'create table audit.mine ()',
        'grant audit_owner to app',
        'alter role app superuser'
    ] loop
        begin
            execute attempt;
        exception
            when others then
                null;
        end;
    end loop;
    begin
        execute 'select note from other.private' into attempt;
        raise warning 'read: %', attempt;
    exception
        when others then
            null;
    end;
    perform pg_catalog.set_config('search_path', 'shop, pg_catalog', false);
    raise warning 'ran as %', current_user;
    return $1;
end
$$;
create function shop.evil(int) returns boolean language sql immutable as 'select shop.spy(''x'') = ''x''';
-- Where the path were left as it is set above, this would be called.
create function shop.caught(text, text) returns boolean language plpgsql as
$$ begin raise warning 'operator as %', current_user; return $1 operator(pg_catalog.=) $2; end $$;
create operator shop.= (function = shop.caught, leftarg = text, rightarg = text);
reset role;
select audit.track('other.private');
"""


class Spied:
    """A database with a spy in it, and what it said."""

    def __init__(self, db):
        self.db = db
        self.heard = []
        self.su = self.connect("postgres")
        self.su.execute(SPY)

    def connect(self, user):
        connection = self.db.connect(user)
        connection.add_notice_handler(lambda notice: self.heard.append(notice.message_primary))
        return connection

    def run(self, user, *statements):
        """Whether they all went through."""
        connection = self.connect(user)
        try:
            for statement in statements:
                connection.execute(statement)
        except psycopg.Error as error:
            self.heard.append(error.diag.message_primary)
            return False
        return True

    def check(self):
        """Nothing of what the spy tried was done, as whomever it ran."""
        heard = [line for line in self.heard if line.startswith(("ran as", "read:", "operator as"))]
        # (What app does itself, app's code does as app.)
        mine = [line for line in heard if line in ("ran as app", "operator as app")]
        assert [line for line in heard if line not in mine and not line.startswith("ran as audit_recorder")] == []
        assert self.su.execute("select * from public.ran").fetchall() == []
        assert self.su.execute("select count(*) from audit.event where action = 'forged.event'").fetchone() == (0,)
        assert self.su.execute("select rolsuper from pg_roles where rolname = 'app'").fetchone() == (False,)
        assert (
            self.su.execute(
                "select proname from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and proname ~ '^(capture|read|find) ' "
                "and (not prosecdef or proconfig is null or not proconfig[1] like 'search_path=pg_catalog%')"
            ).fetchall()
            == []
        )
        assert self.su.execute(
            "select count(*) from pg_trigger where tgrelid = 'other.private'::regclass"
        ).fetchone() == (4,)
        self.run("admin", "update other.private set note = note || '.'")
        assert self.su.execute("select count(*) from audit.event where table_name = 'other.private'").fetchone()[0] > 0

    def actions(self, resource):
        return [
            row[0]
            for row in self.su.execute(
                "select action from audit.event where resource_type = %s order by id", [resource]
            ).fetchall()
        ]


@pytest.fixture
def spied(db):
    return Spied(db)


# What makes Postgres run code of a table's owner when somebody reads it.
READ_TRAPS = {
    "index predicate": "create index on shop.key (id) where shop.evil(1)",
    "index expression": "create index on shop.key ((shop.spy(name)))",
    "statistics": "create statistics shop.known on (shop.spy('x')), (id + 1) from shop.key",
    "check": "alter table shop.key add check (shop.evil(1)); set constraint_exclusion = on",
    "policy": "alter table shop.key enable row level security; create policy zzz on shop.key using (shop.evil(id))",
    "our policy": "alter table shop.key enable row level security; alter policy pgtrail_truncate on shop.key using (shop.evil(id))",
    "rule": "create rule r as on insert to shop.key do also select shop.evil(1)",
    "type": (
        "create type shop.num as (v int); create function shop.num_to_int(shop.num) returns int language sql as "
        "'select length(shop.spy(''x''))'; create cast (shop.num as int) with function shop.num_to_int(shop.num) as implicit; "
        "create function shop.num_to_text(shop.num) returns text language sql as 'select shop.spy(''x'')'; "
        "create cast (shop.num as text) with function shop.num_to_text(shop.num) as implicit; "
        "alter table shop.key alter rpm_limit type shop.num using row(rpm_limit)::shop.num"
    ),
}


@pytest.mark.parametrize("trap", READ_TRAPS.values(), ids=READ_TRAPS)
@pytest.mark.parametrize("followed", [True, False], ids=["", "no event trigger"])
def test_reading_a_table_runs_its_owners_code_as_nobody_who_can_do_anything(spied, trap, followed):
    spied.su.execute("select audit.track('shop.key')")
    assert spied.run("app", "insert into shop.key values (1, 'a', 1)")
    if not followed:
        for name in ("extend_capture", "follow_ddl", "follow_drop"):
            spied.su.execute(f"drop event trigger pgtrail_{name}")
    spied.run("app", *trap.split("; "))
    for statement in ("call audit.record_baseline('shop.key')", "update shop.key set name = 'b'", "truncate shop.key"):
        spied.run("app" if "baseline" not in statement else "postgres", statement)
    spied.check()


@pytest.mark.parametrize(
    "trap", ["create index on shop.key (id) where shop.evil(1)", "create index on shop.key ((shop.spy(name)))"]
)
def test_a_truncate_is_recorded_and_not_refused_for_a_function_of_the_owner(spied, trap):
    spied.su.execute("select audit.track('shop.key')")
    spied.run("app", "insert into shop.key values (1, 'a', 1)", trap)
    assert spied.run("app", "truncate shop.key")
    assert spied.actions("key") == ["key.created", "key.deleted"]
    spied.check()


def test_a_type_with_a_cast_that_no_event_trigger_followed_is_recorded_as_text(spied):
    spied.su.execute("select audit.track('shop.key')")
    spied.su.execute("select audit.rule('shop.key', 'key.limited', 'key', 'UPDATE', 'new.rpm_limit > 100')")
    spied.run("app", "insert into shop.key values (1, 'a', 1)")
    for name in ("extend_capture", "follow_ddl", "follow_drop"):
        spied.su.execute(f"drop event trigger pgtrail_{name}")
    assert spied.run("app", *READ_TRAPS["type"].split("; "))
    spied.heard.clear()
    assert spied.run("app", "update shop.key set rpm_limit = row(7)::shop.num")
    assert spied.run("app", "insert into shop.key values (2, 'b', row(8)::shop.num)", "delete from shop.key")
    assert not [line for line in spied.heard if line.startswith("ran as")]
    after = spied.su.execute("select after from audit.event where action = 'key.updated'").fetchone()[0]
    assert after == {"id": "1", "name": "a", "rpm_limit": "(7)"}
    spied.su.execute("select audit.recompile('shop.key')")
    assert spied.run("app", "insert into shop.key values (3, 'c', row(9)::shop.num)")
    assert spied.su.execute("select after from audit.event order by id desc limit 1").fetchone()[0] == {
        "id": 3, "name": "c", "rpm_limit": "(9)",
    }  # fmt: skip
    spied.check()


def test_a_rule_whose_column_became_a_type_with_a_cast_names_nothing_any_more(spied):
    spied.su.execute("select audit.track('shop.key')")
    spied.su.execute("select audit.rule('shop.key', 'key.limited', 'key', 'UPDATE', 'new.rpm_limit > 100')")
    spied.run("app", "insert into shop.key values (1, 'a', 1)", *READ_TRAPS["type"].split("; "))
    spied.heard.clear()
    assert spied.run("app", "update shop.key set rpm_limit = row(700)::shop.num")
    assert not [line for line in spied.heard if line.startswith("ran as")]
    assert spied.actions("key") == ["key.created", "key.updated"]
    assert spied.su.execute("select problem from audit.doctor() where problem like 'rule%'").fetchall() == [
        ("rule broken",)
    ]
    spied.check()


def test_a_rule_over_an_enum_of_the_owners_calls_no_cast_that_comes_later(spied):
    spied.run(
        "app", "create type shop.mood as enum ('good', 'bad')", "alter table shop.key add mood shop.mood default 'bad'"
    )
    spied.su.execute("select audit.track('shop.key')")
    spied.su.execute(
        "select audit.rule('shop.key', 'key.cheered', 'key', 'UPDATE', $$new.mood = 'good' and old.mood = 'bad'$$)"
    )
    spied.run(
        "app",
        "create function shop.mood_text(shop.mood) returns text language sql as 'select shop.spy(''good'')'",
        "create cast (shop.mood as text) with function shop.mood_text(shop.mood) as implicit",
        "insert into shop.key values (1, 'a', 1)",
    )
    spied.heard.clear()
    assert spied.run("app", "update shop.key set mood = 'good'")
    assert not [line for line in spied.heard if line.startswith("ran as")]
    assert spied.actions("key") == ["key.created", "key.cheered"]
    spied.check()


@pytest.mark.parametrize("operation", ["insert", "update", "delete", "truncate"])
def test_a_capture_function_records_no_other_table_than_its_own(spied, operation):
    spied.su.execute("select audit.track('shop.key')")
    spied.run(
        "app",
        "insert into shop.key values (1, 'a', 1)",
        "create table shop.fake (like shop.key)",
        "create index on shop.fake (id) where shop.evil(1)",
    )
    before = spied.actions("key")
    level, rows = {
        "insert": ("statement", "referencing new table as new_rows"),
        "update": ("row", ""),
        "delete": ("statement", "referencing old table as old_rows"),
        "truncate": ("statement", ""),
    }[operation]
    made = (
        f"create trigger t {'before' if operation == 'truncate' else 'after'} {operation} on shop.fake {rows} "
        f'for each {level} execute function audit_internal."capture shop.key {operation}"()'
    )
    spied.su.execute(f'grant execute on function audit_internal."capture shop.key {operation}"() to app')
    assert spied.run("app", "insert into shop.fake values (7, 'forged', 1)", made)
    spied.run(
        "app",
        {
            "insert": "insert into shop.fake values (8, 'forged', 1)",
            "update": "update shop.fake set name = 'forged too'",
            "delete": "delete from shop.fake",
            "truncate": "truncate shop.fake",
        }[operation],
    )
    assert any("does not belong there: it records shop.key" in line for line in spied.heard)
    assert spied.actions("key") == before
    spied.check()


def test_a_table_that_took_the_place_of_another_is_not_recorded_as_that(spied):
    spied.su.execute("select audit.track('shop.key')")
    spied.su.execute('grant execute on function audit_internal."capture shop.key update"() to app')
    spied.run(
        "app",
        "alter table shop.key rename to old_key",
        "create table shop.key (like shop.old_key)",
        "insert into shop.key values (7, 'x', 1)",
    )
    spied.run(
        "app",
        'create trigger t after update on shop.key for each row execute function audit_internal."capture shop.old_key update"()',
    )
    assert not spied.run("app", "update shop.key set name = 'y'")
    assert spied.actions("key") == []


def test_after_a_restore_under_other_oids_a_table_is_recorded_all_the_same(db, su):
    su.execute("create table public.thing (id int primary key, name text)")
    su.execute("select audit.track('public.thing')")
    # As pg_restore leaves it: the function has the oid of the table that was dumped.
    su.execute(
        "update pg_proc set prosrc = replace(prosrc, 'tg_relid <> ' || 'public.thing'::regclass::oid, 'tg_relid <> 1') "
        "where proname like 'capture public.thing%'"
    )
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set name = 'b'")
    su.execute("truncate public.thing")
    assert su.execute("select count(*) from audit.event where category = 'thing'").fetchone() == (3,)


@pytest.mark.parametrize(
    "trap",
    [
        "create index on shop.team (org) where shop.evil(1)",
        "create index on shop.team ((shop.spy(org)))",
        "create table shop.team1 partition of shop.team for values in (1); create index on shop.team1 (org) where shop.evil(1)",
        (
            'alter table shop.team drop constraint team_pkey; create rule "_RETURN" as on select to shop.team do instead '
            "select 1 as id, shop.spy('x') as org"
        ),
        "alter table shop.team enable row level security; create policy zzz on shop.team using (shop.evil(id))",
    ],
    ids=["predicate", "expression", "partition", "a table becomes a view", "policy"],
)
def test_the_way_to_an_organization_runs_its_owners_code_as_nobody_who_can_do_anything(spied, trap):
    partitioned = " partition by list (id)" if "partition of" in trap else ""
    spied.run("app", f"create table shop.team (id int primary key, org text){partitioned}")
    if not partitioned:
        spied.run("app", "insert into shop.team values (1, 'acme')")
    spied.su.execute("create table public.child (id int primary key, team_id int)")
    spied.su.execute("select audit.track('public.child', org => 'team_id -> shop.team.org')")
    for name in ("extend_capture", "follow_ddl", "follow_drop"):
        spied.su.execute(f"drop event trigger pgtrail_{name}")
    spied.run("app", *trap.split("; "))
    assert spied.run("postgres", "insert into public.child values (1, 1)")
    assert spied.actions("child") == ["child.created"]
    spied.check()


@pytest.mark.parametrize(
    "condition",
    [
        "adm.evil(1)",
        "adm.evil(1) or true",
        "new.id operator(adm.===) 1",
        "true) or adm.evil(1) or (true",
        "true union select adm.evil(1)",
        "true; select adm.evil(1)",
        "true) is true; select adm.evil(1); select (true",
        "true) as matches from adm.t as old; end; create table adm.made (); create function adm.f() returns boolean language sql begin atomic select (true",
        "(select adm.evil(1))",
        "new.id = any (array(select adm.evil(1)::int))",
        "case when adm.evil(1) then true end",
        "new.id::adm.checked > 0",
        "'7'::adm.checked > 0",
    ],
)
@pytest.mark.parametrize("how", ["audit.rule", "insert"])
@pytest.mark.parametrize("user", ["admin", "postgres"])
def test_a_condition_is_looked_at_before_anything_of_it_runs(db, su, condition, how, user):
    heard = []
    su.execute("create schema adm authorization admin")
    admin = db.connect("admin")
    admin.execute("create table adm.t (id int primary key)")
    admin.execute(
        "create function adm.evil(int) returns boolean language plpgsql immutable as "
        "$$ begin raise warning 'ran as %', current_user; return true; end $$"
    )
    admin.execute("create function adm.same(int, int) returns boolean language sql immutable as 'select adm.evil(1)'")
    admin.execute("create operator adm.=== (function = adm.same, leftarg = int, rightarg = int)")
    admin.execute("create domain adm.checked as int check (adm.evil(value))")
    admin.execute("select audit.track('adm.t')")
    connection = db.connect(user)
    connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    statement = (
        "insert into audit.rule (relation, operation, action, category, condition) values ('adm.t', 'UPDATE', 't.x', 'audit', %s)"
        if how == "insert"
        else "select audit.rule('adm.t', 't.x', 'audit', 'UPDATE', %s)"
    )
    with pytest.raises(psycopg.Error) as refused:
        connection.execute(statement, [condition])
    assert refused.value.sqlstate == "PT006"
    assert heard == []
    assert su.execute("select to_regclass('adm.made'), count(*) from audit.rule where action = 't.x'").fetchone() == (
        None,
        0,
    )


def test_from_audit_owner_no_way_leads_to_a_superuser(db, su):
    """What of pgtrail a superuser's session runs without being asked is nothing that audit_owner could change."""
    su.execute("create role schemer login in role audit_owner")
    try:
        schemer = db.connect("schemer")
        schemer.execute("set role audit_owner")
        schemer.execute(
            "create function audit.pwn(int) returns boolean language plpgsql immutable as "
            "$$ begin if (select rolsuper from pg_roles where rolname = current_user) then raise exception 'ran as %', current_user; end if; return true; end $$"
        )
        for table in ("path_step", "tracked_table", "own_trigger", "recorder", "rule"):
            schemer.execute(f"create index on audit.{table} ((audit.pwn(1)))")
        su.execute("create table public.thing (id int primary key) partition by list (id)")
        su.execute("create table public.part partition of public.thing for values in (1)")
        su.execute("alter table public.thing add column x int")
        su.execute("drop table public.thing")
        assert (
            su.execute(
                "select proname from pg_proc join pg_roles on pg_roles.oid = proowner "
                "where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and rolsuper and proname not in ('extend_capture', 'fit_trigger')"
            ).fetchall()
            == []
        )
        for function in ("extend_capture", "follow_ddl", "follow_drop"):
            owner, definer = su.execute(
                "select rolsuper, prosecdef from pg_proc join pg_roles on pg_roles.oid = proowner where proname = %s",
                [function],
            ).fetchone()
            assert owner != definer, "a superuser's, or one that runs as audit_owner"
    finally:
        su.execute("drop owned by schemer; drop role schemer")


@pytest.mark.parametrize(
    ("operation", "rows", "write"),
    [
        ("insert", "new_rows", "insert into shop.key values (2, 'b', 1)"),
        ("delete", "old_rows", "delete from shop.key"),
    ],
)
def test_a_trigger_without_the_rows_of_the_statement_finds_no_others_under_their_name(spied, operation, rows, write):
    spied.su.execute("select audit.track('shop.key')")
    owner = spied.connect("app")
    owner.execute("insert into shop.key values (1, 'a', 1)")
    owner.execute(
        f'create trigger zzz after {operation} on shop.key for each statement execute function audit_internal."capture shop.key {operation}"()'
    )
    # Whoever has temporary tables of such a name goes on, where the trigger is pgtrail's.
    owner.execute(
        f"create temporary view {rows} as select length(shop.spy('x')) as id, 'x'::text as name, 1 as rpm_limit"
    )
    owner.execute(f"grant select on {rows} to public")
    spied.heard.clear()
    with pytest.raises(psycopg.Error, match="does not hand over the rows") as raised:
        owner.execute(write)
    assert raised.value.sqlstate == "PT063"
    assert not [line for line in spied.heard if line.startswith("ran as")]
    owner.execute("drop trigger zzz on shop.key")
    owner.execute(write)
    assert spied.actions("key")[-1] == {"insert": "key.created", "delete": "key.deleted"}[operation]
    assert not [line for line in spied.heard if line.startswith("ran as")]
    spied.check()


@pytest.mark.parametrize("followed", [True, False], ids=["", "no event trigger"])
def test_a_domain_in_the_place_of_a_tables_row_is_no_type_of_it(spied, followed):
    spied.su.execute("select audit.track('shop.key')")
    owner = spied.connect("app")
    owner.execute("insert into shop.key values (1, 'a', 1)")
    if not followed:
        for name in ("extend_capture", "follow_ddl", "follow_drop"):
            spied.su.execute(f"drop event trigger pgtrail_{name}")
    # (Postgres takes it, though it is a table.)
    owner.execute("alter index shop.key rename to hidden")
    owner.execute("create type shop.parts as (id int, name text, rpm_limit int)")
    owner.execute(
        "create function shop.checked(shop.parts) returns boolean language sql as 'select shop.spy(''x'') = ''x'''"
    )
    owner.execute("create domain shop.key as shop.parts check (shop.checked(value))")
    spied.heard.clear()
    assert spied.run(
        "app",
        "insert into shop.hidden values (2, 'b', 1)",
        "update shop.hidden set name = 'c'",
        "delete from shop.hidden",
    )
    assert not [line for line in spied.heard if line.startswith("ran as")]
    assert spied.actions("key") == ["key.created"] * 2 + ["key.updated"] * 2 + ["key.deleted"] * 2
    spied.check()


def test_a_condition_that_names_a_type_of_somebodys_is_not_even_parsed(db, su):
    su.execute("create schema shop authorization admin")
    admin = db.connect("admin")
    admin.execute("create table shop.thing (id int primary key, name text, at timestamptz)")
    admin.execute("select audit.track('shop.thing')")
    admin.execute("create table shop.ran (who text)")
    admin.execute("grant insert on shop.ran to public")
    admin.execute(
        "create function shop.note(int) returns boolean language plpgsql as "
        "$$ begin raise warning 'ran as %', current_user; return true; end $$"
    )
    admin.execute("create domain shop.d as int check (shop.note(value))")
    admin.execute("create domain pg_temp.t as int check (shop.note(value))")
    admin.execute("create type shop.c as (f shop.d)")
    heard = []
    for connection in (admin, su):
        connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    for condition in (
        "'{1}'::shop.d[] is null",
        "'{1}' :: shop . d [] is null",
        '\'{1}\'::"shop"."d"[] is null',
        "cast('(1)' as shop.c) is null",
        "shop.c '(1)' is null",
        "'{1}'::t[] is null",
        "'{1}'::\"t\"[] is null",
        "'{1}'::pg_temp.t[] is null",
        "'{1}'::_t is null",
        "new.name = 'it''s' or '{1}'::shop.d[] is null",
        "new.name = '\"' or '{1}'::shop.d[] is null or new.name = '\"'",
        "'{1}'::shop/**/.d[] is null",
        "'{1}'::shop--\n.d[] is null",
        "new.name = E'\\'' or '{1}'::shop.d[] is null --'",
        "new.name = $a$ ' $a$ or '{1}'::shop.d[] is null or new.name = ' '",
        "'{1}'::U&\"sh\\006fp\".d[] is null",
        f"'{{1}}'::{db.name}.shop.d[] is null",
    ):
        for connection in (admin, su):
            with pytest.raises(psycopg.Error) as raised:
                connection.execute("select audit.rule('shop.thing', 'thing.odd', 'thing', 'UPDATE', %s)", [condition])
            assert raised.value.sqlstate == "PT006", condition
    assert [line for line in heard if line.startswith("ran as")] == []
    for condition in (
        "new.name = 'a.b' and old.name ~ '^[a-z.]+$' or new.name = 'it''s -- /* e''x'",
        "new.id = any ('{1,2}') and new.at > '2026-01-01'::timestamptz + interval '1 day'",
        "(new.id, new.name) is distinct from (old.id, old.name)",
        "lower(new.\"name\") = pg_catalog.upper('x') and new.id::pg_catalog.int8 > 1.5",
    ):
        admin.execute("select audit.rule('shop.thing', 'thing.odd', 'thing', 'UPDATE', %s)", [condition])


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_truncate_of_what_its_snapshot_does_not_see_is_refused(db, su, isolation):
    su.execute("create table public.thing (id int primary key)")
    su.execute("select audit.track('public.thing')")
    older = db.connect(autocommit=False)
    older.execute(f"set transaction isolation level {isolation}")
    older.execute("select 1")
    su.execute("insert into public.thing values (1)")
    with pytest.raises(psycopg.Error, match="can't be recorded") as raised:
        older.execute("truncate public.thing")
    older.rollback()
    assert raised.value.sqlstate == "PT064"
    su.execute("truncate public.thing")
    assert [row[0] for row in su.execute("select action from audit.event where resource_type = 'thing' order by id")] == [
        "thing.created", "thing.deleted",
    ]  # fmt: skip


def test_the_way_to_an_organization_is_the_same_under_every_setting_and_name(db, su):
    su.execute("create table public.team (key int primary key, org text)")
    su.execute("create table public.item (id int primary key, team int)")
    su.execute("alter table public.team enable row level security")
    su.execute("insert into public.team values (1, 'acme')")
    su.execute("select audit.track('public.item', org => 'team -> public.team.org')")
    su.execute("grant insert on public.item to app")
    app = db.connect("app")
    app.execute("insert into public.item values (1, 1)")
    app.execute("set row_security = off")
    app.execute("insert into public.item values (2, 1)")
    assert su.execute("select resource_id, org_id from audit.event where resource_type = 'item' order by id").fetchall() == [
        ("1", "acme"), ("2", "acme"),
    ]  # fmt: skip


def test_what_reads_a_table_replaces_no_statement_of_the_command_line(spied, pgtrail):
    """A prepared statement is a session's, whatever is rolled back."""
    owner = spied.connect("app")
    owner.execute(
        "create function shop.prepare() returns int language plpgsql volatile as $$ begin "
        "execute 'deallocate all'; execute 'prepare \"_pg3_0\"(text) as select pg_catalog.set_config(''shop.taken'', ''yes'', false)'; "
        "return 1; end $$"
    )
    owner.execute(
        "create function shop.prepared(int) returns int language plpgsql immutable as $$ begin return $1 * shop.prepare(); end $$"
    )
    for number in range(8):
        owner.execute(f"create table shop.part_{number} (id int primary key, name text)")
        owner.execute(f"insert into shop.part_{number} values (1, 'a')")
        owner.execute(f"create statistics shop.known_{number} on (id + shop.prepared(1)), name from shop.part_{number}")
        spied.su.execute(f"select audit.track('shop.part_{number}')")
    done = pgtrail("baseline", *(f"shop.part_{number}" for number in range(8)), dsn=spied.db.dsn())
    assert done.returncode == 0, done.stderr
    (observed,) = spied.su.execute("select count(*) from audit.event where action ~ 'part.*observed'").fetchone()
    assert observed == 8


def test_each_owners_tables_have_a_role_of_their_own(db, su):
    su.execute("create schema a authorization app; create schema b authorization admin")
    db.connect("app").execute("create table a.one (id int primary key)")
    db.connect("admin").execute("create table b.two (id int primary key)")
    su.execute("create table public.three (id int primary key)")
    for table in ("a.one", "b.two", "public.three"):
        su.execute("select audit.track(%s)", [table])
    roles = dict(
        su.execute(
            "select name, audit_internal.recorder_of(relation) from audit.tracked_table where category <> 'audit'"
        ).fetchall()
    )
    assert len(set(roles.values())) == 3
    for table, role in roles.items():
        owners = su.execute(
            "select distinct proowner::regrole::text from pg_proc where proname like %s", [f"% {table}%"]
        ).fetchall()
        assert owners == [(role,)]
        for other in roles:
            can = su.execute("select has_table_privilege(%s, %s, 'select')", [role, other]).fetchone()[0]
            assert can == (table == other)


@pytest.fixture
def owned(db, su):
    """Two owners' tables; those of app can be read by everybody."""
    su.execute("create schema a authorization app; create schema b authorization admin")
    app, admin = db.connect("app"), db.connect("admin")
    app.execute("create table a.one (id int primary key); create table a.two (id int primary key)")
    app.execute("grant select on a.one, a.two to public; grant usage on schema a to public")
    admin.execute("create table b.three (id int primary key)")
    for table in ("a.one", "a.two", "b.three"):
        su.execute("select audit.track(%s)", [table])
    return app


def recorders_that_were_granted(su, table):
    return [
        role
        for (role,) in su.execute(
            "select distinct grantee::regrole::text from pg_class, aclexplode(relacl) "
            "where pg_class.oid = %s::regclass and grantee::regrole::text like 'audit_recorder%%' and privilege_type = 'SELECT'",
            [table],
        )
    ]


def test_capture_is_extended_by_one_role_whoever_may_read_the_table(su, owned):
    role = su.execute("select audit_internal.recorder_of('a.one')").fetchone()[0]
    owned.execute("create table a.other (id int); grant select on a.other to public")
    owned.execute("alter table a.other enable row level security")
    assert su.execute("select count(*) from pg_policy where polrelid = 'a.other'::regclass").fetchone() == (0,)

    owned.execute("alter table a.one enable row level security")
    assert su.execute(
        "select polroles::regrole[]::text[] from pg_policy where polrelid = 'a.one'::regclass"
    ).fetchall() == [([role],)]
    owned.execute("insert into a.one values (1)")
    owned.execute("truncate a.one")
    assert su.execute(
        "select count(*) from audit.event where table_name = 'a.one' and operation = 'TRUNCATE'"
    ).fetchone() == (1,)


def test_a_partition_of_a_table_that_all_may_read_gets_one_reader(su, owned):
    owned.execute(
        "create table a.parts (id int primary key) partition by range (id); grant select on a.parts to public"
    )
    su.execute("select audit.track('a.parts')")
    role = su.execute("select audit_internal.recorder_of('a.parts')").fetchone()[0]
    owned.execute("create table a.part partition of a.parts for values from (0) to (10)")
    assert recorders_that_were_granted(su, "a.part") == [role]
    owned.execute("alter table a.part enable row level security")
    owned.execute("insert into a.part values (1)")
    owned.execute("truncate a.part")
    assert su.execute(
        "select count(*) from audit.event where table_name = 'a.parts' and operation = 'TRUNCATE'"
    ).fetchone() == (1,)
    assert su.execute("select * from audit.doctor()").fetchall() == []
    owned.execute("alter table a.parts detach partition a.part")
    assert recorders_that_were_granted(su, "a.part") == []
    assert su.execute("select count(*) from pg_policy where polrelid = 'a.part'::regclass").fetchone() == (0,)


def test_no_setting_of_a_session_takes_others_functions_away_or_renames_anything(db, su, owned):
    su.execute(
        "create table b.team (id int primary key, org text); create table b.child (id int primary key, team_id int)"
    )
    su.execute("insert into b.team values (1, 'acme')")
    su.execute("select audit.track('b.child', org => 'team_id -> b.team.org')")
    owned.execute("create table a.parts (id int primary key) partition by range (id)")
    owned.execute("create table a.part partition of a.parts for values from (0) to (10)")
    su.execute("select audit.track('a.parts')")
    functions = "select proname from pg_proc where proname ~ '^(capture|read|find) ' order by 1"
    before = su.execute(functions).fetchall()
    owned.execute("set quote_all_identifiers = on; set standard_conforming_strings = off; set array_nulls = off")
    owned.execute("set datestyle = 'SQL, DMY'; set transform_null_equals = on; set row_security = off")
    owned.execute("alter table a.two add column extra int")
    assert su.execute("select name from audit.tracked_table where relation = 'a.two'::regclass").fetchone() == (
        "a.two",
    )
    owned.execute("drop table a.part; drop table a.one")
    assert su.execute(functions).fetchall() == [row for row in before if " a.one" not in row[0]]
    assert su.execute(
        "select action, resource_id from audit.event where category = 'audit' and action like '%\\_dropped' order by id"
    ).fetchall() == [("audit.partition_dropped", "a.part"), ("audit.table_dropped", "a.one")]
    assert su.execute("select * from audit.doctor()").fetchall() == []

    admin = db.connect("admin")
    admin.execute("insert into b.three values (1)")
    admin.execute("truncate b.three")
    su.execute("insert into b.child values (1, 1)")
    assert su.execute("select org_id from audit.event where table_name = 'b.child'").fetchall() == [("acme",)]
    su.execute("set quote_all_identifiers = on")
    su.execute("select audit.recompile(); select audit.untrack('b.child')")
    assert su.execute("select count(*) from audit.tracked_table where name like '%\"%'").fetchone() == (0,)


def test_what_leads_to_an_organization_is_read_through_row_level_security_too(su, owned):
    owned.execute("create table a.team (id int primary key, org text); grant select on a.team to public")
    owned.execute("insert into a.team values (1, 'acme'); create table a.child (id int primary key, team_id int)")
    su.execute("select audit.track('a.child', org => 'team_id -> a.team.org')")
    owned.execute("alter table a.team enable row level security; alter table a.team force row level security")
    owned.execute("insert into a.child values (1, 1)")
    assert su.execute("select org_id from audit.event where table_name = 'a.child'").fetchall() == [("acme",)]


@pytest.mark.parametrize("set_function_owner", ["alter table a.two owner to admin", "reassign owned by app to admin"])
def test_who_recorded_for_the_owner_before_reads_the_table_no_more(su, owned, set_function_owner):
    before = su.execute("select audit_internal.recorder_of('a.two')").fetchone()[0]
    assert recorders_that_were_granted(su, "a.two") == [before]
    su.execute("alter table a.two enable row level security")
    su.execute(set_function_owner)
    su.execute("select audit.recompile()")
    role = su.execute("select audit_internal.recorder_of('a.two')").fetchone()[0]
    assert role not in (before, None)
    assert recorders_that_were_granted(su, "a.two") == [role]
    assert su.execute(
        "select polroles::regrole[]::text[] from pg_policy where polrelid = 'a.two'::regclass"
    ).fetchall() == [([role],)]
    su.execute("insert into a.two values (1)")
    su.execute("truncate a.two")
    assert su.execute(
        "select count(*) from audit.event where table_name = 'a.two' and operation = 'TRUNCATE'"
    ).fetchone() == (1,)


def test_no_advisory_lock_keeps_others_from_tracking(db, su, owned):
    owned.execute(
        "select pg_advisory_lock(pg_class.oid::integer, 0), pg_advisory_lock(pg_class.oid::bigint) from pg_class "
        "where relname = 'recorder' and relnamespace = (select oid from pg_namespace where nspname = 'audit')"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        owned.execute("begin; lock table audit.recorder in access share mode")
    owned.rollback()
    admin = db.connect("admin")
    admin.execute("set statement_timeout = '20s'")
    admin.execute("alter table b.three rename to four")
    admin.execute("create table b.five (id int primary key)")
    admin.execute("select audit.track('b.five')")


def test_two_who_are_given_roles_at_once_wait_for_one_another(db, su, wait_until):
    su.execute("create schema a authorization app; create schema b authorization admin")
    db.connect("app").execute("create table a.one (id int primary key)")
    db.connect("admin").execute("create table b.two (id int primary key)")
    first, second = db.connect(autocommit=False), db.connect(autocommit=False)
    first.execute("select audit.track('a.one')")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.execute, "select audit.track('b.two')")
        try:
            wait_until(
                lambda: su.execute(
                    "select pid from pg_locks where relation = 'audit.recorder'::regclass and not granted"
                ).fetchone()
            )
        finally:
            first.commit()
        waiting.result()
    second.commit()
    assert su.execute(
        "select audit_internal.recorder_of('a.one') <> audit_internal.recorder_of('b.two')"
    ).fetchone() == (True,)


def test_where_no_role_is_left_to_record_an_owners_tables_an_error_says_what_to_do(db, su):
    for number, owner in enumerate(("app", "reader", "auditor", "forwarder"), start=1):
        name = "audit_recorder" if number == 1 else f"audit_recorder_{number}"
        su.execute("insert into audit.recorder values (%s, %s)", [name, owner])
    su.execute("create table public.thing (id int primary key)")
    with pytest.raises(psycopg.Error, match="no role is left to record the tables of superusers") as refused:
        su.execute("select audit.track('public.thing')")
    assert refused.value.sqlstate == "PT061"
    assert (
        refused.value.diag.message_hint
        == "create role audit_recorder_5 nologin; grant audit_recorder_5 to audit_owner;"
    )


def test_who_records_can_do_nothing_else(db, su):
    su.execute("create table public.thing (id int primary key, at timestamptz)")
    su.execute("select audit.track('public.thing')")
    su.execute("insert into public.thing values (1, now())")
    role = su.execute("select audit_internal.recorder_of('public.thing')").fetchone()[0]
    recorder = db.connect()
    recorder.execute(f"set session authorization {role}")
    for refused in (
        "select * from audit.event",
        "select * from audit.log",
        "select * from audit.recording",
        "select * from audit.salt",
        "select * from audit.destination_secret",
        "select * from audit.tracked_table",
        "select nextval('audit.event_id_seq')",
        "insert into audit.event (category, action, resource_type, actor_type) values ('a', 'b', 'c', 'd')",
        "insert into audit.event (id, category, action, resource_type, actor_type) values (7, 'a', 'b', 'c', 'd')",
        "insert into audit.recording (id) values (7)",
        "insert into audit.recording (occurred_at) values (now())",
        "update audit.recording set action = 'x'",
        "delete from audit.recording",
        "truncate audit.event",
        "create table audit.mine ()",
        "create schema mine",
        "create table public.mine ()",
        "create function audit.mine() returns void language sql as ''",
        "insert into public.thing values (2)",
        "select audit.seal()",
        "select audit_internal.compile_table('public.thing')",
        "select audit.record('a', 'b', 'c', 'd', null, null)",
        "select pg_read_file('PG_VERSION')",
    ):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedColumn)):
            recorder.execute(refused)
    executable = {
        name
        for (name,) in recorder.execute(
            "select proname from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and (prosecdef or pronamespace = 'audit'::regnamespace) and has_function_privilege(oid, 'execute')"
        )
        if not name.startswith(("capture ", "read ", "find ", "label ", "name "))
    }
    assert executable == {"set_actor", "last_org", "is_captured_by", "record_capture_failure"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("extra_float_digits", "-15"),
        ("timezone", "'Asia/Kolkata'"),
        ("datestyle", "'German, DMY'"),
        ("intervalstyle", "'sql_standard'"),
        ("bytea_output", "'escape'"),
        ("lc_monetary", "'C'"),
    ],
)
def test_what_is_recorded_does_not_depend_on_the_session(su, setting, value):
    su.execute(
        "create table public.thing (at timestamptz, day date, primary key (at, day), price float8, wait interval, raw bytea, "
        "paid money, spans tstzrange, pair float4[])"
    )
    su.execute("select audit.track('public.thing', label => 'at')")
    row = "('2026-07-01 12:00+00', '2026-07-02', 1.4999, '1 day 02:03', '\\x00ff', 5, '[2026-07-01 12:00+00,2026-07-02 12:00+00)', '{0.1}')"
    su.execute("insert into public.thing values " + row)
    su.execute("delete from public.thing")
    su.execute(f"set {setting} = {value}")
    su.execute("insert into public.thing values " + row)
    su.execute("update public.thing set price = 1.4998")
    su.execute("reset all")
    events = su.execute(
        "select resource_id, resource_label, coalesce(after, before), before, changed from audit.event where category = 'thing' order by id"
    ).fetchall()
    assert events[0][:3] == events[2][:3]
    assert events[0][:2] == ("2026-07-01 12:00:00+00,2026-07-02", "2026-07-01 12:00:00+00") or events[0][0].startswith(
        '"2026'
    )
    assert (events[3][2]["price"], events[3][3], events[3][4]) == (1.4998, {"price": 1.4999}, ["price"])
