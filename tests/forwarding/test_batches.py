"""The cursor at the level of SQL: batches are the difference of two snapshots."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.any_server

NEXT = (
    "select lease_token, event_ids, body, in_flight from audit_internal.next_batch(%s, 'worker-1', p_max_events => %s)"
)


@pytest.fixture
def table(db):
    connection = db.connect()
    connection.execute("create table public.thing (id int primary key, name text)")
    connection.execute("grant all on public.thing to app")
    connection.execute("select audit.track('public.thing', label => 'name')")
    connection.execute(
        "select audit.add_destination('siem', 'https://siem.example', options => '{\"categories\": [\"thing\"]}')"
    )
    connection.execute("select audit_internal.next_batch(1, 'worker-1')")
    return connection


def insert(connection, number):
    connection.execute("insert into public.thing values (%s, 'x')", [number])


def ids_of(connection, *things):
    rows = connection.execute(
        "select id from audit.event where resource_type = 'thing' and resource_id = any (%s) order by id",
        [[str(thing) for thing in things]],
    )
    return [row[0] for row in rows]


def take(connection, most=100):
    return connection.execute(NEXT, [1, most]).fetchone()


def settle(connection, token, ids):
    return connection.execute(
        "select audit_internal.record_delivery(1, %s, %s::bigint[], p_through => %s)", [token, ids, max(ids)]
    ).fetchone()[0]


def test_an_event_that_commits_late_with_a_low_id_comes_in_the_next_batch(db, table):
    late = db.connect("app", autocommit=False)
    insert(late, 1)
    early = db.connect("app")
    insert(early, 2)
    token, ids, _, in_flight = take(table)
    assert ids == ids_of(table, 2)
    assert in_flight
    assert settle(table, token, ids)
    assert take(table)[1] == []
    late.commit()
    token, ids, _, in_flight = take(table)
    assert ids == ids_of(table, 1)
    assert ids < ids_of(table, 2), "an id cursor would have passed it"
    assert settle(table, token, ids)
    assert take(table)[1] == []


def test_a_batch_comes_again_byte_for_byte_until_it_is_settled(db, table):
    for number in range(5):
        insert(table, number)
    first = take(table)
    insert(db.connect("app"), 9)
    assert take(table)[1:3] == first[1:3]
    settle(table, first[0], first[1][:2])
    assert take(table)[1] == first[1][2:]
    settle(table, first[0], first[1][2:])
    assert take(table)[1] == ids_of(table, 9)


def test_a_batch_is_taken_in_parts_in_the_order_of_ids(table):
    table.execute("insert into public.thing select i, 'x' from generate_series(1, 250) as i")
    seen = []
    while (batch := take(table))[1]:
        assert len(batch[1]) <= 100
        seen += batch[1]
        settle(table, batch[0], batch[1])
    assert seen == ids_of(table, *range(1, 251))


def test_an_open_transaction_does_not_make_events_come_twice_or_stand_still(db, table):
    holder = db.connect("app", autocommit=False)
    insert(holder, 0)
    for number in range(1, 6):
        insert(table, number)
        token, ids, _, _ = take(table)
        assert ids == ids_of(table, number)
        settle(table, token, ids)
    holder.commit()
    assert take(table)[1] == ids_of(table, 0)


def test_a_prepared_transaction_comes_when_it_commits(db, table):
    app = db.connect("app", autocommit=False)
    app.tpc_begin("t1")
    insert(app, 1)
    app.tpc_prepare()
    assert take(table)[1] == []
    app.tpc_commit()
    assert take(table)[1] == ids_of(table, 1)


def test_a_rolled_back_transaction_never_comes(db, table):
    app = db.connect("app", autocommit=False)
    insert(app, 1)
    app.rollback()
    insert(app, 2)
    app.commit()
    assert take(table)[1] == ids_of(table, 2)


def test_only_one_worker_at_a_time_and_an_older_lease_moves_nothing(table):
    insert(table, 1)
    token, ids, _, _ = take(table)
    other = "select lease_token, event_ids from audit_internal.next_batch(1, 'worker-2')"
    assert table.execute(other).fetchone() == (None, [])
    table.execute("update audit.cursor set lease_until = now() - interval '1 second'")
    new_token, same_ids = table.execute(other).fetchone()
    assert new_token > token
    assert same_ids == ids
    assert settle(table, token, ids) is False
    assert table.execute("select count(*) from audit.attempt").fetchone() == (0,)
    assert take(table)[0] is None
    assert settle(table, new_token, ids) is True


def seconds_of_lease(connection):
    return connection.execute(
        "select extract(epoch from lease_until - clock_timestamp()) from audit.cursor"
    ).fetchone()[0]


def test_a_lease_begins_anew_when_events_are_handed_out_and_when_half_of_it_is_over(table):
    insert(table, 1)
    take(table)
    table.execute("update audit.cursor set lease_until = clock_timestamp() + interval '20 seconds'")
    token, ids, _, _ = take(table)
    assert seconds_of_lease(table) > 28
    settle(table, token, ids)
    for left, renewed in (("20 seconds", False), ("14 seconds", True)):
        table.execute("update audit.cursor set lease_until = clock_timestamp() + %s::interval", [left])
        assert take(table)[1] == []
        assert (seconds_of_lease(table) > 28) is renewed


def test_an_older_lease_does_not_move_where_a_batch_begins(table):
    insert(table, 1)
    take(table)
    before = table.execute("select batch_from::text, batch_to::text, last_sent_id from audit.cursor").fetchone()
    stale = 'select jsonb_populate_record(cursor, \'{"lease_token": -1, "last_sent_id": 99}\') from audit.cursor'
    table.execute(f"select audit_internal.store_cursor(({stale}))")
    assert table.execute("select batch_from::text, batch_to::text, last_sent_id from audit.cursor").fetchone() == before


def test_the_cursor_of_a_destination_that_gets_nothing_keeps_up(table):
    take(table)
    before = table.execute("select pg_snapshot_xmax(batch_from)::text::bigint from audit.cursor").fetchone()[0]
    table.execute("do $$ begin for i in 1..1100 loop perform pg_current_xact_id(); commit; end loop; end $$")
    take(table)
    after = table.execute("select pg_snapshot_xmax(batch_from)::text::bigint from audit.cursor").fetchone()[0]
    assert after >= before + 1100
    insert(table, 1)
    assert take(table)[1] == ids_of(table, 1)


def test_a_batch_ends_before_the_event_that_makes_it_too_large(table):
    table.execute("insert into public.thing select i, repeat('x', 600000) from generate_series(1, 8) as i")
    taken = "select event_ids from audit_internal.next_batch(1, 'worker-1', p_max_bytes => %s)"
    assert len(table.execute(taken, [1]).fetchone()[0]) == 1, "one event goes however large it is"
    assert len(table.execute(taken, [1_300_000]).fetchone()[0]) == 2, "as rendered, however well it is compressed"
    assert len(take(table)[1]) == 3, "two megabytes, where nothing else is said"


def test_of_transactions_at_the_same_time_one_notifies(db, table):
    listener = db.connect()
    listener.execute("listen pgtrail")
    first, second = (db.connect("app", autocommit=False) for _ in range(2))
    for number, connection in enumerate((first, second)):
        connection.execute("set pgtrail.notify = on")
        insert(connection, number)
    second.commit()
    assert list(listener.notifies(timeout=0.2)) == []
    first.commit()
    assert [note.payload for note in listener.notifies(timeout=5, stop_after=1)] == [""]
    assert list(listener.notifies(timeout=0.2)) == []


def test_maintenance_forgets_attempts_of_last_month_and_makes_the_months_ahead(db, table):
    insert(table, 1)
    token, ids, _, _ = take(table)
    settle(table, token, ids)
    table.execute(
        "insert into audit.attempt (destination_id, worker, delivered, attempted_at) values (1, 'w', 0, now() - interval '31 days')"
    )
    months = "select count(*) from audit_internal.partition_bounds()"
    made = table.execute(months).fetchone()
    table.execute(
        "do $$ begin execute (select format('drop table %s', partition) from audit_internal.partition_bounds() order by begins desc limit 1); end $$"
    )
    db.connect("forwarder").execute("select audit.maintain()")
    assert table.execute("select array_agg(delivered) from audit.attempt").fetchone() == ([1],)
    assert table.execute(months).fetchone() == made


def test_a_failure_leaves_the_cursor_says_why_and_waits(table):
    insert(table, 1)
    token, ids, _, _ = take(table)
    table.execute(
        "select audit_internal.record_delivery(1, %s, '{}', 0, p_failed => %s, p_status => 500, p_error => 'HTTP 500', p_retry_in => '1h')",
        [token, ids[0]],
    )
    assert take(table)[1] == []
    assert table.execute("select state, last_error, events_behind from audit.destination_status").fetchone() == (
        "retrying",
        "HTTP 500",
        1,
    )
    assert table.execute("select delivered, failed_event_id, status from audit.attempt").fetchone() == (0, ids[0], 500)
    table.execute("select audit.pause_destination('siem', false)")
    assert take(table)[1] == ids, "resuming tries at once"


def test_the_cursor_and_its_attempt_are_one_transaction(db, table):
    insert(table, 1)
    token, ids, _, _ = take(table)
    broken = db.connect(autocommit=False)
    broken.execute("select audit_internal.record_delivery(1, %s, %s, %s)", [token, ids, max(ids)])
    broken.rollback()
    assert table.execute("select count(*) from audit.attempt").fetchone() == (0,)
    assert take(table)[1] == ids


def test_a_cursor_from_another_cluster_is_refused_with_the_mend(table):
    table.execute("update audit.cursor set system_identifier = 1")
    with pytest.raises(psycopg.Error) as raised:
        take(table)
    assert raised.value.sqlstate == "PT013"
    assert "--since" in raised.value.diag.message_hint


@pytest.mark.parametrize(
    "url",
    [
        "https://x",
        "https://x.example:8443/a?b=c#d",
        "https://[2001:db8::1]:443/",
        "https://127.0.0.1/~a/@b",
        "https://größe.example/",
    ],
)
def test_urls_that_can_be_posted_to_are_taken(table, url):
    table.execute("select audit.add_destination('other', %s)", [url])


def test_since_begins_in_the_past_and_filters_let_pass_what_they_name(db, table):
    insert(table, 1)
    table.execute("update public.thing set name = 'y'")
    table.execute("delete from public.thing")
    table.execute(
        "select audit.add_destination('past', 'https://x.example', "
        'options => \'{"actions": ["*.updated", "thing.d*"], "since": "1d"}\')'
    )
    row = table.execute("select event_ids from audit_internal.next_batch(2, 'worker-1')").fetchone()
    assert row[0] == ids_of(table, 1)[1:]


def test_a_look_that_finds_nothing_writes_nothing(table):
    take(table)
    before = table.execute("select xmin, ctid from audit.cursor").fetchone()
    for _ in range(5):
        assert take(table)[1] == []
    assert table.execute("select xmin, ctid from audit.cursor").fetchone() == before


def test_the_batch_is_found_by_index_however_long_the_log_is(table):
    table.execute("insert into public.thing select i, 'x' from generate_series(1, 20000) as i")
    token, ids, _, _ = take(table, 20_000)
    settle(table, token, ids)
    take(table)
    table.execute("analyze audit.event")
    insert(table, 0)
    snapshot = table.execute("select batch_from::text from audit.cursor").fetchone()[0]
    plan = "\n".join(
        row[0]
        for row in table.execute(
            f"explain select min(id) from audit_internal.events_between('{snapshot}', pg_current_snapshot())"
        )
    )
    assert "event_2" in plan
    assert "Seq Scan on event_2" not in plan


def test_a_look_reads_nothing_of_a_month_that_one_transaction_recorded(table):
    table.execute("insert into public.thing select i, 'x' from generate_series(1, 20000) as i")
    table.execute("vacuum analyze audit.event")
    (snapshot,) = table.execute("select pg_current_snapshot()::text").fetchone()
    (plan,) = table.execute(
        f"explain (analyze, timing off, format json) select from audit_internal.events_between('{snapshot}', pg_current_snapshot())"
    ).fetchone()
    scans = [scan for scan in nodes_of(plan[0]["Plan"]) if scan.get("Relation Name", "").startswith("event")]
    assert len(scans) > 1
    assert sum(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) for scan in scans) == 0


def nodes_of(node):
    yield node
    for child in node.get("Plans", []):
        yield from nodes_of(child)


XIDS = st.integers(1, 400_000)


@given(
    begins=st.integers(1, 250_000),
    ends=st.integers(0, 250_000),
    running=st.sets(XIDS, max_size=6),
    probes=st.lists(XIDS, min_size=1, max_size=30),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_long_log_is_looked_through_in_parts_that_see_neither_more_nor_less(su, begins, ends, running, probes):
    """Part by part: nothing that the present snapshot does not see, and in the end all that it sees."""
    present_xmax = begins + ends
    running = sorted(xid for xid in running if begins <= xid < present_xmax)
    present = f"{running[0] if running else present_xmax}:{present_xmax}:{','.join(map(str, running))}"
    here = f"{begins}:{begins}:"
    seen = []
    for _ in range(10):
        after, *visible = su.execute(
            "select after::text, array(select x from unnest(%(probes)s::text[]::xid8[]) as x "
            "where x >= pg_snapshot_xmax(%(here)s::pg_snapshot) and pg_visible_in_snapshot(x, after) "
            "or x = any (array(select pg_snapshot_xip(%(here)s::pg_snapshot))) and pg_visible_in_snapshot(x, after))::text[] "
            "from audit_internal.bounded_snapshot(%(here)s, %(present)s) as after",
            {"here": here, "present": present, "probes": [str(xid) for xid in set(probes)]},
        ).fetchone()
        seen += visible[0]
        if after == here:
            break
        here = after
    assert here == present
    expected = {str(xid) for xid in probes if begins <= xid < present_xmax and xid not in running}
    assert sorted(seen) == sorted(expected), "each once"


def test_with_a_beginning_in_the_past_a_transaction_that_is_still_open_is_not_passed(db, table):
    late = db.connect("app", autocommit=False)
    insert(late, 1)
    insert(db.connect("app"), 2)
    table.execute(
        'select audit.add_destination(\'past\', \'https://x.example\', options => \'{"categories": ["thing"], "since": "1970-01-01"}\')'
    )
    seen = []
    take_past = "select lease_token, event_ids from audit_internal.next_batch(2, 'worker-1')"
    token, ids = table.execute(take_past).fetchone()
    seen += ids
    table.execute("select audit_internal.record_delivery(2, %s, %s::bigint[], %s)", [token, ids, max(ids)])
    late.commit()
    seen += table.execute(take_past).fetchone()[1]
    assert sorted(seen) == ids_of(table, 1, 2)


def test_what_is_said_late_of_an_earlier_batch_moves_nothing(db, table):
    late = db.connect("app", autocommit=False)
    insert(late, 1)
    insert(db.connect("app"), 2)
    first_token, first_ids, *_ = take(table)
    assert settle(table, first_token, first_ids)
    late.commit()
    token, ids, *_ = take(table)
    assert ids == ids_of(table, 1)
    assert settle(table, first_token, first_ids) is False
    assert take(table)[1] == ids
    assert token > first_token
