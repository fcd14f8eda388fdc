"""A worker against a receiver that does what Splunk documents for its HTTP Event Collector.

https://help.splunk.com: "Format events for HTTP Event Collector", "About HTTP Event Collector indexer
acknowledgement", "Troubleshoot HTTP Event Collector" (the codes).
"""

import gzip
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.any_server

TOKEN = "b9f1c0de-hec-token"
COLLECTOR = "/services/collector/event"
QUESTIONS = 3  # The third question for an acknowledgement is answered with yes.
PROGRESS = "select batch_from::text, last_sent_id, sent_ahead, last_success_at from audit.cursor"


class Hec:
    """An HTTP Event Collector. What it has indexed are the events, as they were sent."""

    def __init__(self):
        self.busy = 0
        self.poison = set()
        self.acknowledges = False
        self.may_acknowledge = threading.Event()
        self.may_acknowledge.set()
        self.indexed = []
        self.shown_tokens = []
        self.questions = Counter()
        self._channels = []
        self._lock = threading.Lock()
        hec = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self):
                read = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(read) if self.headers["content-encoding"] == "gzip" else read
                with hec._lock:
                    status, answer = hec._answer(urlsplit(self.path), self.headers, body)
                told = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}{COLLECTOR}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def ids(self):
        return [int(event["event"]["id"].removeprefix("evt_")) for event in self.indexed]

    def _answer(self, url, headers, body):
        kind, _, token = headers.get("authorization", "").partition(" ")
        self.shown_tokens.append(token)
        if kind != "Splunk":
            return 401, {"text": "Token is required", "code": 2}
        if token != TOKEN:
            return 403, {"text": "Invalid token", "code": 4}
        if url.path == "/services/collector/ack":
            return self._acknowledge(parse_qs(url.query).get("channel", [None])[0], json.loads(body)["acks"])
        assert url.path == COLLECTOR
        if self.busy:
            self.busy -= 1
            return 503, {"text": "Server is busy", "code": 9}
        return self._index(headers.get("x-splunk-request-channel"), body.decode())

    def _index(self, channel, text):
        for number, event in enumerate(concatenated(text)):
            if event["event"]["after"]["name"] in self.poison:
                return 400, {"text": "Invalid data format", "code": 6, "invalid-event-number": number}
            self.indexed.append(event)
        if not self.acknowledges:
            return 200, {"text": "Success", "code": 0}
        self._channels.append(channel)
        return 200, {"text": "Success", "code": 0, "ackId": len(self._channels) - 1}

    def _acknowledge(self, channel, ack_ids):
        assert channel is not None
        self.questions.update(ack_ids)
        may = self.may_acknowledge.is_set()
        acks = {i: may and self.questions[i] >= QUESTIONS and self._channels[i] == channel for i in ack_ids}
        return 200, {"acks": {str(ack_id): done for ack_id, done in acks.items()}}


def concatenated(text):
    while text := text.lstrip():
        event, end = json.JSONDecoder().raw_decode(text)
        yield event
        text = text[end:]


@pytest.fixture
def hec():
    made = Hec()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def forward(nemo, org, hec, start_worker):
    """Forward teams to the collector with the token from the table; a superuser's connection."""

    def begin(teams, token=TOKEN):
        su = nemo.connect()
        su.execute(
            'select audit.add_destination(\'splunk\', %s, \'splunk_hec\', \'{"categories": ["teams"], "allow_http": true, '
            '"allowed_networks": ["127.0.0.0/8"]}\'::jsonb || jsonb_build_object(\'token\', %s::text))',
            [hec.url, token],
        )
        create_teams(su, org, teams)
        start_worker(nemo.dsn("forwarder"))
        return su

    return begin


def create_teams(su, org, count):
    su.execute(
        "insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, %s) as i", [org, count]
    )


def wanted(su):
    return [row[0] for row in su.execute("select id from audit.event where category = 'teams' order by id")]


def status(su):
    return su.execute("select state, last_error, events_behind from audit.destination_status").fetchone()


def try_now(su):
    su.execute("update audit.cursor set retry_at = now()")


def test_every_event_is_indexed_once_and_in_order(forward, hec, wait_until):
    su = forward(500)
    wait_until(lambda: status(su)[2] == 0)
    assert hec.ids == wanted(su)
    assert len(hec.shown_tokens) < 50, "many in a request"


@pytest.mark.parametrize("acknowledges", [False, True])
@pytest.mark.parametrize("poisoned", [[20], [1], [40], [20, 21], [1, 17, 40]])
def test_a_poison_event_becomes_a_dead_letter_and_nothing_else_is_indexed_twice(
    forward, hec, wait_until, poisoned, acknowledges
):
    hec.poison, hec.acknowledges = {f"team {number}" for number in poisoned}, acknowledges
    su = forward(40)
    wait_until(lambda: status(su)[2] == 0)
    ids = wanted(su)
    dead = [ids[number - 1] for number in poisoned]
    assert hec.ids == [event_id for event_id in ids if event_id not in dead]
    rows = su.execute("select event_id, status, error from audit.dead_letter order by event_id").fetchall()
    assert rows == [(event_id, 400, "the receiver responded with HTTP 400, code 6") for event_id in dead]
    assert status(su)[0] == "active"


