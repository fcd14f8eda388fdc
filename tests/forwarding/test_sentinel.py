"""A worker against Entra's client credentials and the Logs Ingestion API, as Microsoft documents them.

https://learn.microsoft.com: "OAuth 2.0 client credentials flow", "Logs Ingestion API in Azure Monitor".
"""

import gzip
import json
import time
import uuid
from urllib.parse import parse_qs

import pytest
from tests.forwarding.conftest import Response, Sink

pytestmark = pytest.mark.any_server

CLIENT_ID = "0f6b1d1e-1f6c-4b0e-a1a3-3a6a7d8c9b10"
CLIENT_SECRET = "5Zt8Q~client-secret+with/odd=chars"
SCOPE = "https://monitor.azure.com/.default"
STATUS = "select state, last_error, events_behind from audit.destination_status"


class Entra(Sink):
    """Gives a token for a client secret.

    ``lifetime``: seconds for which a token holds. ``answers``: taken instead of a token, the first ones.
    """

    def __init__(self):
        super().__init__()
        self.url = self.url.replace("/hook", "/tenant/oauth2/v2.0/token")
        self.lifetime = 3599
        self.answers = []
        self.fetches = 0
        self.given = {}

    def take(self, headers, body):
        assert headers["content-type"] == "application/x-www-form-urlencoded"
        self.fetches += 1
        if self.answers:
            return self.answers.pop(0)
        form = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        secret = form.pop("client_secret")
        assert form == {"grant_type": "client_credentials", "client_id": CLIENT_ID, "scope": SCOPE}
        if secret != CLIENT_SECRET:
            # It quotes what it was given; Entra does not, but others do.
            told = {"error": "invalid_client", "error_description": f"AADSTS7000215: Invalid client secret {secret}."}
            return Response(401, {"content-type": "application/json"}, json.dumps(told).encode())
        token = f"eyJ0.{uuid.uuid4().hex}.signature"
        self.given[token] = time.monotonic() + self.lifetime
        told = {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token}
        return Response(200, {"content-type": "application/json"}, json.dumps(told).encode())

    def revoke(self):
        self.given = dict.fromkeys(self.given, 0.0)


class Ingestion(Sink):
    """The endpoint of a data collection rule, for whoever shows a token of Entra's that holds."""

    def __init__(self, entra):
        super().__init__()
        self.url = self.url.replace("/hook", "/dataCollectionRules/dcr-1/streams/Custom-Audit?api-version=2023-01-01")
        self.entra = entra
        self.shown = []
        self.refused = 0

    def take(self, headers, body):
        kind, _, token = headers.get("authorization", "").partition(" ")
        self.shown.append(token)
        if kind != "Bearer" or self.entra.given.get(token, 0.0) <= time.monotonic():
            self.refused += 1
            return Response(401, {"www-authenticate": "Bearer"}, f'{{"error": {{"message": "bad {token}"}}}}'.encode())
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.accepted += json.loads(body)
        return 204

    @property
    def ids(self):
        return [int(record["EventId"].removeprefix("evt_")) for record in self.accepted]


@pytest.fixture
def entra():
    made = Entra()
    yield made
    made.close()


@pytest.fixture
def ingestion(entra):
    made = Ingestion(entra)
    yield made
    made.close()


@pytest.fixture
def su(nemo):
    return nemo.connect()


@pytest.fixture
def start(nemo, su, entra, ingestion, add_destination, start_worker):
    """Forward teams with a client secret."""

    def begin(secret=CLIENT_SECRET):
        oauth = {"oauth_url": entra.url, "oauth_client_id": CLIENT_ID, "oauth_scope": SCOPE}
        add_destination(su, ingestion, format="sentinel", categories=["teams"], token=secret, **oauth)
        start_worker(nemo.dsn("forwarder"))

    return begin


@pytest.fixture
def send(su, org, ingestion, wait_until):
    """Make a team and wait until it is delivered."""

    def make():
        create_team(su, org)
        wait_until(lambda: status(su)[2] == 0)
        assert ingestion.ids == wanted(su)

    return make


def create_team(su, org):
    su.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, f"team {uuid.uuid4()}"])


def wanted(su):
    return [row[0] for row in su.execute("select id from audit.event where category = 'teams' order by id")]


def status(su):
    return su.execute(STATUS).fetchone()


def try_now(su):
    su.execute("update audit.cursor set retry_at = now()")


