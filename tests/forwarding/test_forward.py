"""The worker as a process of its own, against real receivers."""

import random
import signal
import threading
import time
from collections import defaultdict

import psycopg
import pytest


def recorded(connection):
    return {row[0] for row in connection.execute("select id from audit.event where category <> 'audit'")}


@pytest.fixture
def org(nemo):
    connection = nemo.connect()
    # Prepared transactions are enabled on the test server, and would turn NOTIFY off.
    connection.execute(f"alter database {nemo.name} set pgtrail.notify = on")
    row = connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme') returning id")
    return row.fetchone()[0]


def soak(value):
    """The same test for minutes."""
    return pytest.param(value, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])


def assert_order_of_each_resource(connection, ids):
    """Ids of one resource are given under its row's lock: in the order of the commits."""
    resources = dict(connection.execute("select id, resource_id from audit.event").fetchall())
    by_resource = defaultdict(list)
    for event_id in ids:
        by_resource[resources[event_id]].append(event_id)
    assert all(of_one == sorted(of_one) for of_one in by_resource.values())


def create_team(connection, org, name):
    connection.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, name])


def test_an_event_arrives_signed_soon_after_its_commit(nemo, org, sink, add_destination, start_worker, wait_until):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute("select 1 from audit.cursor where lease_holder is not null").fetchone())
    create_team(nemo.connect("app"), org, "Search")
    wait_until(lambda: sink.accepted)
    (message,) = sink.accepted
    assert message["type"] == "team.created"
    assert message["data"]["after"]["name"] == "Search"
    assert message["data"]["connection"]["role"] == "app"


def test_without_notify_polling_finds_everything(nemo, org, sink, add_destination, start_worker, wait_until):
    su = nemo.connect()
    su.execute(f"alter database {nemo.name} set pgtrail.notify = off")
    add_destination(su, sink, categories=["teams"])
    start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    for number in range(3):
        create_team(app, org, f"team {number}")
    wait_until(lambda: len(sink.accepted) == 3)


def test_a_failing_receiver_gets_the_same_event_again_and_nothing_overtakes_it(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    sink.answer = lambda number: 500 if number == 1 else 204
    start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    for number in range(3):
        create_team(app, org, f"team {number}")
    wait_until(lambda: len(sink.requests) >= 2)
    status = wait_until(
        lambda: su.execute(
            "select last_error, failures, retry_at - now() from audit.destination_status where failures > 0"
        ).fetchone()
    )
    assert status[0] == "the receiver answered HTTP 500"
    assert status[2].total_seconds() <= 6
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: len(sink.accepted) == 3)
    assert sink.ids == sorted(sink.ids)
    assert [webhook_id for webhook_id, _ in sink.requests].count(f"evt_{sink.ids[1]}") == 2
    assert sink.requests[1] == sink.requests[2], "the same bytes"


def test_a_dead_destination_holds_up_no_other(nemo, org, sink, another_sink, add_destination, start_worker, wait_until):
    su = nemo.connect()
    add_destination(su, sink, "dead", categories=["teams"])
    sink.close()
    add_destination(su, another_sink, "good", categories=["teams"])
    start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    for number in range(10):
        create_team(app, org, f"team {number}")
    wait_until(lambda: len(another_sink.accepted) == 10)
    status = "select events_behind, state from audit.destination_status where name = 'dead'"
    wait_until(lambda: su.execute(status).fetchone() == (10, "retrying"))


