"""Old months lie on another server, and whoever reads the log does not notice."""

import psycopg
import pytest
from tests.conftest import Database, clone
from tests.verifying import problems

MONTHS = ("audit.event_2020_01", "audit.event_2020_02", "audit.event_2020_03")
FAR = "audit.event_2020_01"


@pytest.fixture
def aged(nemo):
    """Three months of 2020 with 300 events each, of three organizations and of none; sealed."""
    su = nemo.connect()
    su.execute("set role audit_owner")
    for month in (1, 2, 3):
        su.execute(f"select audit.make_partition('2020-0{month}-01Z')")
    for month in (1, 2, 3):
        su.execute(
            """
            insert into audit.event (
                occurred_at, org_id, category, action, operation, table_name, resource_type, resource_id, resource_label,
                actor_type, actor_id, actor_label, actor_ip, client_addr, reason, before, after, changed, resource_hash, actor_hash,
                imported_from
            )
            select
                make_timestamptz(2020, %s, 1, 0, 0, 0.123456, 'UTC') + n * interval '2 hours',
                (array['a', 'b', 'c', null])[1 + n %% 4], 'teams', 'team.' || (array['created', 'updated'])[1 + n %% 2],
                'UPDATE', 'nemo.team', 'team', n::text, E'é\\t"x"', 'user', 'ann', 'Ann', '192.0.2.7', '2001:db8::/64',
                E'x\\n\\\\', '{"rpm": 1.50, "big": 12345678901234567890.5}', jsonb_build_object('n', n, 'x', E'é\\u2028'),
                '{rpm,"a b",null}', hashtextextended(n::text, 0), hashtextextended('ann', 0), 'old:' || n
            from generate_series(1, 300) as n
            """,
            [month],
        )
        su.execute("select audit.seal()")
    seal(su)
    return nemo


@pytest.fixture
def there(server):
    """Another database, which takes the months."""
    yield from clone(server, "template1")


@pytest.fixture
def distributed(aged, there, pgtrail):
    """Two of the months lie there, the third here."""
    before = everything(aged)
    done = pgtrail("hub", "distribute", "--to", there.dsn(), dsn=aged.dsn())
    assert (done.returncode, done.stdout.split()) == (0, list(MONTHS)), done.stderr
    assert everything(aged)[: len(before)] == before
    return aged


@pytest.fixture
def forwarded(distributed):
    """Takes what there is to forward, and says that it was delivered: the ids."""
    su = distributed.connect()
    su.execute("select audit.add_destination('siem', 'https://siem.example', 'ndjson')")
    su.execute("select audit.worker_is_here('w', '30 seconds')")

    def take():
        (cursor,) = su.execute("select id from audit.cursor").fetchone()
        token, ids = su.execute("select lease_token, event_ids from audit.next_batch(%s, 'w')", [cursor]).fetchone()
        if ids:
            settled = "select audit.settle(%s, %s, %s::bigint[], p_through => %s)"
            assert su.execute(settled, [cursor, token, ids, max(ids)]).fetchone() == (True,)
        return ids

    while take():
        pass
    return take


def seal(connection):
    while connection.execute("select number from audit.seal(200) where number is not null").fetchone():
        pass


def everything(database: Database):
    return (
        database.connect()
        .execute("select event::text, event.xid::text from audit.event where occurred_at < '2021-01-01' order by id")
        .fetchall()
    )


def plan(connection, query, *arguments):
    return "\n".join(row[0] for row in connection.execute(f"explain (verbose, costs off) {query}", *arguments))


def remote(connection, query, *arguments):
    """What a query asks the other server."""
    lines = plan(connection, query, *arguments).splitlines()
    return [line.split("Remote SQL: ")[1] for line in lines if "Remote SQL: " in line]


def test_the_events_are_the_same_and_lie_elsewhere(distributed, there):
    (here,) = distributed.connect().execute("select count(*) from audit.event_2020_01").fetchone()
    (rest,) = distributed.connect().execute("select count(*) from audit.event_2020_01_rest").fetchone()
    (far,) = there.connect().execute("select count(*) from audit_history.event_2020_01").fetchone()
    assert (here, far, rest) == (300, 225, 75)
    assert (
        there.connect().execute("select from audit_history.event_2020_01 where org_id is null limit 1").fetchone()
        is None
    )


