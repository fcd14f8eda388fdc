"""A real nginx in front of the receiver, as in most companies: TLS, client certificates, limits, restarts."""

import contextlib
import gzip
import json
import time

import pytest
import trustme
from psycopg.types.json import Jsonb
from tests.nginx import Nginx

pytestmark = pytest.mark.any_server

HOLDS_STILL_SECONDS = 0.5


@pytest.fixture
def authority(folder):
    """Signs the certificates of nginx and of the worker; `ca.pem` and `client.pem` are in the secrets folder."""
    made = trustme.CA()
    (folder / "secrets").mkdir()
    (folder / "nginx").mkdir()
    made.cert_pem.write_to_path(folder / "secrets" / "ca.pem")
    made.cert_pem.write_to_path(folder / "nginx" / "ca.pem")
    (folder / "secrets" / "client.pem.hosts").write_text("127.0.0.1\n")
    made.issue_cert("worker.example").private_key_and_cert_chain_pem.write_to_path(folder / "secrets" / "client.pem")
    made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "nginx" / "server.pem")
    return made


@pytest.fixture
def start_nginx(folder, authority, sink):
    """Start nginx with directives for its server."""
    with contextlib.ExitStack() as stack:

        def start(directives=""):
            root = sink.url.removesuffix("/hook")
            nginx = Nginx(folder / "nginx", f"{directives} location / {{ proxy_pass {root}; }}")
            return stack.enter_context(nginx)

        yield start


@pytest.fixture
def forward(nemo, org, sink, folder, start_worker):
    """Forward so many teams to an nginx; a superuser's connection."""

    def begin(nginx, teams, **settings):
        su = nemo.connect()
        kind = settings.pop("format", "webhook")
        options = {"categories": ["teams"], "ca_file": "ca.pem", "allowed_networks": ["127.0.0.0/8"], **settings}
        row = su.execute(
            "select audit.add_destination('siem', %s, %s, %s)", [f"{nginx.url}/hook", kind, Jsonb(options)]
        )
        sink.secret = row.fetchone()[0]
        create_teams(su, org, teams)
        start_worker(nemo.dsn("forwarder"), "--secrets-dir", str(folder / "secrets"))
        return su

    return begin


def create_teams(su, org, count):
    su.execute(
        "insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, %s) as i", [org, count]
    )


def wanted(su):
    return [row[0] for row in su.execute("select id from audit.event where category = 'teams' order by id")]


def lines(headers, body):
    text = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
    return [{"data": json.loads(line)} for line in text.splitlines()]


def state(su):
    return su.execute("select state from audit.destination_status").fetchone()[0]


def hurry(su):
    """What waits for its next attempt has it now."""
    su.execute("update audit.cursor set retry_at = now() where retry_at > now()")


def test_events_arrive_through_tls_whose_authority_is_a_file_of_the_secrets_folder(
    start_nginx, forward, sink, wait_until
):
    su = forward(start_nginx(), 5, max_in_flight=1)
    wait_until(lambda: hurry(su) or len(sink.accepted) == 5)
    assert sink.ids == wanted(su)


def test_a_certificate_of_an_authority_that_nobody_named_needs_attention(start_nginx, forward, sink, wait_until):
    su = forward(start_nginx(), 5, ca_file=None)
    wait_until(lambda: state(su) == "needs_attention")
    (error,) = su.execute("select last_error from audit.destination_status").fetchone()
    assert "the receiver's certificate is not valid" in error
    assert sink.requests == []


def test_a_client_certificate_is_shown_where_nginx_requires_one(start_nginx, forward, sink, wait_until):
    nginx = start_nginx("ssl_client_certificate ca.pem; ssl_verify_client on;")
    su = forward(nginx, 5, client_cert_file="client.pem", max_in_flight=1)
    wait_until(lambda: hurry(su) or len(sink.accepted) == 5)
    assert sink.ids == wanted(su)


def test_a_client_certificate_is_shown_to_no_host_that_the_worker_s_operator_did_not_name(
    start_nginx, forward, sink, folder, wait_until
):
    (folder / "secrets" / "client.pem.hosts").write_text("siem.example\n")
    nginx = start_nginx("ssl_client_certificate ca.pem; ssl_verify_client on;")
    su = forward(nginx, 1, client_cert_file="client.pem", max_in_flight=1)
    wait_until(lambda: state(su) == "needs_attention")
    (error,) = su.execute("select last_error from audit.destination_status").fetchone()
    assert "client.pem may not be sent to 127.0.0.1" in error
    assert nginx.statuses == []
    (folder / "secrets" / "client.pem.hosts").write_text("siem.example\n127.0.0.1\n")
    wait_until(lambda: hurry(su) or len(sink.accepted) == 1)


def test_without_its_client_certificate_the_destination_is_held_and_no_event_is_buried(
    start_nginx, forward, sink, wait_until
):
    nginx = start_nginx("ssl_client_certificate ca.pem; ssl_verify_client on;")
    su = forward(nginx, 5, max_in_flight=1)
    wait_until(lambda: "400" in nginx.statuses)
    wait_until(lambda: su.execute("select exists (select from audit.attempt)").fetchone()[0])
    assert sink.requests == []
    assert su.execute("select count(*) from audit.dead_letter").fetchone() == (0,)
    assert state(su) == "needs_attention"
    su.execute("update audit.destination set client_cert_file = 'client.pem'")
    wait_until(lambda: hurry(su) or len(sink.accepted) == 5)
    assert sink.ids == wanted(su)


@pytest.mark.parametrize("compress", [True, False])
def test_a_batch_that_nginx_finds_too_large_is_halved_and_everything_arrives_once(
    start_nginx, forward, sink, wait_until, compress
):
    nginx = start_nginx(f"client_max_body_size {2000 if compress else 20_000};")
    sink.parse = lines
    su = forward(nginx, 1000, format="ndjson", gzip=compress)
    wait_until(lambda: hurry(su) or len(sink.accepted) >= 1000)
    assert sink.ids == wanted(su)
    assert 0 < nginx.statuses.count("413") < 10, "it learns how large is too large"
    assert len(sink.requests) < 200, "and does not send event by event"
    assert su.execute("select count(*) from audit.dead_letter").fetchone() == (0,)


def test_where_nginx_limits_the_rate_everything_arrives_and_nothing_is_lost(start_nginx, forward, sink, wait_until):
    nginx = start_nginx("limit_req zone=events;")
    su = forward(nginx, 30)
    wait_until(lambda: hurry(su) or len(sink.accepted) >= 30)
    time.sleep(HOLDS_STILL_SECONDS)
    assert sorted(sink.ids) == wanted(su)
    assert "429" in nginx.statuses
    wait_until(lambda: state(su) == "active")


def test_a_restart_of_nginx_in_the_middle_loses_nothing(start_nginx, forward, sink, wait_until):
    nginx = start_nginx()
    sink.answer = lambda _: time.sleep(0.01) or 204
    su = forward(nginx, 500)
    wait_until(lambda: len(sink.accepted) >= 100)
    nginx.stop()
    wait_until(lambda: su.execute("select failures > 0 from audit.cursor").fetchone()[0])
    assert state(su) == "retrying"
    before = len(sink.accepted)
    assert before < 500
    nginx.start()
    wait_until(lambda: hurry(su) or len(set(sink.ids)) == 500)
    assert sorted(set(sink.ids)) == wanted(su)
    assert len(sink.ids) <= 500 + 8, "at most what was in flight came twice"
    wait_until(lambda: state(su) == "active")