def test_a_paused_destination_gets_nothing_and_goes_on_where_it_was(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    su.execute("select audit.pause_destination('siem')")
    worker = start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    create_team(app, org, "while paused")
    add_destination(su, sink_two := sink, "probe", categories=["teams"])
    create_team(app, org, "seen by the probe")
    wait_until(lambda: len(sink_two.requests) >= 1)
    assert su.execute("select events_behind from audit.destination_status where name = 'siem'").fetchone() == (2,)
    assert worker.poll() is None
    lease = "select lease_holder from audit.cursor where destination_id = 1"
    wait_until(lambda: su.execute(lease).fetchone() == (None,))
    secret = su.execute(
        "select secret from audit.destination_secret join audit.destination on id = destination_id where name = 'siem'"
    ).fetchone()[0]
    su.execute("select audit.remove_destination('probe')")
    sink.accepted.clear()
    sink.secret = secret
    su.execute("select audit.pause_destination('siem', false)")
    wait_until(lambda: len(sink.accepted) == 2)


def test_a_pause_in_the_middle_of_a_batch_sends_nothing_twice(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 300) as i", [org])
    sink.answer = lambda _: time.sleep(0.01) or 204
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: len(sink.accepted) > 20)
    su.execute("select audit.pause_destination('siem')")
    wait_until(lambda: su.execute("select lease_holder from audit.cursor").fetchone() == (None,))
    assert len(sink.accepted) < 300
    su.execute("select audit.pause_destination('siem', false)")
    wait_until(lambda: len(sink.accepted) >= 300)
    assert len(set(sink.ids)) == len(sink.ids) == 300


def test_a_statement_that_holds_up_one_destination_holds_up_no_other(
    nemo, org, sink, another_sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    held = add_destination(su, sink, "held", categories=["teams"])
    add_destination(su, another_sink, "free", categories=["teams"])
    holder = nemo.connect(autocommit=False)
    holder.execute("select from audit.cursor where destination_id = %s for update", [held])
    worker = start_worker(nemo.dsn("forwarder"))
    create_team(nemo.connect("app"), org, "Search")
    wait_until(lambda: another_sink.accepted)
    assert sink.accepted == []
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, "nor the end of the worker"
    holder.rollback()


def test_the_worker_makes_the_months_ahead(nemo, start_worker, wait_until):
    su = nemo.connect()
    months = "select count(*) from audit.partition_bounds()"
    made = su.execute(months).fetchone()
    su.execute(
        "do $$ begin execute (select format('drop table %s', partition) from audit.partition_bounds() order by begins desc limit 1); end $$"
    )
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute(months).fetchone() == made)


def test_sigterm_ends_it_with_status_0_and_gives_the_lease_back(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    worker = start_worker(nemo.dsn("forwarder"))
    create_team(nemo.connect("app"), org, "Search")
    wait_until(lambda: sink.accepted)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert su.execute("select lease_holder from audit.cursor").fetchone() == (None,)
    assert su.execute("select events_behind from audit.destination_status").fetchone() == (0,)


@pytest.mark.parametrize("kills", [6, soak(200)])
def test_killed_workers_lose_nothing_and_the_order_of_each_resource_stays(
    nemo, org, sink, add_destination, start_worker, wait_until, kills
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    app = nemo.connect("app")
    app.execute("insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 4) as i", [org])
    chance = random.Random(4)
    for _ in range(kills):
        worker = start_worker(nemo.dsn("forwarder"))
        for _ in range(20):
            app.execute(
                "update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where name = %s",
                [f"team {chance.randint(1, 4)}"],
            )
        seen = len(sink.requests)
        wait_until(lambda seen=seen: len(sink.requests) > seen)
        time.sleep(chance.uniform(0, 0.05))
        worker.kill()
        worker.wait()
        # The lease of the dead ends by itself; here it is over at once.
        su.execute("update audit.cursor set lease_until = now()")
    start_worker(nemo.dsn("forwarder"))
    wanted = {row[0] for row in su.execute("select id from audit.event where category = 'teams'")}
    wait_until(lambda: wanted <= set(sink.ids))
    assert set(sink.ids) == wanted
    print(f"{kills} kills, {len(wanted):,} events, {len(sink.accepted) - len(wanted):,} of them sent twice, none lost")
    # What a killed worker had sent and not settled came again; each came in its place the first time.
    assert_order_of_each_resource(su, dict.fromkeys(sink.ids))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_it_survives_a_restart_of_postgres(nemo, org, sink, add_destination, start_worker, wait_until, how):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    worker = start_worker(nemo.dsn("forwarder"))
    create_team(su, org, "before")
    wait_until(lambda: sink.accepted)
    nemo.server.restart(how)
    create_team(nemo.connect("app"), org, "after")
    wait_until(lambda: len(set(sink.ids)) == 2)
    assert worker.poll() is None


def test_no_secret_is_in_a_body_or_in_the_workers_log(
    nemo, org, sink, add_destination, start_worker, wait_until, tmp_path
):
    su = nemo.connect()
    add_destination(su, sink)
    sink.answer = lambda number: 500 if number == 0 else 204
    app = nemo.connect("app")
    app.execute(
        "insert into nemo.api_key (org_id, name, key_prefix, key_hash) values (%s, 'ci', 'sk-1', 'TOP-SECRET-HASH')",
        [org],
    )
    app.execute("insert into nemo.profile (org_id, email, password_hash) values (%s, 'a@b.c', 'TOP-SECRET-PW')", [org])
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: len(sink.requests) >= 1)
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: len(sink.accepted) >= 3)
    log = (tmp_path / "worker.log").read_bytes()
    assert b"delivery.failed" in log
    for secret in (b"TOP-SECRET", sink.secret.encode(), sink.secret.removeprefix("whsec_").encode()):
        assert secret not in log
        assert not any(secret in body for _, body in sink.requests)


