"""Compressed requests: where the receivers of a format take them, or the operator said so."""

import base64
import gzip
import hashlib
import hmac
import json

import pytest
from psycopg.types.json import Jsonb
from tests.forwarding.conftest import Response, Sink

pytestmark = pytest.mark.any_server

EVENTS = 30
ALLOWED = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"], "categories": ["teams"]}
ITEMS = json.dumps({"errors": False, "items": [{"create": {"status": 201}}] * EVENTS}).encode()

COMPRESSED = {
    "datadog": 202,
    "elastic": Response(200, {}, ITEMS),
    "ndjson": 204,
    "ocsf": 204,
    "sentinel": 204,
    "splunk_hec": Response(200, {}, b'{"text": "Success", "code": 0}'),
}
"""Formats whose receivers take gzip, and how they say that they have everything."""
PLAIN = {"webhook": 204, "cloudevents": 204, "cloudevents_batch": 204}
"""What receives these is anything, which need not know of gzip."""


class Receiver(Sink):
    """Keeps the headers and bodies as they came."""

    def __init__(self):
        super().__init__()
        self.received = []
        self.parse = lambda *_: []

    def take(self, headers, body):
        self.received.append((headers, body))
        return super().take(headers, body)

    @property
    def encodings(self):
        return {headers.get("content-encoding") for headers, _ in self.received}

    @property
    def bodies(self):
        return [body for _, body in self.received]


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def another_receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def su(nemo):
    return nemo.connect()


@pytest.fixture
def add(su):
    """Let the database forward to a receiver."""

    def make(receiver, answer, name="siem", **settings):
        receiver.answer = lambda _: answer
        settings = {"token": "a-token", **ALLOWED, **settings}
        kind = settings.pop("format", "webhook")
        row = su.execute("select audit.add_destination(%s, %s, %s, %s)", [name, receiver.url, kind, Jsonb(settings)])
        receiver.secret = row.fetchone()[0]

    return make


@pytest.fixture
def deliver(nemo, su, org, start_worker, wait_until):
    """Make teams, and forward until each destination has them."""

    def run(teams=EVENTS, description="some words about it"):
        su.execute(
            "insert into nemo.team (org_id, name, description) "
            "select %s, 'team ' || i, %s from generate_series(1, %s) as i",
            [org, description, teams],
        )
        start_worker(nemo.dsn("forwarder"))

        def is_through():
            su.execute("update audit.cursor set retry_at = now() where retry_at > now()")
            return su.execute("select sum(events_behind) from audit.destination_status").fetchone() == (0,)

        wait_until(is_through)

    return run


@pytest.mark.parametrize("format", COMPRESSED)
def test_a_format_whose_receivers_take_gzip_is_compressed_and_unpacks_to_the_same_bytes(
    add, deliver, receiver, another_receiver, format
):
    add(receiver, COMPRESSED[format], format=format)
    add(another_receiver, COMPRESSED[format], "plain", format=format, gzip=False)
    deliver()
    assert (receiver.encodings, another_receiver.encodings) == ({"gzip"}, {None})
    assert [gzip.decompress(body) for body in receiver.bodies] == another_receiver.bodies
    assert len(receiver.bodies[0]) < len(another_receiver.bodies[0]) / 3
    for headers, body in receiver.received:
        assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize("format", PLAIN)
def test_a_format_of_any_receiver_is_not_compressed(add, deliver, receiver, format):
    add(receiver, PLAIN[format], format=format)
    deliver(teams=5, description="word " * 1000)
    assert min(len(body) for body in receiver.bodies) > 5000
    assert receiver.encodings == {None}


def test_every_format_is_one_or_the_other(su):
    formats = su.execute("select array_agg(name order by name) from audit.format").fetchone()[0]
    assert sorted(formats) == sorted(COMPRESSED | PLAIN)


def test_a_small_body_is_sent_plain(add, deliver, receiver):
    add(receiver, 204, format="ndjson")
    deliver(teams=1)
    (body,) = receiver.bodies
    assert len(body) <= 1024
    assert receiver.encodings == {None}
    assert json.loads(body)["after"]["name"] == "team 1"


def test_the_operator_can_say_no(nemo, pgtrail, deliver, receiver):
    receiver.answer = lambda _: 204
    where = ["--url", receiver.url, "--format", "ndjson", "--category", "teams"]
    allowed = ["--allow-http", "--allow-network", "127.0.0.0/8"]
    added = pgtrail("destination", "add", "siem", *where, *allowed, "--no-gzip", dsn=nemo.dsn("admin"))
    assert added.returncode == 0, added.stderr
    deliver()
    assert receiver.encodings == {None}
    assert sum(len(body.splitlines()) for body in receiver.bodies) == EVENTS


def signature(secret, headers, body):
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def test_where_the_operator_says_yes_the_signature_is_over_the_bytes_that_are_sent(add, deliver, receiver):
    add(receiver, 204, gzip=True)
    deliver(teams=5, description="word " * 1000)
    assert receiver.encodings == {"gzip"}
    for headers, body in receiver.received:
        assert headers["webhook-signature"] == signature(receiver.secret, headers, body)
        assert json.loads(gzip.decompress(body))["data"]["id"] == headers["webhook-id"]
    assert len(receiver.received) == 5


def test_what_is_sent_again_is_the_same_to_the_byte(add, deliver, receiver):
    add(receiver, 204, format="ndjson")
    receiver.answer = lambda number: 204 if number else 503
    deliver(teams=1, description="word " * 1000)
    first, second = receiver.bodies
    assert first == second
    assert first[4:8] == bytes(4), "gzip's own time is left out"
    assert receiver.encodings == {"gzip"}
