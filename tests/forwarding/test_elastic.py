"""A worker against a receiver with the semantics of Elasticsearch's `_bulk`.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk: each action has a result of its own.
"""

import gzip
import json
import socket
import struct

import pytest
from tests.forwarding.conftest import Response, Sink

pytestmark = pytest.mark.any_server

API_KEY = "VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw=="
REASONS = {
    400: ("document_parsing_exception", "[1:204] failed to parse field [pgtrail.after] s3cret"),
    409: ("version_conflict_engine_exception", "[evt_1]: version conflict, document already exists"),
    429: ("es_rejected_execution_exception", "rejected execution of coordinating operation"),
    503: ("unavailable_shards_exception", "primary shard is not active"),
}
STATUS = "select state, last_error, events_behind from audit.destination_status"


def reset(connection):
    """Close with RST, as a crashed process does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Elastic(Sink):
    """An index: documents by their id, in the order in which they were created.

    ``whole(n)``: what becomes of the n-th request as a whole; None: it is looked at. ``refuse``: by the name of a
    team, the statuses of its next items. ``crashes``: after how many documents it crashes, request by request.
    """

    def __init__(self):
        super().__init__()
        self.url = self.url.replace("/hook", "/audit/_bulk")
        self.whole = lambda _: None
        self.refuse = {}
        self.crashes = []
        self.documents = {}
        self.bulks = []

    def take(self, headers, body):
        if headers.get("authorization") != f"ApiKey {API_KEY}":
            return error(401, "security_exception")
        if headers["content-type"] != "application/x-ndjson":
            return error(406, "media_type_header_exception")
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if not body.endswith(b"\n"):
            return error(400, "illegal_argument_exception")
        lines = [json.loads(line) for line in body.splitlines()]
        actions = [(line["create"]["_id"], document) for line, document in zip(lines[::2], lines[1::2], strict=True)]
        self.bulks.append([number(document_id) for document_id, _ in actions])
        if (answer := self.whole(len(self.bulks) - 1)) is not None:
            return answer
        if self.crashes:
            for document_id, document in actions[: self.crashes.pop(0)]:
                self._create(document_id, document)
            return reset
        items = [self._create(*action) for action in actions]
        failed = any(item["create"]["status"] >= 300 for item in items)
        told = json.dumps({"took": 3, "errors": failed, "items": items}).encode()
        return Response(200, {"content-type": "application/json"}, told)

    def _create(self, document_id, document):
        refusals = self.refuse.get(document["pgtrail"]["after"]["name"])
        status = refusals.pop(0) if refusals else 409 if document_id in self.documents else 201
        if status == 201:
            self.documents[document_id] = document
            return {
                "create": {"_index": "audit", "_id": document_id, "_version": 1, "result": "created", "status": 201}
            }
        kind, reason = REASONS[status]
        return {
            "create": {
                "_index": "audit",
                "_id": document_id,
                "status": status,
                "error": {"type": kind, "reason": reason},
            }
        }

    @property
    def ids(self):
        return [number(document_id) for document_id in self.documents]


def error(status, kind):
    told = json.dumps({"error": {"type": kind, "reason": "…"}, "status": status}).encode()
    return Response(status, {"content-type": "application/json"}, told)


def number(document_id):
    return int(document_id.removeprefix("evt_"))


@pytest.fixture
def elastic():
    made = Elastic()
    yield made
    made.close()


@pytest.fixture
def forward(nemo, org, elastic, add_destination, start_worker):
    """Forward teams to the index; a superuser's connection."""

    def begin(teams, token=API_KEY):
        su = nemo.connect()
        add_destination(su, elastic, format="elastic", categories=["teams"], token=token)
        su.execute(
            "insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, %s) as i",
            [org, teams],
        )
        start_worker(nemo.dsn("forwarder"))
        return su

    return begin


def wanted(su):
    return [row[0] for row in su.execute("select id from audit.event where category = 'teams' order by id")]


def status(su):
    return su.execute(STATUS).fetchone()


def try_now(su):
    su.execute("update audit.cursor set retry_at = now()")


def is_through(su):
    return lambda: status(su)[::2] == ("active", 0)


def test_every_event_becomes_one_document_in_order(forward, elastic, wait_until):
    su = forward(1000)
    wait_until(lambda: len(elastic.ids) >= 1000)
    wait_until(is_through(su))
    assert elastic.ids == wanted(su)
    assert [event_id for bulk in elastic.bulks for event_id in bulk] == wanted(su), "each was sent once"
    assert len(elastic.bulks) < 50, "many in a request"