def test_a_token_is_fetched_once_and_serves_every_request(start, send, entra, ingestion):
    start()
    for _ in range(4):
        send()
    assert entra.fetches == 1
    assert ingestion.shown == list(entra.given) * 4


def test_a_token_is_fetched_anew_before_it_ends(start, send, entra, ingestion):
    entra.lifetime = 63
    start()
    send()
    send()
    assert entra.fetches == 1
    # A minute before it ends, that is after three seconds.
    time.sleep(3.1)
    send()
    assert entra.fetches == 2
    assert ingestion.shown[-1] == list(entra.given)[-1]
    assert ingestion.refused == 0, "it never came to a request with an old one"


def test_a_token_that_is_refused_is_fetched_anew_at_once(start, send, su, entra, ingestion):
    start()
    send()
    entra.revoke()
    send()
    assert (entra.fetches, ingestion.refused) == (2, 1)
    failed = su.execute("select count(*) from audit.attempt where failed_event_id is not null").fetchone()
    assert failed == (0,), "nobody need know of it"


def test_a_token_that_is_refused_again_needs_attention_and_is_not_fetched_without_end(
    start, su, org, entra, ingestion, wait_until
):
    start()
    entra.lifetime = -1
    create_team(su, org)
    wait_until(lambda: status(su)[0] == "needs_attention")
    assert status(su)[1:] == ("the receiver responded with HTTP 401", 1)
    assert entra.fetches <= 2
    entra.lifetime = 3599
    wait_until(lambda: try_now(su) or status(su)[::2] == ("active", 0))
    assert ingestion.ids == wanted(su)


def test_a_wrong_client_secret_needs_attention_and_the_error_names_where_it_was_refused(
    start, su, org, entra, ingestion, wait_until
):
    start("wrong-secret")
    create_team(su, org)
    wait_until(lambda: status(su)[0] == "needs_attention")
    assert status(su)[1] == f"there is no token to send with ({entra.url} issued no token: HTTP 401)"
    assert ingestion.shown == [], "no event goes out without a token"
    su.execute("select audit.set_token('siem', %s)", [CLIENT_SECRET])
    # (An attempt with the wrong one may be under way still.)
    wait_until(lambda: try_now(su) or status(su)[::2] == ("active", 0))
    assert ingestion.ids == wanted(su)


NO_TOKENS = {
    "503": 503,
    "hanging up": None,
    "429": Response(429, {"retry-after": "1"}),
    "no JSON": Response(200, {}, b"<html>Sign in</html>"),
    "no object": Response(200, {}, b"[]"),
    "no token": Response(200, {}, b'{"token_type": "Bearer", "expires_in": 3599}'),
    "a token that is no text": Response(200, {}, b'{"access_token": null, "expires_in": 3599}'),
    "a lifetime that is none": Response(200, {}, b'{"access_token": "eyJ0", "expires_in": null}'),
    "a redirect": Response(302, {"location": "https://login.example/"}),
}


@pytest.mark.parametrize("answer", NO_TOKENS.values(), ids=NO_TOKENS)
def test_an_authority_that_gives_no_token_loses_no_event(start, su, org, entra, ingestion, wait_until, answer):
    entra.answers = [answer]
    start()
    create_team(su, org)
    wait_until(lambda: status(su)[1] is not None)
    assert entra.url in status(su)[1]
    assert ingestion.shown == []
    wait_until(lambda: try_now(su) or status(su)[::2] == ("active", 0))
    assert ingestion.ids == wanted(su)


def test_neither_the_secret_nor_a_token_is_written_anywhere(
    start, send, su, org, entra, ingestion, wait_until, worker_log, tmp_path
):
    start("wrong-secret")
    create_team(su, org)
    wait_until(lambda: status(su)[0] == "needs_attention")
    su.execute("select audit.set_token('siem', %s)", [CLIENT_SECRET])
    # (An attempt with the old secret may be on its way: then it waits for the next one.)
    wait_until(lambda: try_now(su) or status(su)[::2] == ("active", 0))
    entra.revoke()
    send()
    assert len(entra.given) == 2
    wait_until(lambda: any(line["action"] == "delivery.failed" for line in worker_log()))
    written = (tmp_path / "worker.log").read_text()
    for kept in ("attempt", "event", "cursor", "dead_letter", "destination", "destination_status"):
        written += su.execute(f"select coalesce(string_agg(kept::text, ' '), '') from audit.{kept} as kept").fetchone()[
            0
        ]
    assert entra.url in written
    for secret in ("wrong-secret", CLIENT_SECRET, *entra.given):
        assert secret not in written
