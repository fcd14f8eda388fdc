"""What `pgtrail verify` expects of schema audit: a fresh database has it, and whatever a superuser changes is named."""

import pytest

from pgtrail.verify import QUERIES
from pgtrail.verify.integrity import changed_objects, is_unsafe


def changed(connection):
    connection.execute("set search_path = pg_catalog, pg_temp")
    return dict(changed_objects(connection))


def test_a_database_as_it_was_installed_is_as_expected(db, nemo):
    for database in (db, nemo):
        assert changed(database.connect()) == {}, "sql/ or migrations/ changed: make docs"


def test_what_an_operator_may_do_is_no_finding(su):
    su.execute("do $$ begin create role grafana; exception when duplicate_object then null; end $$")
    su.execute("grant select on audit.log, audit.event to grafana")
    su.execute("create table public.thing (id int primary key)")
    su.execute("select audit.track('public.thing'), audit.make_partitions(7)")
    assert changed(su) == {}


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("create or replace function audit_internal.seal_hash(seal audit.seal) returns bytea language sql stable as 'select null::bytea'", "function audit_internal.seal_hash(audit.seal)"),
        ("alter function audit.prove(bigint) set search_path = evil", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) reset search_path", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) security definer", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) owner to postgres", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) volatile", "function audit.prove(bigint)"),
        ("grant execute on function audit.erase_actor(text, text, text[]) to public", "function audit.erase_actor(text,text,text[])"),
        ("drop function audit.prove(bigint)", "function audit.prove(bigint)"),
        ("create function audit_internal.events_between(text, text) returns setof audit.event language sql as 'select * from audit.event'", "function audit_internal.events_between(text,text)"),
        ("create or replace view audit.today with (security_invoker) as select * from audit.log where action <> 'x.y'", "table audit.today"),
        ("alter view audit.log reset (security_invoker)", "table audit.log"),
        ("create policy hide on audit.event as restrictive using (action <> 'x.y')", "policy hide on audit.event"),
        ("create policy hide on audit.event_default as restrictive using (true)", "policy hide on audit.(partition)"),
        ("drop policy every_org on audit.event", "policy every_org on audit.event"),
        ("alter policy every_org on audit.event using (org_id is null)", "policy every_org on audit.event"),
        ("alter table audit.event disable row level security", "table audit.event"),
        ("alter table audit.seal enable row level security", "table audit.seal"),
        ("create rule hide as on insert to audit.seal do instead nothing", "rule hide on audit.seal"),
        ("create rule hide as on insert to audit.event_default do instead nothing", "rule hide on audit.(partition)"),
        ("alter table audit.event disable trigger refuse_change", "trigger refuse_change on audit.event"),
        ("create trigger sneak before insert on audit.event for each row execute function audit_internal.refuse_change()", "trigger sneak on audit.event"),
        ("alter table audit.event_default disable trigger refuse_truncate", "trigger refuse_truncate on audit.(partition)"),
        ("alter table audit.event alter xid drop not null", "column settings of audit.event"),
        ("alter table audit.event alter xid set default '3'", "column settings of audit.event"),
        ("alter table audit.seal alter hash type text using hash::text", "columns of audit.seal"),
        ("grant update (reason) on audit.event to app", "column settings of audit.event"),
        ("grant delete on audit.seal to app", "privileges on audit.seal"),
        ("grant select on audit.salt to public", "privileges on audit.salt"),
        ("alter event trigger pgtrail_follow_ddl disable; alter table audit.seal rename to other; create view audit.seal as select * from audit.other", "table audit.seal"),
        ("alter table audit.salt drop constraint kind_is_known", "check kind_is_known on audit.salt"),
        ("create index sneak on audit.event ((lower(action)))", "index audit.sneak"),
        ("grant create on schema audit to app", "schema audit"),
        ("create function public.f(text) returns int language sql as 'select 1'; create cast (text as int) with function public.f(text)", "cast from text to integer"),
        ("create function pg_catalog.unnest(bigint[]) returns setof bigint language sql as 'select 1::bigint'", "function pg_catalog.unnest(bigint[])"),
        ("create operator pg_catalog.+ (leftarg = text, rightarg = text, function = textcat)", "operator +(text,text)"),
    ],
)  # fmt: skip
def test_what_a_superuser_changes_is_named(su, statement, name):
    su.execute(statement)
    assert name in changed(su)


def test_what_makes_statements_lie_is_told_apart(su):
    su.execute("alter function audit.prove(bigint) volatile")
    assert not any(is_unsafe(name, True) for name in changed(su))
    su.execute("create policy hide on audit.event as restrictive using (true)")
    assert any(is_unsafe(name, True) for name in changed(su))
    assert not any(is_unsafe(name, False) for name in changed(su)), "who is not subject to policies sees everything"
    su.execute("create rule hide as on insert to audit.seal do instead nothing")
    assert any(is_unsafe(name, False) for name in changed(su))