@pytest.mark.parametrize("item_status", [429, 503])
def test_only_the_items_that_failed_are_sent_again(forward, elastic, wait_until, item_status):
    elastic.refuse = {"team 3": [item_status], "team 7": [item_status]}
    su = forward(10)
    wait_until(lambda: status(su)[0] == "retrying")
    ids = wanted(su)
    assert f"the receiver responded with {item_status} for the event" in status(su)[1]
    assert status(su)[2] == 2
    assert elastic.ids == [event_id for event_id in ids if event_id not in (ids[2], ids[6])]
    try_now(su)
    wait_until(is_through(su))
    assert [event_id for bulk in elastic.bulks[1:] for event_id in bulk] == [ids[2], ids[6]]
    assert sorted(elastic.ids) == ids


def test_an_item_that_is_refused_becomes_a_dead_letter_and_the_others_are_not_sent_again(forward, elastic, wait_until):
    elastic.refuse = {"team 4": [400]}
    su = forward(10)
    wait_until(is_through(su))
    ids = wanted(su)
    assert elastic.bulks == [ids]
    assert elastic.ids == ids[:3] + ids[4:]
    dead = su.execute("select event_id, error from audit.dead_letter").fetchall()
    assert dead == [(ids[3], "the receiver responded with 400 for the event (document_parsing_exception)")]


def test_an_item_that_failed_does_not_save_one_that_is_refused(forward, elastic, wait_until):
    elastic.refuse = {"team 2": [429], "team 5": [400]}
    su = forward(6)
    wait_until(lambda: status(su)[0] == "retrying")
    try_now(su)
    wait_until(is_through(su))
    ids = wanted(su)
    assert elastic.bulks == [ids, [ids[1]]]
    assert su.execute("select array_agg(event_id) from audit.dead_letter").fetchone() == ([ids[4]],)


@pytest.mark.parametrize("stored", [0, 4, 10])
def test_a_crash_after_so_many_documents_makes_no_duplicates_and_no_dead_letters(forward, elastic, wait_until, stored):
    elastic.crashes = [stored]
    su = forward(10)
    wait_until(lambda: status(su)[0] == "retrying")
    assert len(elastic.ids) == stored
    assert status(su)[2] == 10, "nobody knows what it has stored"
    try_now(su)
    wait_until(is_through(su))
    assert elastic.ids == wanted(su)
    assert su.execute("select count(*) from audit.dead_letter").fetchone() == (0,)


NO_DELIVERIES = {
    "an empty object": b"{}",
    "nothing": b"",
    "a page of some proxy": b"<html><body>It works!</body></html>",
    "no items": b'{"took": 0, "errors": false, "items": []}',
    "no item for some": b'{"errors": false, "items": [{"create": {"status": 201}}]}',
    "items without a status": json.dumps({"errors": False, "items": [{"create": {}}] * 5}).encode(),
    "half an answer": b'{"errors": false, "items": [{"create": {"status": 201}},',
}


@pytest.mark.parametrize("body", NO_DELIVERIES.values(), ids=NO_DELIVERIES)
def test_200_without_a_word_for_each_event_is_no_delivery(forward, elastic, wait_until, body):
    elastic.whole = lambda n: Response(200, {}, body) if n == 0 else None
    su = forward(5)
    wait_until(lambda: status(su)[0] == "retrying")
    assert status(su)[2] == 5
    assert elastic.ids == []
    try_now(su)
    wait_until(is_through(su))
    assert elastic.ids == wanted(su)


def test_a_bulk_that_is_too_large_is_halved(forward, elastic, wait_until):
    elastic.whole = lambda n: 413 if len(elastic.bulks[n]) > 30 else None
    su = forward(200)
    wait_until(lambda: len(elastic.ids) == 200)
    wait_until(is_through(su))
    assert elastic.ids == wanted(su)
    assert any(len(bulk) > 30 for bulk in elastic.bulks)


def test_a_key_that_is_revoked_needs_attention_and_no_event_is_buried(forward, elastic, wait_until):
    su = forward(5, token="cmV2b2tlZDprZXk=")
    wait_until(lambda: status(su)[0] == "needs_attention")
    assert status(su)[1:] == ("the receiver responded with HTTP 401", 5)
    su.execute("select audit.set_token('siem', %s)", [API_KEY])
    # (An attempt that had begun with the old key fails once more, and waits.)
    wait_until(lambda: is_through(su)() or try_now(su))
    assert elastic.ids == wanted(su)
