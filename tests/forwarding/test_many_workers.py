"""Several workers, several destinations: shared, taken over, and a sleeper that wakes too late moves nothing."""

import signal
import threading
import time
from collections import Counter

import pytest
from tests.forwarding.conftest import Sink

# It waits more than it asks the database; leases by themselves are tested on each server.
pytestmark = pytest.mark.any_server

LEASE = 4.0
SETTLED = "select bool_and(events_behind = 0) from audit.destination_status"
HOLDERS = "select lease_holder from audit.cursor where lease_until > clock_timestamp() order by id"


@pytest.fixture
def five(nemo, org, add_destination):
    """Five destinations with a receiver each; a superuser's connection and the receivers."""
    su = nemo.connect()
    sinks = [Sink() for _ in range(5)]
    for number, sink in enumerate(sinks):
        add_destination(su, sink, f"siem-{number}", categories=["teams"])
    yield su, sinks
    for sink in sinks:
        sink.close()


def shares(connection):
    return Counter(row[0] for row in connection.execute(HOLDERS))


def process_id(holder):
    return int(holder.split(":")[1])


def create_teams(connection, org, names):
    for name in names:
        connection.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, name])


def test_three_workers_share_five_destinations_and_take_over_from_one_that_is_killed(
    nemo, org, five, start_worker, wait_until
):
    su, sinks = five
    workers = [start_worker(nemo.dsn("forwarder"), "--lease", str(LEASE)) for _ in range(3)]
    wait_until(lambda: sorted(shares(su).values()) == [1, 2, 2])
    app = nemo.connect("app")
    create_teams(app, org, ["before"])
    wait_until(lambda: all(len(sink.accepted) == 1 for sink in sinks))
    # (What is delivered and not settled when its worker is killed comes twice, as promised.)
    wait_until(lambda: su.execute(SETTLED).fetchone() == (True,))

    busiest = max(shares(su).items(), key=lambda item: item[1])[0]
    killed = next(worker for worker in workers if worker.pid == process_id(busiest))
    killed.kill()
    killed_at = time.monotonic()
    create_teams(app, org, ["after"])
    wait_until(lambda: sum(shares(su).values()) == 5 and busiest not in shares(su))
    # A lease, half of one until others count it as gone, and a poll; the rest is for a machine that has other things to do.
    assert time.monotonic() - killed_at < 2 * LEASE + 15
    wait_until(lambda: all(len(sink.accepted) == 2 for sink in sinks))
    assert all(len(sink.ids) == len(set(sink.ids)) for sink in sinks)


def test_a_worker_that_leaves_gives_its_share_back_at_once(nemo, five, start_worker, wait_until):
    su, _ = five
    workers = [start_worker(nemo.dsn("forwarder"), "--lease", "60") for _ in range(2)]
    wait_until(lambda: len(shares(su)) == 2 and sum(shares(su).values()) == 5, seconds=90)
    workers[0].send_signal(signal.SIGTERM)
    assert workers[0].wait(20) == 0
    left_at = time.monotonic()
    wait_until(lambda: sum(shares(su).values()) == 5 and len(shares(su)) == 1)
    assert time.monotonic() - left_at < 30, "and not when the lease ends"
    assert process_id(next(iter(shares(su)))) == workers[1].pid
    assert su.execute("select count(*) from audit.worker").fetchone() == (1,)


def test_a_worker_that_was_stopped_and_wakes_after_its_lease_changes_nothing(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"], max_in_flight=1)
    asleep = threading.Event()

    def answer(number):
        if number == 2:
            # The third event is with the receiver when its sender falls asleep.
            asleep.wait(30)
        return 204

    sink.answer = answer
    sleeper = start_worker(nemo.dsn("forwarder"), "--lease", str(LEASE))
    wait_until(lambda: su.execute(HOLDERS).fetchone())
    create_teams(nemo.connect("app"), org, [f"team {number}" for number in range(8)])
    wait_until(lambda: len(sink.requests) == 3)
    sleeper.send_signal(signal.SIGSTOP)
    asleep.set()
    start_worker(nemo.dsn("forwarder"), "--lease", str(LEASE))
    wait_until(lambda: len(set(sink.ids)) == 8)
    wait_until(lambda: su.execute("select batch_to is null from audit.cursor").fetchone() == (True,))
    state = "select batch_from::text, last_sent_id, sent_ahead, failures, lease_token from audit.cursor"
    attempts = "select count(*) from audit.attempt"
    before = su.execute(state).fetchone()[1:4], su.execute(attempts).fetchone()
    seen = len(sink.requests)
    sleeper.send_signal(signal.SIGCONT)
    time.sleep(2 * LEASE)
    assert sleeper.poll() is None
    assert (su.execute(state).fetchone()[1:4], su.execute(attempts).fetchone()) == before
    assert len(sink.requests) == seen, "nor does it send what it had left"
    assert list(dict.fromkeys(sink.ids)) == sorted(set(sink.ids))


def test_a_batch_in_flight_keeps_its_lease_however_long_its_receiver_takes(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    sink.answer = lambda _: time.sleep(2.5 * LEASE) or 204
    for _ in range(2):
        start_worker(nemo.dsn("forwarder"), "--lease", str(LEASE))
    create_teams(nemo.connect("app"), org, ["slow"])
    wait_until(lambda: sink.accepted)
    wait_until(lambda: su.execute("select events_behind from audit.destination_status").fetchone() == (0,))
    assert len(sink.requests) == 1
