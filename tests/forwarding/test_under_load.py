"""Kills and concurrency: nothing is lost, and each resource keeps its order."""

import random
import signal
import threading
import time
from collections import defaultdict

import psycopg
import pytest

pytestmark = pytest.mark.any_server


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


class Writing:
    """Updates of four teams, one after the other, while the context lasts, whatever becomes of the server."""

    def __init__(self, nemo, org):
        self.nemo, self.org = nemo, org
        self.stopping = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.write)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def write(self):
        chance = random.Random(4)
        while not self.stopping.is_set():
            try:
                with psycopg.connect(self.nemo.dsn("app"), autocommit=True) as connection:
                    while not self.stopping.is_set():
                        name = f"team {chance.randint(1, 4)}"
                        connection.execute(
                            "update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where name = %s", [name]
                        )
                        time.sleep(0.01)
            except psycopg.OperationalError:
                time.sleep(0.02)


def assert_all_arrived(connection, sink, wait_until, what):
    wanted = {row[0] for row in connection.execute("select id from audit.event where category = 'teams'")}
    wait_until(lambda: wanted <= set(sink.ids), seconds=600)
    assert set(sink.ids) == wanted
    twice = len(sink.accepted) - len(wanted)
    print(f"{what}, {len(wanted):,} events, {twice:,} of them sent twice, none lost")
    # What was sent and not settled came again; each came in its place the first time.
    assert_order_of_each_resource(connection, dict.fromkeys(sink.ids))


@pytest.mark.parametrize("kills", [6, soak(200)])
def test_killed_workers_lose_nothing_and_the_order_of_each_resource_stays(
    nemo, org, sink, add_destination, start_worker, wait_until, kills
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 4) as i", [org])
    chance = random.Random(4)
    with Writing(nemo, org):
        for _ in range(kills):
            worker = start_worker(nemo.dsn("forwarder"))
            seen = len(sink.requests)
            wait_until(lambda seen=seen: len(sink.requests) > seen)
            time.sleep(chance.uniform(0, 0.2))
            worker.kill()
            worker.wait()
            # The lease of the dead ends by itself; here it is over at once, and the dead have no share.
            su.execute("update audit.cursor set lease_until = now(); delete from audit.worker")
    start_worker(nemo.dsn("forwarder"))
    assert_all_arrived(su, sink, wait_until, f"{kills} kills of the worker under load")


@pytest.mark.parametrize("restarts", [2, soak(20)])
def test_restarts_of_postgres_lose_nothing_and_the_order_of_each_resource_stays(
    nemo, org, sink, add_destination, start_worker, wait_until, restarts
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 4) as i", [org])
    worker = start_worker(nemo.dsn("forwarder"))
    with Writing(nemo, org):
        for number in range(restarts):
            seen = len(sink.requests)
            wait_until(lambda seen=seen: len(sink.requests) > seen + 20)
            nemo.server.restart(signal.SIGINT if number % 2 else signal.SIGQUIT)
    assert worker.poll() is None
    assert_all_arrived(nemo.connect(), sink, wait_until, f"{restarts} restarts of Postgres under load")


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
    holder.execute("insert into nemo.team (org_id, name) values (%s, 'held open throughout')", [org])
    ends = time.monotonic() + seconds
    writers = [threading.Thread(target=write_wildly, args=(nemo, org, seed, ends)) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    # (However long the worker takes to start: while the transaction is open.)
    held_before = wait_until(lambda: len(sink.accepted))
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
