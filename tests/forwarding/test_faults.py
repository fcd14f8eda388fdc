"""A worker as a process of its own against receivers that misbehave: what the contract says happens, and nothing is lost."""

import contextlib
import json
import re
import socket
import struct
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

pytestmark = pytest.mark.any_server

EVENTS = 5
STATUS = """
    select state, last_error, extract(epoch from retry_at - clock_timestamp()), failures
    from audit.destination_status
    where last_attempt_at is not null
"""
WAIT_5 = (3, 6)
WAIT_MINUTE = (50, 72)
PROBE = (11 * 60, 18 * 60)


class Answer:
    """An answer as `Sink.answer` takes it."""

    def __init__(self, status, headers=None, body=b""):
        self.status, self.headers, self.body = status, headers or {}, body


def reset(connection):
    """Close with RST, as a crashed process or a firewall does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang(_connection):
    time.sleep(8)


def trickle(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.05)


def half(connection):
    connection.sendall(b"HTTP/1.1 204 No Con")


def garbage(connection):
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46 this is not HTTP\r\n\r\n")


def in_ten_minutes():
    return format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)


FAULTS = {
    "301": (lambda: Answer(301, {"location": "http://127.0.0.1:1/"}), "retrying", "redirects are not followed", WAIT_5),
    "401": (lambda: 401, "needs_attention", "HTTP 401", PROBE),
    "403": (lambda: 403, "needs_attention", "HTTP 403", PROBE),
    "404": (lambda: 404, "needs_attention", "HTTP 404", PROBE),
    "408": (lambda: 408, "retrying", "HTTP 408", WAIT_MINUTE),
    "410": (lambda: 410, "paused", "it wants no more events", None),
    "418": (lambda: 418, "retrying", "HTTP 418", WAIT_5),
    "429": (lambda: 429, "retrying", "HTTP 429", WAIT_MINUTE),
    "429, seconds": (lambda: Answer(429, {"retry-after": "600"}), "retrying", "HTTP 429", (590, 600)),
    "429, a date": (lambda: Answer(429, {"retry-after": in_ten_minutes()}), "retrying", "HTTP 429", (590, 600)),
    "500": (lambda: 500, "retrying", "HTTP 500", WAIT_5),
    "503, a day and more": (lambda: Answer(503, {"retry-after": "999999"}), "retrying", "HTTP 503", (86_390, 86_400)),
    "a reset": (lambda: reset, "retrying", "the connection broke", WAIT_5),
    "hanging up": (lambda: None, "retrying", "the connection broke", WAIT_5),
    "half an answer": (lambda: half, "retrying", "the connection broke", WAIT_5),
    "garbage": (lambda: garbage, "retrying", "the connection broke", WAIT_5),
    "no answer": (lambda: hang, "retrying", "no response in time", WAIT_MINUTE),
    "an answer byte by byte": (lambda: trickle, "retrying", "no response in time", WAIT_MINUTE),
}  # fmt: skip


@pytest.fixture
def forwarding(nemo, org, sink, add_destination, start_worker):
    """Five events and a worker; a superuser's connection."""
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"], max_in_flight=1)

    def begin():
        nemo.connect("app").execute(
            "insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, %s) as i",
            [org, EVENTS],
        )
        start_worker(nemo.dsn("forwarder"), "--timeout", "1.5")
        return su

    return begin


def wanted(su):
    return [row[0] for row in su.execute("select id from audit.event where category = 'teams' order by id")]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_met_as_the_contract_says_and_afterwards_everything_arrives_once(
    forwarding, sink, wait_until, fault
):
    respond, state, error, wait = FAULTS[fault]
    sink.answer = lambda number: respond() if number == 1 else 204
    su = forwarding()
    wait_until(lambda: su.execute("select failures > 0 from audit.cursor").fetchone() == (True,))
    found_state, found_error, retry_in, failures = su.execute(STATUS).fetchone()
    assert (found_state, failures) == (state, 1)
    assert error in found_error
    if wait:
        assert wait[0] <= retry_in <= wait[1]
    seen = len(sink.requests)
    time.sleep(0.3)
    assert len(sink.requests) == seen, "it is left alone"
    if state == "paused":
        su.execute("select audit.pause_destination('siem', false)")
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: len(sink.accepted) >= EVENTS)
    assert sink.ids == wanted(su), "each once and in order: a fault before the answer is no delivery"
    wait_until(
        lambda: su.execute("select state, events_behind from audit.destination_status").fetchone() == ("active", 0)
    )


@pytest.mark.parametrize("status", [400, 415, 422])
def test_an_event_that_is_refused_becomes_a_dead_letter_and_can_be_redriven(
    forwarding, sink, wait_until, pgtrail, nemo, status
):
    sink.answer = lambda number: status if number == 1 else 201
    su = forwarding()
    wait_until(lambda: len(sink.accepted) == EVENTS - 1)
    second = wanted(su)[1]
    assert sink.ids == [event_id for event_id in wanted(su) if event_id != second]
    shown = pgtrail("destination", "show", "siem", dsn=nemo.dsn("admin"))
    assert re.search(rf"{second}\s+team\.created\s+team 2\s+{status}\s.*HTTP {status}", shown.stdout)
    as_json = json.loads(pgtrail("destination", "show", "siem", "--json", dsn=nemo.dsn("admin")).stdout)
    (dead_letter,) = as_json["dead_letter_events"]
    assert (dead_letter["event_id"], dead_letter["resource"]) == (second, "team 2")
    done = pgtrail("destination", "redrive", "siem", "--reason", "mapping mended", dsn=nemo.dsn("admin"))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(sink.accepted) == EVENTS)
    assert sink.ids[-1] == second
    wait_until(
        lambda: su.execute("select count(*) from audit.dead_letter where delivered_at is null").fetchone() == (0,)
    )
    (event,) = su.execute("select after from audit.event where action = 'audit.dead_letters_redriven'").fetchone()
    assert event["reason"] == "mapping mended"
    assert event["event_ids"] == [second]


