"""A reader of one organization learns nothing of another: no row, no value in an error, no statistics, no count."""

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
        "select encode(audit.render(event, 'ndjson'), 'escape') from audit.batch('1:1:', pg_current_snapshot()) as event union all "
        "select audit.event_json(event)::text from audit.event union all select diff::text from audit.diff union all select export::text from audit.export"
    ).fetchall()
    assert len(everything) > 10
    assert not any(OF_B in row[0] for row in everything)


def test_proofs_of_another_organization_do_not_exist(reader, nemo):
    ids = [row[0] for row in nemo.connect().execute("select id from audit.event where org_id = %s", [B]).fetchall()]
    for event in (*ids[:3], 10**9):
        with pytest.raises(psycopg.Error) as raised:
            reader.execute("select audit.prove(%s)", [event])
        assert (raised.value.sqlstate, OF_B in str(raised.value)) == ("PT019", False), "as if it were not there"


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