WRITERS = 12


def write_wildly(nemo, org, seed, ends):
    """Transactions of one writer: random rows, sleeps, savepoints and rollbacks."""
    chance = random.Random(seed)
    with psycopg.connect(nemo.dsn("app")) as connection:
        while time.monotonic() < ends:
            for _ in range(chance.randint(1, 3)):
                name = f"team {chance.randint(1, 20)}"
                with connection.transaction(force_rollback=chance.random() < 0.2):
                    connection.execute(
                        "update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where org_id = %s and name = "
                        # In the order of names, so that two writers never wait for each other.
                        "(select name from nemo.team where name >= %s order by name limit 1)",
                        [org, name],
                    )
                time.sleep(chance.uniform(0, 0.01))
                if chance.random() < 0.5:
                    break
            try:
                connection.rollback() if chance.random() < 0.15 else connection.commit()
            except psycopg.errors.DeadlockDetected:
                connection.rollback()


def follow_ids(nemo, stop, seen):
    """What a worker with an id cursor would do."""
    with psycopg.connect(nemo.dsn("auditor"), autocommit=True) as connection:
        last = 0
        while not stop.is_set():
            rows = connection.execute("select id from audit.event where id > %s order by id", [last]).fetchall()
            seen.update(row[0] for row in rows)
            last = rows[-1][0] if rows else last
            time.sleep(0.005)


@pytest.mark.parametrize("seconds", [4, soak(60)])
def test_twelve_concurrent_writers_lose_nothing_where_an_id_cursor_would(
    nemo, org, sink, add_destination, start_worker, wait_until, seconds
):
    su = nemo.connect()
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 20) as i", [org])
    add_destination(su, sink, categories=["teams"])
    start_worker(nemo.dsn("forwarder"))
    stop, seen_by_id = threading.Event(), set()
    follower = threading.Thread(target=follow_ids, args=(nemo, stop, seen_by_id))
    follower.start()
    holder = nemo.connect("app", autocommit=False)
    create_team(holder, org, "held open throughout")
    ends = time.monotonic() + seconds
    writers = [threading.Thread(target=write_wildly, args=(nemo, org, seed, ends)) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    held_before = len(sink.accepted)
    holder.commit()
    wanted = {
        row[0]
        for row in su.execute(
            "select id from audit.event where category = 'teams' "
            "and id > (select id from audit.event where action = 'audit.destination_added')"
        )
    }
    stop.set()
    follower.join()
    wait_until(lambda: len(sink.accepted) >= len(wanted), seconds=60 + 10 * seconds)
    lost_by_id = wanted - seen_by_id
    print(f"{len(wanted):,} events, {held_before:,} of them forwarded while a transaction was open throughout;")
    print(f"an id cursor would have lost {len(lost_by_id):,}")
    assert held_before > 0, "an open transaction does not hold the others up"
    assert len(wanted) > 200
    # At least once is the promise; with nothing killed and nothing failing it is exactly once.
    assert sorted(sink.ids) == sorted(wanted)
    assert_order_of_each_resource(su, sink.ids)
    assert lost_by_id, "the same load makes an id cursor lose events"