def test_more_than_20_refusals_in_a_row_hold_the_destination_and_nothing_more_is_buried(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"], max_in_flight=1)
    sink.answer = lambda _: 400
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 40) as i", [org])
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute("select state from audit.destination_status").fetchone() == ("needs_attention",))
    assert su.execute("select count(*) from audit.dead_letter").fetchone() == (20,)
    assert su.execute(
        "select count(*) from audit.event where action = 'audit.destination_needs_attention'"
    ).fetchone() == (1,)
    su.execute("update audit.cursor set retry_at = now()")
    time.sleep(1.5)
    assert su.execute("select count(*) from audit.dead_letter").fetchone() == (20,), "a probe buries nothing either"
    sink.answer = lambda _: 204
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: len(sink.accepted) == 20)
    su.execute("select audit.redrive_dead_letters('siem', 'format mended')")
    wait_until(lambda: sorted(sink.ids) == wanted(su))
    wait_until(lambda: su.execute("select state from audit.destination_status").fetchone() == ("active",))


def test_an_event_too_large_for_the_receiver_is_sent_shortened_and_says_so(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    sink.answer = lambda number: 413 if len(sink.requests[number][1]) > 20_000 else 204
    for name, description in (("small", "x"), ("large", "y" * 100_000), ("last", "z")):
        su.execute("insert into nemo.team (org_id, name, description) values (%s, %s, %s)", [org, name, description])
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: len(sink.accepted) == 3)
    large = next(message["data"] for message in sink.accepted if message["data"]["resource"]["label"] == "large")
    assert large["after"]["name"] == "large"
    assert "description" not in large["after"]
    stored = su.execute(
        "select octet_length(after::text), encode(sha256(convert_to(after::text, 'UTF8')), 'hex') "
        "from audit.event where resource_label = 'large'"
    ).fetchone()
    assert large["after"]["[truncated]"] == {"bytes": stored[0], "sha256": stored[1]}
    assert su.execute("select count(*) from audit.dead_letter").fetchone() == (0,)


def test_an_answer_of_a_gigabyte_costs_neither_time_nor_memory(forwarding, sink, wait_until):
    taken = []

    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1024):
                connection.sendall(b"x" * 1_048_576)
                taken.append(1_048_576)

    sink.answer = lambda number: flood if number == 0 else 204
    su = forwarding()
    wait_until(lambda: len(sink.accepted) == EVENTS - 1)
    assert sum(taken) < 64 * 1_048_576, "what is more than the buffers between the two was read"
    assert sink.ids == wanted(su)[1:], "200 is a delivery, however much comes after it"


def test_a_name_that_does_not_resolve_is_tried_again_by_schedule(nemo, org, start_worker, wait_until):
    su = nemo.connect()
    su.execute(
        "select audit.add_destination('siem', 'https://nowhere.invalid/', options => '{\"categories\": [\"teams\"]}')"
    )
    su.execute("insert into nemo.team (org_id, name) values (%s, 'Search')", [org])
    start_worker(nemo.dsn("forwarder"))
    # The first failure is quick, and is tried again at once.
    wait_until(lambda: su.execute("select failures >= 2 from audit.cursor").fetchone() == (True,))
    state, error, retry_in, _ = su.execute(STATUS).fetchone()
    assert state == "retrying"
    assert "does not resolve" in error
    assert retry_in < 40


def test_a_private_address_that_nobody_allowed_needs_attention(nemo, org, sink, start_worker, wait_until):
    su = nemo.connect()
    su.execute(
        'select audit.add_destination(\'siem\', %s, options => \'{"categories": ["teams"], "allow_http": true}\')',
        [sink.url],
    )
    su.execute("insert into nemo.team (org_id, name) values (%s, 'Search')", [org])
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute("select state from audit.destination_status").fetchone() == ("needs_attention",))
    assert "127.0.0.1 is a loopback address" in su.execute(STATUS).fetchone()[1]
    assert sink.requests == []


def test_after_five_days_it_is_suspended_still_probed_hourly_and_comes_back_by_itself(forwarding, sink, wait_until):
    sink.answer = lambda _: 500
    su = forwarding()
    wait_until(lambda: su.execute("select failures > 0 from audit.cursor").fetchone() == (True,))
    su.execute("update audit.cursor set failing_since = now() - interval '5 days', retry_at = now()")
    wait_until(lambda: su.execute("select failures > 1 from audit.cursor").fetchone() == (True,))
    state, _, retry_in, _ = su.execute(STATUS).fetchone()
    assert state == "suspended"
    assert 2800 <= retry_in <= 4400
    sink.answer = lambda _: 204
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: len(sink.accepted) == EVENTS)
    wait_until(lambda: su.execute("select state from audit.destination_status").fetchone() == ("active",))
    actions = su.execute("select array_agg(action order by id) from audit.event where resource_type = 'destination'")
    assert actions.fetchone()[0][-1] == "audit.destination_recovered"
