"""Where tokens are read from, and where they may go; one destination's way there, whatever comes back."""

import os
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_delivery import DESTINATION

from pgtrail_worker.destination import ListedDestination, OAuth, TokenSource
from pgtrail_worker.errors import SecretUnavailable
from pgtrail_worker.hosts import Host
from pgtrail_worker.http import host_of
from pgtrail_worker.response import Cause, Response
from pgtrail_worker.secret_store import SecretStore
from pgtrail_worker.sender import Sender
from pgtrail_worker.tokens import Tokens
from pgtrail_worker.verdict import Failed, Hold

SIEM, EVIL, LOGIN = (Host(f"{name}.example", 443) for name in ("siem", "evil", "login"))
OAUTH = OAuth("https://login.example/token", "client", "scope")


@pytest.fixture
def secrets(tmp_path):
    (tmp_path / "splunk").write_text("T0ken\n")
    (tmp_path / "splunk.hosts").write_text("siem.example\n")
    return SecretStore(tmp_path, {"SPLUNK": "T0ken", "SPLUNK_HOSTS": "siem.example", "BARE": "T0ken"})


def test_a_file_goes_to_the_hosts_beside_it_and_to_no_other(secrets, tmp_path):
    assert secrets.file("splunk", [SIEM]) == "T0ken"
    for hosts in ([EVIL], [SIEM, EVIL], [EVIL, SIEM]):
        with pytest.raises(
            SecretUnavailable, match=rf"sent to evil.example: add the line evil.example to {tmp_path}/splunk.hosts"
        ):
            secrets.file("splunk", hosts)


@pytest.mark.parametrize("content", [None, b"", b"\xff\n", b"#siem.example"])
def test_without_hosts_a_file_goes_nowhere_and_the_error_says_what_to_write(secrets, tmp_path, content):
    if content is None:
        (tmp_path / "splunk.hosts").unlink()
    else:
        (tmp_path / "splunk.hosts").write_bytes(content)
    with pytest.raises(SecretUnavailable) as refused:
        secrets.file("splunk", [SIEM])
    assert "the line siem.example" in str(refused.value)
    assert f"{tmp_path}/splunk.hosts" in str(refused.value)
    assert "T0ken" not in str(refused.value)


def test_a_variable_goes_to_the_hosts_of_the_one_beside_it(secrets):
    assert secrets.variable("SPLUNK", [SIEM]) == "T0ken"
    with pytest.raises(SecretUnavailable, match=r"set SPLUNK_HOSTS=siem.example,evil.example for"):
        secrets.variable("SPLUNK", [EVIL])
    with pytest.raises(SecretUnavailable, match=r"set BARE_HOSTS=siem.example for"):
        secrets.variable("BARE", [SIEM])


def test_what_is_no_file_is_not_waited_for(secrets, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe.hosts").write_text("siem.example")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.hosts").write_text("siem.example")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "endless.hosts").write_text("siem.example")
    for name in ("pipe", "folder", "endless", "", ".", "x" * 300, "a\0b", "../splunk", "/etc/passwd"):
        with pytest.raises(SecretUnavailable):
            secrets.file(name, [SIEM])


@pytest.mark.parametrize("named", ["siem.example", "login.example"])
async def test_a_client_s_secret_and_what_it_is_changed_for_go_to_named_hosts_only(secrets, tmp_path, named):
    (tmp_path / "splunk.hosts").write_text(named)
    asked = []

    async def post(*request):
        asked.append(request)
        return Response(200, 0.0, body=b'{"access_token": "a"}')

    destination = replace(DESTINATION, token=TokenSource(file="splunk"), oauth=OAUTH)
    tokens = Tokens(destination, secrets, [SIEM, LOGIN], post)
    with pytest.raises(SecretUnavailable):
        await tokens.token()
    assert asked == []
    (tmp_path / "splunk.hosts").write_text("siem.example\nlogin.example")
    assert await tokens.token() == "a"


@pytest.mark.parametrize(
    "url", ["https://siem.example#@evil.example", "https://siem.example:443/x", "https://SIEM.example"]
)
def test_the_host_that_is_checked_is_the_one_that_is_sent_to(url):
    assert host_of(url) == SIEM
    assert httpx.Request("POST", url).url.raw_host == b"siem.example"


class Hostile(SecretStore):
    def path(self, name):
        raise RuntimeError("T0ken")


async def test_what_nothing_foresaw_is_a_failure_of_the_destination_alone(tmp_path):
    destination = replace(DESTINATION, token=TokenSource(file="splunk"))
    async with Sender(destination, Hostile(tmp_path, {}), lambda: datetime.now(UTC)) as channel:
        answer, verdict = await channel.send("evt_1", b"{}", 1)
    assert (answer.status, answer.cause) == (None, Cause.UNUSABLE)
    assert isinstance(verdict, Failed)
    assert verdict.hold is Hold.ATTENTION
    assert "T0ken" not in verdict.error


async def test_a_signing_secret_that_is_none_is_a_failure_of_the_destination_alone(tmp_path):
    destination = replace(DESTINATION, signing_secrets=("whsec_a",))
    async with Sender(destination, SecretStore(tmp_path, {}), lambda: datetime.now(UTC)) as channel:
        _, verdict = await channel.send("evt_1", b"{}", 1)
    assert isinstance(verdict, Failed)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
GOOD = {
    "cursor_id": 1, "name": "siem", "broken": None, "replay_id": None, "url": "https://siem.example", "content_type": "a/b",
    "headers": {}, "channel": "c", "prefix": "", "separator": "", "suffix": "", "max_events": 1, "max_bytes": 1,
    "max_in_flight": 1, "gzip": False, "reads": "status", "success_statuses": [], "poison_statuses": [],
    "configuration_statuses": [], "poison_codes": [], "configuration_codes": [], "success_codes": [], "signing_secrets": [], "token": None,
    "token_env": None, "token_file": None, "oauth_url": None, "oauth_client_id": None, "oauth_scope": None,
    "allowed_networks": [], "ca_file": None, "client_cert_file": None,
}  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(GOOD.keys() - {"cursor_id", "name", "broken"})), VALUES, max_size=3))
def test_whatever_a_row_holds_it_is_a_destination_or_an_error(changed):
    found = ListedDestination.from_row(GOOD | changed)
    if found.destination is None:
        assert found.error
    else:
        assert {found.destination}
        assert all(isinstance(network, str) for network in found.destination.allowed_networks)
