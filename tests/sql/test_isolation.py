"""A reader of one organization learns nothing of another: no row, no value in an error, no statistics, no count."""

import re

import psycopg
import pytest

A, B = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
OF_B = "a secret of B"


@pytest.fixture
def reader(nemo):
    """The reader of A, in a database where B has 30 teams."""
    su = nemo.connect()
    su.execute(f"insert into nemo.organization (id, name, slug) values ('{A}', 'A', 'a'), ('{B}', '{OF_B}', 'b')")
    su.execute(f"insert into nemo.team (org_id, name) select '{A}', 'A ' || n from generate_series(1, 3) as n")
    su.execute(f"insert into nemo.team (org_id, name) select '{B}', '{OF_B} ' || n from generate_series(1, 30) as n")
    su.execute("select audit.seal()")
    su.execute("select audit.grant_org('reader', %s)", [A])
    su.execute("analyze audit.event")
    return nemo.connect("reader")


@pytest.mark.parametrize(
    "condition",
    [
        "1 / (case when org_id = '{A}' then 1 else 0 end) = 1",
        "(case when org_id = '{A}' then '1' else resource_label end)::int = 1",
        "pg_temp.tell(resource_label)",
        "resource_label ~~~ ''",
        "before is null and (after ->> 'name')::text like '%' and pg_temp.tell(after ->> 'name')",
    ],
)
def test_no_filter_of_its_own_gets_to_see_a_row_of_another(reader, condition):
    notices = []
    reader.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    reader.execute(
        "create function pg_temp.tell(text) returns boolean language plpgsql cost 0.0000001 as $$ begin raise notice '%', $1; return true; end $$"
    )
    reader.execute(
        "create function pg_temp.tell_too(text, text) returns boolean language plpgsql cost 0.0000001 as $$ begin raise notice '%', $1; return true; end $$"
    )
    reader.execute("create operator pg_temp.~~~ (function = pg_temp.tell_too, leftarg = text, rightarg = text)")
    condition = condition.replace("{A}", A).replace("~~~", "operator(pg_temp.~~~)")
    rows = reader.execute(f"select event::text from audit.event where {condition}").fetchall()
    assert rows
    assert not any(OF_B in text for text in [*notices, *(row[0] for row in rows)])


