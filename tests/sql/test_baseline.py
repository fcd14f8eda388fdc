"""The rows of a tracked table as they are: audit.record_baseline()."""

import threading

import psycopg
import pytest

pytestmark = pytest.mark.any_server

OBSERVED = """
select resource_id, org_id, resource_label, operation, before, after, changed
from audit.event where action = 'team.observed' order by id
"""


@pytest.fixture
def team(su):
    """A table that had three rows before it was tracked."""
    su.execute("create table public.team (id int primary key, org text, name text, api_secret text, spend numeric)")
    su.execute(
        "insert into public.team values (1, 'acme', 'a', 's3cret', 5), (2, 'beta', 'b', null, 6), (3, 'acme', 'c', 's3cret', 7)"
    )
    su.execute("select audit.track('public.team', org => 'org', label => 'name', ignore => '{spend}')")
    return "public.team"


def histories(su):
    """Each team's events in the order of the log: action and the name after it."""
    rows = su.execute(
        "select resource_id, array_agg(action || ' ' || coalesce(after ->> 'name', '-') order by occurred_at, id) "
        "from audit.event where resource_type = 'team' group by 1"
    ).fetchall()
    return dict(rows)


def test_rows_without_an_event_are_recorded_as_they_are(su, team):
    su.execute("update public.team set name = 'bb' where id = 2")
    assert su.execute("call audit.record_baseline('public.team')").fetchone() == (2,)
    secret = "[redacted]"
    assert su.execute(OBSERVED).fetchall() == [
        ("1", "acme", "a", None, None, {"id": 1, "org": "acme", "name": "a", "api_secret": secret}, None),
        ("3", "acme", "c", None, None, {"id": 3, "org": "acme", "name": "c", "api_secret": secret}, None),
    ]
    assert su.execute(
        "select resource_id, after from audit.event where action = 'audit.baseline_recorded'"
    ).fetchall() == [("public.team", {"observed": 2})]


def test_a_second_baseline_records_nothing_twice(su, team):
    su.execute("call audit.record_baseline('public.team')")
    assert su.execute("call audit.record_baseline('public.team')").fetchone() == (0,)