def test_every_seal_holds_and_a_change_over_there_shows(distributed, there):
    su = distributed.connect()
    assert problems(su) == []
    (changed,) = (
        there.connect()
        .execute(
            "update audit_history.event_2020_02 set resource_label = 'other' where id = (select min(id) from audit_history.event_2020_02) returning id"
        )
        .fetchone()
    )
    (deleted,) = (
        there.connect()
        .execute(
            "delete from audit_history.event_2020_03 where id = (select min(id) from audit_history.event_2020_03) returning id"
        )
        .fetchone()
    )
    found = [row[1:] for row in problems(distributed.connect())]
    assert (changed, "it was changed") in found
    assert (deleted, "it was deleted") in found


def test_what_one_organization_did_is_one_query_with_the_organization_in_it(distributed):
    auditor = distributed.connect("auditor")
    month = "occurred_at >= '2020-02-01Z' and occurred_at < '2020-03-01Z'"
    (asked,) = remote(auditor, f"select id from audit.event where {month} and org_id = 'c'")
    assert "org_id = 'c'" in asked
    (asked,) = remote(
        auditor,
        f"select id from unnest('{{a,c}}'::text[]) as org cross join lateral "
        f"(select id from audit.event where {month} and org_id = org offset 0) as found",
    )
    assert "$1::text = org_id" in asked or "org_id = $1::text" in asked
    assert auditor.execute(f"select count(*) from audit.log where {month} and org_id = 'c'").fetchone() == (75,)


GRANTED, CONFINED = "reader", "audit_org_reader"


@pytest.fixture(params=[GRANTED, CONFINED])
def reader(distributed, request):
    """Sees the organization b alone; and has events of it that are here."""
    su = distributed.connect()
    su.execute("select audit.grant_org('reader', 'b')")
    for org in ("a", "b"):
        su.execute(
            "insert into audit.event (org_id, category, action, resource_type, actor_type) "
            "values (%s, 'teams', 'team.updated', 'team', 'user')",
            [org],
        )
    connection = distributed.connect("reader" if request.param == GRANTED else "admin")
    if request.param == CONFINED:
        connection.execute("set role audit_org_reader")
    connection.execute("select set_config('pgtrail.org', 'b', false)")
    return connection


def test_who_sees_one_organization_reads_the_months_that_are_here(reader):
    assert reader.execute("select org_id from audit.log where category = 'teams'").fetchall() == [("b",)]
    assert reader.execute("select count(*) from audit.log where occurred_at < '2021-01-01'").fetchone() == (0,)
    page = "select distinct org_id from audit.newest_events(audit.narrowed(null::audit.filter), null, null, null, 50)"
    assert reader.execute(page).fetchall() == [("b",)]


FAILS = "1 / (case when org_id = 'a' then 0 else 1 end) = 1"
"""A condition that fails for another organization's events: where it is asked, it tells that there are some."""


@pytest.mark.parametrize(
    "narrowed",
    [
        "true",
        "occurred_at < '2020-02-01Z'",
        "occurred_at < '2020-02-01Z' and org_id is not null and id < 1000000",
        "occurred_at < '2020-02-01Z' and (org_id is not null and id <= {last_id})",
        "occurred_at >= '2020-01-01Z' and occurred_at < '2020-02-01Z' and (org_id is not null and id <= {last_id}) = true",
    ],
)
def test_who_sees_one_organization_learns_nothing_of_another_by_an_error(distributed, reader, narrowed):
    (last_id,) = (
        distributed.connect().execute("select last_id from audit.distributed_month order by 1 limit 1").fetchone()
    )
    try:
        reader.execute(f"select count(*) from audit.event where {narrowed.format(last_id=last_id)} and {FAILS}")
    except psycopg.Error as error:
        assert "user mapping not found" in str(error)  # noqa: PT017


