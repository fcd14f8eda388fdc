"""What `pgtrail verify` expects of schema audit: a fresh database has it, and whatever a superuser changes is named."""

import pytest

from pgtrail_cli.verify.integrity import changed_objects, is_unsafe


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
        ("create or replace function audit.seal_hash(seal audit.seal) returns bytea language sql stable as 'select null::bytea'", "function audit.seal_hash(audit.seal)"),
        ("alter function audit.prove(bigint) set search_path = evil", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) reset search_path", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) security definer", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) owner to postgres", "function audit.prove(bigint)"),
        ("alter function audit.prove(bigint) volatile", "function audit.prove(bigint)"),
        ("grant execute on function audit.erase_actor(text, text, text[]) to public", "function audit.erase_actor(text,text,text[])"),
        ("drop function audit.prove(bigint)", "function audit.prove(bigint)"),
        ("create function audit.batch(text, text) returns setof audit.event language sql as 'select * from audit.event'", "function audit.batch(text,text)"),
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
        ("create trigger sneak before insert on audit.event for each row execute function audit.refuse_change()", "trigger sneak on audit.event"),
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