def test_the_cursor_does_not_move_before_the_events_are_acknowledged(forward, hec, wait_until):
    hec.acknowledges = True
    hec.may_acknowledge.clear()
    su = forward(10)
    wait_until(lambda: hec.questions[0] >= 1)
    before = su.execute(PROGRESS).fetchone()
    wait_until(lambda: hec.questions[0] > QUESTIONS)
    assert su.execute(PROGRESS).fetchone() == before
    assert status(su)[2] == 10
    assert su.execute("select count(*) from audit.attempt").fetchone() == (0,)
    hec.may_acknowledge.set()
    wait_until(lambda: status(su)[2] == 0)
    assert hec.ids == wanted(su), "indexed once, however often it was asked"
    assert su.execute(PROGRESS).fetchone() != before


def test_an_acknowledgement_is_asked_for_until_it_is_there_for_each_request(forward, hec, wait_until, org):
    hec.acknowledges = True
    su = forward(1)
    for _ in range(2):
        wait_until(lambda: status(su)[2] == 0)
        create_teams(su, org, 1)
    wait_until(lambda: status(su)[2] == 0)
    assert hec.ids == wanted(su)
    assert hec.questions == {0: QUESTIONS, 1: QUESTIONS, 2: QUESTIONS}, "and no longer"


def test_a_collector_that_is_busy_gets_every_event_later(forward, hec, wait_until):
    hec.busy = 1
    su = forward(10)
    wait_until(lambda: status(su)[0] == "retrying")
    assert status(su)[1] == "the receiver responded with HTTP 503, code 9"
    wait_until(lambda: try_now(su) or status(su)[::2] == ("active", 0))
    assert hec.ids == wanted(su)


def test_a_token_that_is_not_valid_needs_attention_until_another_is_set(forward, hec, wait_until):
    su = forward(10, token="revoked-token")
    wait_until(lambda: status(su)[0] == "needs_attention")
    assert status(su)[1] == "the receiver responded with HTTP 403, code 4"
    seen = len(hec.shown_tokens)
    time.sleep(0.5)
    assert len(hec.shown_tokens) == seen, "it is left alone"
    su.execute("select audit.set_token('splunk', %s)", [TOKEN])
    # (An attempt with the old one may still be under way.)
    wait_until(lambda: try_now(su) or status(su)[::2] == ("active", 0))
    assert hec.ids == wanted(su)
    assert set(hec.shown_tokens) == {"revoked-token", TOKEN}


@pytest.mark.parametrize(
    ("options", "input"),
    [(["--token-env", "HEC_TOKEN"], ""), (["--token-file", "hec"], ""), (["--token-stdin"], TOKEN)],
    ids=["environment", "secrets folder", "table"],
)
def test_the_token_comes_from_where_the_operator_said(
    nemo, org, hec, pgtrail, start_worker, wait_until, tmp_path, options, input
):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "hec").write_text(f"{TOKEN}\n")
    (tmp_path / "secrets" / "hec.hosts").write_text("127.0.0.1\n")
    where = ["--url", hec.url, "--format", "splunk_hec", "--category", "teams"]
    added = pgtrail(
        *("destination", "add", "splunk", *where, *options, "--allow-http", "--allow-network", "127.0.0.0/8"),
        dsn=nemo.dsn("admin"),
        input=input,
    )
    assert added.returncode == 0, added.stderr
    su = nemo.connect()
    create_teams(su, org, 5)
    start_worker(
        nemo.dsn("forwarder"), "--secrets-dir", str(tmp_path / "secrets"), HEC_TOKEN=TOKEN, HEC_TOKEN_HOSTS="127.0.0.1"
    )
    wait_until(lambda: len(hec.ids) == 5)
    assert hec.ids == wanted(su)
    assert TOKEN not in (tmp_path / "worker.log").read_text()
    stored = su.execute("select count(*) from audit.destination_secret where secret = %s", [TOKEN]).fetchone()
    assert stored == (1 if input else 0,)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--token-env", "HEC_TOKEN"], "HEC_TOKEN may not be sent to 127.0.0.1: set HEC_TOKEN_HOSTS="),
        (["--token-file", "hec"], "add the line 127.0.0.1 to"),
    ],
    ids=["environment", "secrets folder"],
)
def test_a_token_is_sent_to_no_host_that_the_worker_s_operator_did_not_name(
    nemo, org, hec, pgtrail, start_worker, wait_until, tmp_path, options, told
):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "hec").write_text(f"{TOKEN}\n")
    (tmp_path / "secrets" / "hec.hosts").write_text("splunk.example\n*.splunk.example\n127.0.0.1:1\n")
    where = ["--url", hec.url, "--format", "splunk_hec", "--category", "teams"]
    added = pgtrail(
        *("destination", "add", "splunk", *where, *options, "--allow-http", "--allow-network", "127.0.0.0/8"),
        dsn=nemo.dsn("admin"),
    )
    assert added.returncode == 0, added.stderr
    su = nemo.connect()
    create_teams(su, org, 1)
    start_worker(
        nemo.dsn("forwarder"),
        *("--secrets-dir", str(tmp_path / "secrets")),
        HEC_TOKEN=TOKEN,
        HEC_TOKEN_HOSTS="splunk.example, *.splunk.example",
    )
    wait_until(lambda: status(su)[0] == "needs_attention")
    (error,) = su.execute("select last_error from audit.destination_status").fetchone()
    assert told in error
    assert hec.shown_tokens == []
    with (tmp_path / "secrets" / "hec.hosts").open("a") as hosts:
        hosts.write("127.0.0.1 # ours\n")
    if "--token-file" in options:
        wait_until(lambda: try_now(su) or len(hec.ids) == 1)