def test_a_page_further_back_leaves_out_the_months_after_it(distributed):
    auditor = distributed.connect("auditor")
    asked = remote(
        auditor,
        "select id from audit.event where occurred_at <= '2020-01-15' and (occurred_at, id) < ('2020-01-15', 100) "
        "order by occurred_at desc, id desc limit 10",
    )
    assert len(asked) == 1
    rows = auditor.execute(
        "select count(*), min(occurred_at)::date::text from audit.newest_events("
        "jsonb_populate_record(null::audit.filter, '{\"orgs\": [\"a\"]}'), '2020-02-01Z', 1, null, 1000)"
    ).fetchone()
    assert rows == (75, "2020-01-01")


def test_what_kinds_there_are_is_known(distributed):
    query = "select * from audit.kinds() order by 1, 2"
    assert ("teams", "team.created") in distributed.connect("auditor").execute(query).fetchall()
    assert distributed.connect("auditor").execute(query).fetchall() == (
        distributed.connect("auditor")
        .execute("select distinct category, action from audit.event order by 1, 2")
        .fetchall()
    )


def test_a_look_for_new_events_asks_nobody_else(distributed):
    su = distributed.connect()
    (snapshot,) = su.execute("select pg_current_snapshot()::text").fetchone()
    assert remote(su, f"select id from audit.batch('{snapshot}', pg_current_snapshot())") == []
    su.execute("insert into nemo.organization (name, slug) values ('new', 'new')")
    assert len(su.execute(f"select from audit.batch('{snapshot}', pg_current_snapshot())").fetchall()) == 1


def test_what_a_month_gets_late_stays_here_and_is_sealed_and_forwarded(distributed):
    su = distributed.connect()
    (snapshot,) = su.execute("select pg_current_snapshot()::text").fetchone()
    su.execute(
        "insert into audit.event (occurred_at, org_id, category, action, resource_type, actor_type, imported_from) "
        "values ('2020-01-20', 'a', 'teams', 'team.updated', 'team', 'user', 'late')"
    )
    assert su.execute("select org_id from audit.event_2020_01_rest where imported_from = 'late'").fetchall() == [("a",)]
    assert len(su.execute(f"select from audit.batch('{snapshot}', pg_current_snapshot())").fetchall()) == 1
    seal(su)
    assert problems(su) == []


def test_nothing_of_a_month_elsewhere_is_changed(distributed):
    su = distributed.connect()
    for statement in (
        "update audit.event set reason = 'x' where occurred_at < '2020-02-01'",
        "delete from audit.event where occurred_at < '2020-02-01' and org_id = 'a'",
        "update audit.event_2020_01_history set reason = 'x'",
        "truncate audit.event_2020_01",
        "truncate audit.event",
    ):
        with pytest.raises(psycopg.Error) as refused:
            su.execute(statement)
        assert refused.value.sqlstate == "PT008", statement
    with pytest.raises(psycopg.Error, match="does not allow truncates"):
        su.execute("truncate audit.event_2020_01_history")


def test_nobody_reads_a_month_but_through_the_log(distributed):
    for user in ("reader", "auditor", "admin", "forwarder"):
        for table in ("event_2020_01", "event_2020_01_history", "event_2020_01_rest"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                distributed.connect(user).execute(f"select from audit.{table}")


def test_ids_are_unique_in_each_month_as_before(distributed):
    su = distributed.connect()
    su.execute("select audit.make_partitions(6)")
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type) values ('2031-05-05', 'teams', 'x.y', 'x', 'user')"
    )
    su.execute("select audit.make_partitions()")
    keyless = su.execute(
        "select relid::regclass::text from pg_partition_tree('audit.event') join pg_class on pg_class.oid = relid "
        "where relkind = 'r' and not exists (select from pg_index where indrelid = relid and indisprimary)"
    ).fetchall()
    assert keyless == []


def test_nothing_is_said_of_triggers_or_partitions_that_went_with_a_month(distributed):
    su = distributed.connect()
    su.execute("select audit.watch_triggers()")
    actions = su.execute(
        "select action, count(*) from audit.event where category = 'audit' and resource_type = 'partition' group by 1"
    ).fetchall()
    assert actions == [("audit.month_distributed", 3)]
    assert [row for row in su.execute("select problem, subject from audit.doctor()") if "event" in row[1]] == []