def test_batches_commit_and_what_was_interrupted_goes_on(db, su):
    su.execute("create table public.team (id int primary key, name text)")
    su.execute("insert into public.team select i, repeat('x', 500) from generate_series(1, 5000) as i")
    su.execute("analyze public.team")
    su.execute("select audit.track('public.team')")
    assert su.execute("select count(*) > 3 from audit_internal.baseline_batches('public.team')").fetchone() == (True,)
    holder = db.connect(autocommit=False)
    # (The last row: its batch finds a writer that does not end.)
    holder.execute("update public.team set name = 'y' where id = 5000")
    su.execute("set statement_timeout = '1s'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        su.execute("call audit.record_baseline('public.team')")
    su.execute("reset statement_timeout")
    holder.commit()
    assert su.execute("call audit.record_baseline('public.team')").fetchone()[0] <= 4999
    assert su.execute("select count(*), count(distinct resource_id) from audit.event where resource_type = 'team'").fetchone() == (
        5000, 5000,
    )  # fmt: skip


def test_writers_neither_wait_nor_are_overtaken(db, su, team):
    """A row that is being changed while the baseline is recorded keeps its order: never a change, then what was before it."""
    su.execute("insert into public.team select i, 'acme', 'old', null, 0 from generate_series(10, 400) as i")
    stop = threading.Event()
    failures = []

    def write():
        with psycopg.connect(db.dsn(), autocommit=True) as writer:
            writer.execute("set lock_timeout = '1ms'")
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    writer.execute("update public.team set name = %s where id = %s", [f"new {number:06}", number % 400])
                except psycopg.errors.LockNotAvailable as error:
                    failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    su.execute("call audit.record_baseline('public.team')")
    stop.set()
    for thread in threads:
        thread.join()
    for team_id, events in histories(su).items():
        observed = [number for number, event in enumerate(events) if event.startswith("team.observed")]
        assert observed in ([], [0]), (team_id, events)


def test_a_writer_that_was_there_first_is_waited_for_and_its_row_passed_over(db, su, team, wait_until):
    writer = db.connect(autocommit=False)
    writer.execute("update public.team set name = 'new' where id = 1")
    taker = db.connect()
    thread = threading.Thread(target=lambda: taker.execute("call audit.record_baseline('public.team')"))
    thread.start()
    waiting = "select count(*) from pg_stat_activity where query like 'call audit.record_baseline%%' and wait_event = 'PgSleep' and datname = %s"
    wait_until(lambda: su.execute(waiting, [db.name]).fetchone() == (1,))
    # Whoever comes later is not kept.
    su.execute("update public.team set name = 'newer' where id = 2")
    writer.commit()
    thread.join()
    assert histories(su) == {"1": ["team.updated new"], "2": ["team.updated newer"], "3": ["team.observed c"]}


def test_partitions_and_tables_without_a_key_are_observed_too(su):
    su.execute("create table public.visit (at date, note text) partition by range (at)")
    su.execute("create table public.visit_1 partition of public.visit for values from ('2026-01-01') to ('2026-02-01')")
    su.execute("create table public.visit_2 partition of public.visit for values from ('2026-02-01') to ('2026-03-01')")
    su.execute("insert into public.visit values ('2026-01-05', 'a'), ('2026-02-05', 'b')")
    su.execute("select audit.track('public.visit')")
    assert su.execute("call audit.record_baseline('public.visit')").fetchone() == (2,)
    assert su.execute("call audit.record_baseline('public.visit')").fetchone() == (0,)
    assert su.execute("select table_name, after ->> 'note' from audit.event where action = 'visit.observed' order by id").fetchall() == [
        ("public.visit", "a"), ("public.visit", "b"),
    ]  # fmt: skip


def test_row_level_security_hides_no_row_and_its_policies_run_nowhere(db, su, team):
    su.execute("alter table public.team enable row level security, force row level security")
    su.execute("grant select on public.team to admin")
    assert db.connect("admin").execute("call audit.record_baseline('public.team')").fetchone() == (3,)
    assert db.connect("admin").execute("select count(*) from public.team").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("call audit.record_baseline('public.other')", "PT002"),
        ("select audit_internal.record_baseline_batch('public.team', 'public.other', 0, 1)", "PT002"),
    ],
)
def test_what_can_not_be_observed_is_refused(su, team, statement, sqlstate):
    su.execute("create table public.other (id int)")
    with pytest.raises(psycopg.errors.Error) as refused:
        su.execute(statement)
    assert refused.value.sqlstate == sqlstate


def test_each_batch_is_read_committed_whatever_the_default_is(su, team):
    su.execute("set default_transaction_isolation = 'serializable'")
    assert su.execute("call audit.record_baseline('public.team')").fetchone() == (3,)
    with pytest.raises(psycopg.errors.Error) as refused:
        su.execute("select audit_internal.record_baseline_batch('public.team', 'public.team', 0, 1)")
    assert refused.value.sqlstate == "PT035"


def test_only_an_admin_records_a_baseline(db, su, team):
    for login in ("app", "reader", "auditor", "forwarder"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.connect(login).execute("call audit.record_baseline('public.team')")


def test_the_command_records_several_tables(db, su, team, pgtrail):
    su.execute("create table public.other (id int primary key)")
    su.execute("select audit.track('public.other')")
    done = pgtrail("baseline", "public.team", "public.other", dsn=db.dsn())
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "pgtrail: recorded 3 rows of public.team\npgtrail: recorded 0 rows of public.other\n"


def test_two_baselines_at_once_record_each_row_once(db, su):
    su.execute("create table public.team as select i as id, 'n' as name from generate_series(1, 3000) as i")
    su.execute("alter table public.team add primary key (id); select audit.track('public.team', label => 'name')")
    takers = [
        threading.Thread(target=db.connect().execute, args=("call audit.record_baseline('public.team')",))
        for _ in range(3)
    ]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert su.execute("select count(*), count(distinct resource_id) from audit.event where action = 'team.observed'").fetchone() == (
        3000, 3000,
    )  # fmt: skip