HOOK = """
    create schema evil;
    create function evil.hook() returns integer language plpgsql immutable as 'begin return 1; end';
    create function evil.hook(integer) returns integer language plpgsql immutable as 'begin return 1; end';
    create function evil.hook(bigint, bigint) returns integer language plpgsql immutable as 'begin return 1; end';
    create operator class evil.by_hook for type bigint using btree as
        operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 evil.hook(bigint, bigint);
"""


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("create statistics evil.s on (number + evil.hook()) from audit.seal", "statistics evil.s on audit.seal"),
        ("create statistics evil.s on action, category from audit.event_default", "statistics evil.s on audit.event_default"),
        ("set allow_system_table_mods = on; create statistics evil.s on (relpages + evil.hook()) from pg_class", "statistics evil.s on pg_class"),
        ("alter table audit.seal add constraint sneak check (evil.hook() = 1)", "check sneak on audit.seal"),
        ("alter table audit.event_default add constraint sneak check (evil.hook() = 1)", "check sneak on audit.(partition)"),
        ("alter table audit.event add constraint sneak check (evil.hook() = 1)", "check sneak on audit.event"),
        ("create index sneak on audit.seal ((number + evil.hook()))", "index audit.sneak"),
        ("create index sneak on audit.event_default ((id + evil.hook()))", "index audit.sneak"),
        ("create index sneak on audit.event_default (id) where evil.hook() = 1", "index audit.sneak"),
        ("create index sneak on audit.event (action) where evil.hook() = 1", "index audit.sneak"),
        ("create index sneak on audit.seal (number evil.by_hook)", "index audit.sneak"),
        ("create index sneak on audit.event_default (id evil.by_hook)", "index audit.sneak"),
        ("create table evil.more () inherits (audit.seal)", "table evil.more"),
        ("create table evil.more () inherits (audit.seal); create statistics evil.s on (number + evil.hook()) from evil.more", "statistics evil.s on evil.more"),
        ("create table evil.month (like audit.event including constraints) partition by list (id); alter table audit.event attach partition evil.month for values from ('2001-01-01') to ('2001-02-01')", "table evil.month"),
        ("create table evil.month (like audit.event including constraints); alter table audit.event attach partition evil.month for values from ('2001-01-01') to ('2001-02-01'); alter table evil.month add constraint sneak check (evil.hook() = 1)", "check sneak on audit.(partition)"),
        ("create foreign data wrapper nothing; create server elsewhere foreign data wrapper nothing; create foreign table audit.month (id bigint) server elsewhere", "table audit.month"),
        ("alter table audit.erasure alter reason type text collate \"C\"", "columns of audit.erasure"),
        ("alter operator family pg_catalog.integer_ops using btree add operator 1 evil.< (integer, numeric), function 1 (integer, numeric) evil.compare(integer, numeric)", "operator family integer_ops"),
    ],
)  # fmt: skip
def test_whatever_reading_evaluates_is_named_and_nothing_is_read(su, statement, name):
    su.execute(HOOK)
    if "evil.compare" in statement:
        su.execute(
            "create function evil.compare(integer, numeric) returns integer language sql immutable as 'select 1'; "
            "create function evil.below(integer, numeric) returns boolean language sql immutable as 'select true'; "
            "create operator evil.< (leftarg = integer, rightarg = numeric, function = evil.below)"
        )
    su.execute(statement)
    assert name in changed(su)
    assert is_unsafe(name, False)


def test_a_month_that_is_a_foreign_table_is_named(su):
    su.execute(
        "create foreign data wrapper nothing; create server elsewhere foreign data wrapper nothing; "
        "create schema evil; create table evil.copy (like audit.event)"
    )
    columns = su.execute(
        "select string_agg(format('%I %s %s', attname, format_type(atttypid, atttypmod), case when attnotnull then 'not null' end), ', ' order by attnum) "
        "from pg_attribute where attrelid = 'evil.copy'::regclass and attnum > 0"
    ).fetchone()[0]
    try:
        su.execute(
            f"create foreign table evil.month ({columns}) server elsewhere; "
            "alter table audit.event drop constraint event_pkey cascade; "
            "do $$ declare c text; begin for c in select conname from pg_constraint where conrelid = 'audit.event'::regclass and contype = 'c' "
            "loop execute format('alter table audit.event drop constraint %I cascade', c); end loop; end $$; "
            "alter table audit.event attach partition evil.month for values from ('2001-01-01') to ('2001-02-01')"
        )
    finally:
        found = changed(su)
    assert "table evil.month" in found
    assert is_unsafe("table evil.month", False)


def schemas_read(node):
    """The schemas of the tables that a plan reads."""
    if isinstance(node, list):
        return set().union(*map(schemas_read, node))
    if not isinstance(node, dict):
        return set()
    own = {node["Schema"]} if "Relation Name" in node else set()
    return own.union(*map(schemas_read, node.values()))


def test_nothing_but_the_catalogue_is_read_before_all_of_that_was_looked_at(su):
    su.execute("set search_path = pg_catalog, pg_temp")
    for query in ("is_under_policies", "facts"):
        plan = su.execute("explain (verbose, format json) " + QUERIES[query], {}).fetchone()[0]
        assert schemas_read(plan) <= {"pg_catalog"}