def test_a_person_in_a_month_elsewhere_is_erased_after_it_was_gathered(distributed, there, pgtrail):
    admin = distributed.connect("admin")
    with pytest.raises(psycopg.Error) as refused:
        admin.execute("select audit.erase_actor('ann', 'ticket 7')")
    assert refused.value.sqlstate == "PT043"
    assert "--gather audit.event_2020_01" in refused.value.diag.message_hint
    months = [option for month in ("2020-01", "2020-02", "2020-03") for option in ("--gather", month)]
    done = pgtrail("hub", "distribute", *months, "--to", there.dsn(), dsn=distributed.dsn())
    assert (done.returncode, done.stdout.split()) == (0, list(MONTHS)), done.stderr
    assert there.connect().execute("select to_regclass('audit_history.event_2020_01')").fetchone() == (None,)
    assert admin.execute("select audit.erase_actor('ann', 'ticket 7') ->> 'events'").fetchone() == ("900",)
    assert problems(distributed.connect()) == []
    # Where the server is known already an admin does it.
    done = pgtrail("hub", "distribute", "--to", there.dsn(), dsn=distributed.dsn("admin"))
    assert (done.returncode, done.stdout.split()) == (0, list(MONTHS)), done.stderr
    assert problems(distributed.connect()) == []


def test_a_month_that_is_gathered_is_as_it_was(distributed, pgtrail):
    before = everything(distributed)
    done = pgtrail("hub", "distribute", "--gather", "2020-02", dsn=distributed.dsn("admin"))
    assert (done.returncode, done.stdout.split()) == (0, ["audit.event_2020_02"]), done.stderr
    assert everything(distributed) == before
    su = distributed.connect()
    assert su.execute("select count(*) from audit.event_2020_02").fetchone() == (300,)
    assert su.execute("select relkind::text from pg_class where oid = 'audit.event_2020_02'::regclass").fetchone() == (
        "r",
    )
    assert problems(su) == []


def test_retention_drops_a_month_elsewhere_and_what_lies_there(distributed, there, pgtrail, tmp_path):
    distributed.connect("admin").execute("select audit.set_retention('400d')")
    done = pgtrail("retention", "run", "--archive", str(tmp_path), dsn=distributed.dsn("admin"))
    assert (done.returncode, done.stdout.split()) == (0, list(MONTHS)), done.stderr
    for month in MONTHS:
        name = month.split(".")[1]
        assert there.connect().execute(f"select count(*) from audit_history.{name}").fetchone() == (0,)
        assert len((tmp_path / f"{month}.csv").read_text(encoding="utf-8").splitlines()) > 300
    su = distributed.connect()
    assert everything(distributed) == []
    assert su.execute("select count(*) from pg_foreign_table").fetchone() == (0,)
    assert problems(su) == []


def test_what_retention_could_not_empty_is_emptied_next_time(distributed, there):
    admin = distributed.connect("admin")
    admin.execute("select audit.set_retention('400d')")
    admin.execute("select audit.drop_partition('audit.event_2020_01')")
    assert there.connect().execute("select count(*) from audit_history.event_2020_01").fetchone() == (225,)
    assert admin.execute("select audit.sweep_history(), audit.sweep_history()").fetchone() == (1, 0)
    assert there.connect().execute("select count(*) from audit_history.event_2020_01").fetchone() == (0,)