def test_row_security_can_not_be_switched_off(reader):
    reader.execute("set row_security = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("select * from audit.event")


def test_a_partition_by_its_own_name_is_refused(reader):
    partitions = reader.execute(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'audit.event'::regclass"
    ).fetchall()
    assert partitions
    for (partition,) in partitions:
        for statement in ("select * from {}", "copy {} to stdout", "select count(*) from {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement.format(partition))


def test_statistics_show_nothing(reader):
    for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        assert reader.execute(
            f"select count(*) from {view} where schemaname = 'audit' and tablename like 'event%'"
        ).fetchone() == (0,)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("select * from pg_statistic")


VALUES = {
    # What events of B, and no others, have in each column; and what no event has.
    "org_id": ("b", "z"),
    "category": ("teams", "zzzzz"),
    "action": ("team.founded", "zzzzzzzzzzzz"),
    "operation": ("UPDATE", "zzzzzz"),
    "table_name": ("public.of_b", "zzzzzzzzzzz"),
    "resource_type": ("b", "z"),
    "resource_id": ("of b", "zzzz"),
    "resource_label": ("Merger of B", "zzzzzzzzzzz"),
    "actor_type": ("b", "z"),
    "actor_id": ("of b", "zzzz"),
    "actor_label": ("Bea", "zzz"),
    "actor_ip": ("10.0.0.2", "10.9.9.9"),
    "user_agent": ("Bowser", "zzzzzz"),
    "request_id": ("req b", "zzzzz"),
    "reason": ("because", "zzzzzzz"),
    "db_role": ("b", "z"),
    "client_addr": ("10.0.0.2", "10.9.9.9"),
    "application_name": ("b", "z"),
    "before": ('{"of": "b"}', '{"of": "z"}'),
    "after": ('{"of": "b"}', '{"of": "z"}'),
    "changed": ("{of_b}", "{of_z}"),
    "resource_hash": ("4711", "4712"),
    "imported_from": ("b", "z"),
    "node": ("b", "z"),
    "node_id": ("4711", "4712"),
    "node_xid": ("4711", "4712"),
}
CONDITIONS = {
    "=": "{column} = {value}",
    "<>": "{column} <> {value}",
    ">=": "{column} >= {value}",
    "<": "{column} < {value}",
    "between": "{column} between {value} and {value}",
    "any": "{column} = any (array[{value}, {value}])",
    "like": "{column}::text like {value}::text || '%'",
    "prefix": "{column} ^@ {value}",
    "is not distinct from": "{column} is not distinct from {value}",
}
SIZES_AND_TIMES = {"id", "xid", "occurred_at"}


@pytest.fixture
def analyzed(nemo):
    """A reader of A, in a database where B's events are most, and ANALYZE has been everywhere."""
    su = nemo.connect()
    su.execute("select audit.grant_org('reader', 'a'), audit.grant_org('auditor', 'b')")
    su.execute("insert into audit.org_label values ('a', 'A'), ('b', 'B')")
    names = ", ".join(VALUES)
    of_b = ", ".join(f"case when n > 20 then '{b}' end::{type_of(su, name)}" for name, (b, _) in VALUES.items())
    of_a = ", ".join(
        f"coalesce(of_b.{name}, {'null' if name in ('operation', 'changed', 'client_addr', 'node') else of_them(su, name)})"
        for name in VALUES
    )
    for months in (0, 1, 240):
        su.execute(
            f"insert into audit.event (occurred_at, {names}) select now() + interval '{months} months', {of_a} "
            f"from generate_series(1, 1000) as n cross join lateral (select {of_b}) as of_b ({names})"
        )
    su.execute("select audit.make_partitions(4)")
    su.execute("analyze")
    su.execute("analyze audit.event")
    return nemo.connect()


def type_of(connection, name):
    found = "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'audit.event'::regclass and attname = %s"
    return connection.execute(found, [name]).fetchone()[0]


def of_them(connection, name):
    """A value of A's events, different in each."""
    kind = type_of(connection, name)
    return {
        "inet": "'10.1.0.1'::inet + n",
        "jsonb": "jsonb_build_object('n', n)",
        "bigint": "n::bigint",
        "xid8": "n::text::xid8",
        "text": "'a'" if name == "org_id" else "'a' || n",
        "name": "('a' || n)::name",
    }[kind]


def expected(connection, query):
    return connection.execute(f"explain {query}").fetchall()


@pytest.mark.parametrize("role", ["reader", "audit_org_reader"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_planner_expects_no_more_of_what_another_has_than_of_what_nobody_has(analyzed, role, condition):
    analyzed.execute("select set_config('pgtrail.org', 'a', false)")
    analyzed.execute(f"set role {role}")
    template = CONDITIONS[condition]
    for name, pair in VALUES.items():
        kind = type_of(analyzed, name)
        of_b, of_nobody = (template.format(column=name, value=f"'{value}'::{kind}") for value in pair)
        try:
            plans = [expected(analyzed, f"select from audit.event where {where}") for where in (of_b, of_nobody)]
        except psycopg.errors.UndefinedFunction:
            continue
        rows = [
            [re.search(r"rows=\d+ width=\d+", line).group() for (line,) in plan if "rows=" in line] for plan in plans
        ]
        assert rows[0] == rows[1], f"{name} {condition}"


@pytest.mark.parametrize("role", ["reader", "audit_org_reader"])
def test_the_planner_does_not_tell_what_others_leave_empty(analyzed, role):
    optional = analyzed.execute(
        "select attname::text from pg_attribute where attrelid = 'audit.event'::regclass and attnum > 0 and not attisdropped and not attnotnull and attname <> 'org_id'"
    ).fetchall()
    analyzed.execute(f"set role {role}")
    plans = [expected(analyzed, f"select from audit.event where {name} is null") for (name,) in optional]
    assert len({re.search(r"rows=\d+", str(plan)).group() for plan in plans}) == 1


def test_no_value_but_sizes_and_times_is_in_the_statistics_of_what_readers_see(analyzed):
    found = analyzed.execute(
        """
        select starelid::regclass::text, attname::text
        from pg_statistic
        join pg_attribute on attrelid = starelid and attnum = staattnum
        where starelid in (select relid from pg_partition_tree('audit.event')) or starelid in ('audit.org_grant'::regclass, 'audit.org_label'::regclass, 'audit.search_index'::regclass)
        """
    ).fetchall()
    assert {name for _, name in found} == SIZES_AND_TIMES
    assert len({table for table, _ in found}) > 2
    seen = analyzed.execute(
        """
        select pg_class.oid::regclass::text from pg_class where relkind in ('r', 'p', 'm', 'f') and relnamespace = 'audit'::regnamespace
            and has_table_privilege('reader', pg_class.oid, 'select')
        """
    ).fetchall()
    # (audit.search_index_head says how far the search index has got, in one row.)
    decided = {
        "audit.event",
        "audit.search_index",
        "audit.search_index_head",
        "audit.org_grant",
        "audit.org_label",
        "audit.category",
    }
    assert {name for (name,) in seen} == decided, "decide about the others"


def test_the_sequence_of_ids_can_not_be_read(reader):
    for statement in (
        "select last_value from audit.event_id_seq",
        "select currval('audit.event_id_seq')",
        "select nextval('audit.event_id_seq')",
    ):
        with pytest.raises(psycopg.Error) as raised:
            reader.execute(statement)
        assert raised.value.sqlstate in ("42501", "55000")


def test_a_view_or_a_function_of_its_own_sees_no_more(reader, nemo):
    nemo.connect().execute("create schema own authorization reader; grant usage on schema own to public")
    reader.execute("create view own.everything as select * from audit.event; grant select on own.everything to public")
    reader.execute(
        "create function own.everything() returns setof audit.event language sql security definer as 'select * from audit.event'"
    )
    for source in ("own.everything", "own.everything()"):
        assert {row[0] for row in reader.execute(f"select org_id from {source}").fetchall()} == {A}


def test_every_function_that_gives_events_gives_only_its_own(reader):
    everything = reader.execute(
        "select encode(audit.render(event, 'ndjson'), 'escape') from audit_internal.events_between('1:1:', pg_current_snapshot()) as event union all "
        "select audit.event_json(event)::text from audit.event union all select diff::text from audit.diff union all select export::text from audit.export"
    ).fetchall()
    assert len(everything) > 10
    assert not any(OF_B in row[0] for row in everything)


def test_proofs_of_another_organization_do_not_exist(reader, nemo):
    ids = [row[0] for row in nemo.connect().execute("select id from audit.event where org_id = %s", [B]).fetchall()]
    for event in (*ids[:3], 10**9):
        with pytest.raises(psycopg.Error) as raised:
            reader.execute("select audit.prove(%s)", [event])
        assert (raised.value.sqlstate, OF_B in str(raised.value)) == ("PT002", False), "as if it were not there"


def test_what_is_kept_beside_the_events_is_not_theirs(reader):
    for table in (
        "seal",
        "seal_leaves",
        "salt",
        "destination",
        "dead_letter",
        "attempt",
        "erasure",
        "dropped_partition",
        "legal_hold",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"select * from audit.{table}")


def test_a_prepared_statement_obeys_the_role_that_runs_it(reader, nemo):
    su = nemo.connect()
    su.execute("prepare everything as select org_id from audit.event where category = 'teams'")
    assert len(su.execute("execute everything").fetchall()) == 33
    su.execute("set role reader")
    assert {row[0] for row in su.execute("execute everything").fetchall()} == {A}
    su.execute("reset role")
    assert len(su.execute("execute everything").fetchall()) == 33