def test_a_month_stays_until_it_is_sealed_and_delivered(aged, there, pgtrail):
    su = aged.connect()
    su.execute(
        "insert into audit.event (occurred_at, org_id, category, action, resource_type, actor_type, imported_from) "
        "values ('2020-01-20', 'a', 'teams', 'team.updated', 'team', 'user', 'late')"
    )
    su.execute("select audit.add_destination('siem', 'https://siem.example', 'ndjson')")
    su.execute(
        "insert into audit.event (occurred_at, org_id, category, action, resource_type, actor_type) "
        "values ('2020-02-20', 'a', 'teams', 'team.updated', 'team', 'user')"
    )
    done = pgtrail("hub", "distribute", "--to", there.dsn(), dsn=aged.dsn())
    assert (done.returncode, done.stdout.split()) == (1, ["audit.event_2020_03"])
    assert "kept audit.event_2020_01: 1 events are not sealed yet" in done.stderr
    assert "destination siem has not got 1 of its events" in done.stderr
    with pytest.raises(psycopg.Error) as refused:
        aged.connect("admin").execute("select audit.distribute_month('audit.event_2020_01', 'audit_history.x', 1)")
    assert refused.value.sqlstate == "PT044"


def test_the_present_month_and_the_last_one_stay(db, pgtrail):
    su = db.connect()
    su.execute("set role audit_owner")
    su.execute(
        "select audit.make_partition(date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' - interval '1 month')"
    )
    done = pgtrail("hub", "distribute", "--plan", dsn=db.dsn("admin"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "no month is old enough" in done.stderr


def test_what_is_not_the_same_over_there_is_not_taken(aged, there, pgtrail):
    before = everything(aged)
    su = aged.connect()
    assert pgtrail("hub", "distribute", "--to", there.dsn(), dsn=aged.dsn()).returncode == 0
    su.execute("select audit.gather_month('audit.event_2020_01')")
    there.connect().execute("update audit_history.event_2020_01 set after = '{}' where org_id = 'a'")
    (up_to,) = su.execute("select max(id) from audit.event_2020_01 where org_id is not null").fetchone()
    with pytest.raises(psycopg.Error, match=r"is not what audit\.event_2020_01 holds"):
        su.execute("select audit.distribute_month('audit.event_2020_01', 'audit_history.event_2020_01', %s)", [up_to])
    assert everything(aged) == before


def test_a_log_whose_key_is_whole_takes_no_month(aged):
    with pytest.raises(psycopg.Error, match="over all partitions") as refused:
        aged.connect("admin").execute("select audit.distribute_month('audit.event_2020_01', 'audit_history.x', 1)")
    assert refused.value.sqlstate == "PT044"


def test_the_application_and_the_worker_go_on_without_the_other_server(distributed, there, forwarded):
    distributed.connect().execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [there.name]
    )
    there.close()
    with psycopg.connect(distributed.server.dsn(), autocommit=True) as connection:
        connection.execute(f"alter database {there.name} rename to {there.name}_away")
    try:
        su = distributed.connect()
        with pytest.raises(psycopg.Error, match="could not connect"):
            su.execute("select count(*) from audit.event where occurred_at < '2020-02-01'")
        assert forwarded() == []
        su.execute("insert into nemo.organization (name, slug) values ('new', 'new')")
        su.execute("update nemo.organization set name = 'newer' where slug = 'new'")
        su.execute("delete from nemo.organization where slug = 'new'")
        assert len(forwarded()) == 3
        assert forwarded() == []
        assert su.execute("select audit.count_unsealed() > 0").fetchone() == (True,)
        seal(su)
        assert su.execute("select audit.count_unsealed()").fetchone() == (0,)
        su.execute("select audit.maintain()")
        since = "jsonb_populate_record(null::audit.filter, jsonb_build_object('since', now() - interval '1 day'))"
        auditor = distributed.connect("auditor")
        assert len(auditor.execute(f"select from audit.newest_events({since}, null, null, 2000, 50)").fetchall()) > 3
    finally:
        with psycopg.connect(distributed.server.dsn(), autocommit=True) as connection:
            connection.execute(f"alter database {there.name}_away rename to {there.name}")


def test_another_logs_table_is_left_alone(aged, there, pgtrail):
    there.connect().execute("create schema audit_history; create table audit_history.event_2020_01 (id int)")
    done = pgtrail("hub", "distribute", "--to", there.dsn(), dsn=aged.dsn())
    assert done.returncode == 1
    assert "not this database's" in done.stderr
    assert done.stderr.count("\n") == 1
    assert there.connect().execute("select to_regclass('audit_history.event_2020_01') is not null").fetchone() == (
        True,
    )


def test_the_plan_says_where_each_month_lies(distributed, pgtrail):
    done = pgtrail("hub", "distribute", "--plan", dsn=distributed.dsn("admin"))
    assert done.returncode == 0
    assert done.stdout.count("on pgtrail_history") == 3


def test_who_may_not_make_a_server_is_told_who_may(aged, there, pgtrail):
    done = pgtrail("hub", "distribute", "--to", there.dsn(), dsn=aged.dsn("admin"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "let a superuser run this once" in done.stderr


def test_where_to_is_asked_for(db, pgtrail):
    done = pgtrail("hub", "distribute", dsn=db.dsn("admin"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_the_same_database_takes_them_too_as_where_it_has_citus(aged, pgtrail):
    before = everything(aged)
    done = pgtrail("hub", "distribute", "--to", aged.dsn(), dsn=aged.dsn())
    assert (done.returncode, done.stdout.split()) == (0, list(MONTHS)), done.stderr
    su = aged.connect()
    assert everything(aged) == before
    assert problems(su) == []
    done = pgtrail("hub", "distribute", "--gather", "2020-03", "--to", aged.dsn(), dsn=aged.dsn())
    assert done.returncode == 0, done.stderr
    su.execute("select audit.set_retention('400d')")
    done = pgtrail("retention", "run", "--without-archive", dsn=aged.dsn())
    assert (done.returncode, done.stdout.split()) == (0, list(MONTHS)), done.stderr
    assert su.execute("select count(*) from audit_history.event_2020_01").fetchone() == (0,)
    assert problems(aged.connect()) == []


def test_the_table_over_there_is_one_that_citus_can_distribute(db):
    """It has the column that rows go by in its only key, and nothing that holds across nodes."""
    su = db.connect()
    su.execute("create access method columns type table handler heap_tableam_handler")
    su.execute("create schema far")
    for (statement,) in su.execute("select audit.history_definition('far.month', 'columns')").fetchall():
        su.execute(statement)
    kept = su.execute(
        "select amname, relrowsecurity from pg_class join pg_am on pg_am.oid = relam where pg_class.oid = 'far.month'::regclass"
    ).fetchone()
    assert kept == ("columns", False)
    keys = su.execute(
        "select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'far.month'::regclass and indisunique"
    )
    assert [definition.split(" USING ")[1] for (definition,) in keys] == ["btree (id, occurred_at, org_id)"]
    for query in (
        "select from pg_constraint where conrelid = 'far.month'::regclass and contype not in ('p', 'n')",
        "select from pg_trigger where tgrelid = 'far.month'::regclass",
        "select from pg_attribute where attrelid = 'far.month'::regclass and (atthasdef or attidentity <> '' or attgenerated <> '')",
    ):
        assert su.execute(query).fetchall() == [], query


def test_leaving_takes_the_way_there_too(distributed, there, pgtrail):
    done = pgtrail("uninstall", "--yes", "--no-export", dsn=distributed.dsn())
    assert done.returncode == 0, done.stderr
    left = distributed.connect().execute("select srvname from pg_foreign_server").fetchall()
    assert left == []
    assert there.connect().execute("select count(*) from audit_history.event_2020_01").fetchone() == (225,)


def test_citus_distributes_a_month_by_organization_in_columns(aged, there, pgtrail):
    if there.connect().execute("select from pg_available_extensions where name = 'citus'").fetchone() is None:
        pytest.skip("this server has no extension citus: what lies on its nodes, and in columns, is not tested")
    there.connect().execute("create extension citus")
    before = everything(aged)
    done = pgtrail("hub", "distribute", "--to", there.dsn(), dsn=aged.dsn())
    assert done.returncode == 0, done.stderr
    assert "by organization and in columns" in done.stderr
    assert everything(aged)[: len(before)] == before
    assert problems(aged.connect()) == []
    asked = there.connect().execute("explain select * from audit_history.event_2020_01 where org_id = 'a'").fetchall()
    assert any("Task Count: 1" in line for (line,) in asked)
    assert any("ColumnarScan" in line for (line,) in asked)
