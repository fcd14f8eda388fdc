"""Requests over TLS: whom the worker trusts, what it shows, and that a wrong certificate is no delivery."""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from tests.forwarding.test_addresses import LOOPBACK, post, resolver

from pgtrail_worker import http
from pgtrail_worker.http import Route
from pgtrail_worker.response import Cause


class TlsReceiver:
    """Answers 200 over TLS on loopback, and notes the names that were asked for."""

    def __init__(self, certificate, authority=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self.context)
        if authority:
            authority.configure_trust(self.context)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.connections = 0

    async def __aenter__(self):
        async def serve(reader, writer):
            self.connections += 1
            while not reader.at_eof():
                try:
                    await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(2)
                except (asyncio.IncompleteReadError, ConnectionError):
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        # Its sockets are closed before the loop is: what is left open would warn.
        await asyncio.sleep(0.05)


@pytest.fixture
def authority(tmp_path):
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


def to(name):
    return resolver({name: ["127.0.0.1"]})


async def test_tls_is_checked_against_the_name_and_the_authority_that_was_given(authority, tmp_path):
    route = Route(LOOPBACK, ca_file=str(tmp_path / "ca.pem"))
    async with TlsReceiver(authority.issue_cert("siem.example")) as receiver:
        assert (await post(f"https://siem.example:{receiver.port}/", route, to("siem.example"))).status == 200
        wrong = await post(f"https://other.example:{receiver.port}/", route, to("other.example"))
        assert (wrong.cause, "match" in wrong.detail) == (Cause.UNTRUSTED, True)
        unknown = await post(f"https://siem.example:{receiver.port}/", Route(LOOPBACK), to("siem.example"))
        assert unknown.cause is Cause.UNTRUSTED
        by_address = await post(f"https://127.0.0.1:{receiver.port}/", route)
        assert by_address.cause is Cause.UNTRUSTED
    async with TlsReceiver(authority.issue_cert("127.0.0.1")) as receiver:
        assert (await post(f"https://127.0.0.1:{receiver.port}/", route)).status == 200
        by_name = await post(f"https://siem.example:{receiver.port}/", route, to("siem.example"))
        assert by_name.cause is Cause.UNTRUSTED, "the address that it was pinned to is not the name"


@pytest.mark.parametrize(
    ("host", "asked_for", "certified"),
    [
        ("siem.example.", "siem.example.", "siem.example"),
        ("Siem.Example", "siem.example", "siem.example"),
        # IDNA 2008, as in the Host header; Python's own codec would make it strasse.example.
        ("straße.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
    ],
)
async def test_name_look_up_and_certificate_are_of_one_name(host, asked_for, certified, authority, tmp_path):
    route = Route(LOOPBACK, ca_file=str(tmp_path / "ca.pem"))
    async with TlsReceiver(authority.issue_cert(certified)) as receiver:
        assert (await post(f"https://{host}:{receiver.port}/", route, to(asked_for))).status == 200


async def test_the_environment_does_not_say_whom_to_trust(authority, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with TlsReceiver(authority.issue_cert("siem.example")) as receiver:
        answer = await post(f"https://siem.example:{receiver.port}/", Route(LOOPBACK), to("siem.example"))
        assert answer.cause is Cause.UNTRUSTED


async def test_an_expired_certificate_is_refused(authority, tmp_path):
    old = authority.issue_cert("siem.example", not_after=datetime.now(UTC) - timedelta(days=1))
    async with TlsReceiver(old) as receiver:
        route = Route(LOOPBACK, ca_file=str(tmp_path / "ca.pem"))
        answer = await post(f"https://siem.example:{receiver.port}/", route, to("siem.example"))
        assert (answer.cause, answer.detail) == (Cause.UNTRUSTED, "certificate has expired")


async def test_a_client_certificate_is_shown_where_the_receiver_wants_one(authority, tmp_path):
    authority.issue_cert("worker.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    async with TlsReceiver(authority.issue_cert("siem.example"), authority) as receiver:
        url = f"https://siem.example:{receiver.port}/"
        ca_file = str(tmp_path / "ca.pem")
        without = await post(url, Route(LOOPBACK, ca_file=ca_file), to("siem.example"))
        assert without.status is None
        shown = Route(LOOPBACK, ca_file=ca_file, client_cert_file=str(tmp_path / "client.pem"))
        assert (await post(url, shown, to("siem.example"))).status == 200


@pytest.fixture
def socket_receiver():
    """Start a thread that does ``serve(socket)`` with each connection; its port. Blocking TLS sends its alerts."""
    servers = []

    def start(serve):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def run():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    serve(connection)

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()[1]

    yield start
    for server in servers:
        # Wakes the thread that waits in accept, which close alone does not.
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_receiver_that_misses_a_client_certificate_is_no_broken_connection(
    version, authority, tmp_path, socket_receiver
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("siem.example").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version

    def refuse(connection):
        try:
            context.wrap_socket(connection.dup(), server_side=True)
        except ssl.SSLError:
            # What was not read would turn the close into a reset, which outruns the alert.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    route = Route(LOOPBACK, ca_file=str(tmp_path / "ca.pem"))
    answer = await post(f"https://siem.example:{socket_receiver(refuse)}/", route, to("siem.example"))
    assert answer.cause is Cause.UNTRUSTED
    assert "alert" in answer.detail


async def test_a_receiver_that_hangs_up_in_the_handshake_is_away_and_not_untrusted(socket_receiver):
    port = socket_receiver(lambda connection: connection.recv(65536))
    answer = await post(f"https://siem.example:{port}/", Route(LOOPBACK), to("siem.example"))
    assert answer.cause is Cause.REFUSED
    # Which of the two it is, is a matter of time; the number of OpenSSL's error is no error of the system.
    assert answer.detail in ("", "Connection reset by peer")


async def test_a_receiver_that_speaks_no_tls_is_untrusted(socket_receiver):
    port = socket_receiver(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    answer = await post(f"https://siem.example:{port}/", Route(LOOPBACK), to("siem.example"))
    assert (answer.cause, answer.detail) == (Cause.UNTRUSTED, "wrong version number")


async def test_two_names_of_one_address_do_not_share_a_connection(authority, tmp_path):
    route = Route(LOOPBACK, ca_file=str(tmp_path / "ca.pem"))
    names = resolver({"siem.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    async with TlsReceiver(authority.issue_cert("siem.example")) as receiver:
        async with http.new_client(route, names) as client:
            for _ in range(2):
                good, bad = (f"https://{name}.example:{receiver.port}/" for name in ("siem", "other"))
                assert (await http.post(client, good, {}, b"{}")).status == 200
                assert (await http.post(client, bad, {}, b"{}")).cause is Cause.UNTRUSTED
        assert receiver.connections == 1, "and one that is good is kept"


async def test_a_file_that_is_missing_is_an_answer_and_serves_once_it_is_there(authority, tmp_path):
    async with TlsReceiver(authority.issue_cert("siem.example")) as receiver:
        late = tmp_path / "late.pem"
        async with http.new_client(Route(LOOPBACK, ca_file=str(late)), to("siem.example")) as client:
            url = f"https://siem.example:{receiver.port}/"
            assert (await http.post(client, url, {}, b"{}")).cause is Cause.UNUSABLE
            authority.cert_pem.write_to_path(late)
            assert (await http.post(client, url, {}, b"{}")).status == 200


@pytest.mark.parametrize(
    ("content", "detail"),
    [(None, "siem.pem: No such file or directory"), (b"", "siem.pem: "), (b"s3cret", "siem.pem: ")],
)
@pytest.mark.parametrize("use", ["ca_file", "client_cert_file"])
async def test_a_file_that_can_not_be_used_is_named_and_not_quoted(use, content, detail, tmp_path):
    file = tmp_path / "siem.pem"
    if content is not None:
        file.write_bytes(content)
    answer = await post("https://siem.example/", Route(LOOPBACK, **{use: str(file)}), to("siem.example"))
    assert answer.cause is Cause.UNUSABLE
    assert answer.detail.startswith(detail)
    assert "s3cret" not in answer.detail


async def test_no_file_name_at_all_does_not_mean_the_authorities_of_the_system():
    answer = await post("https://siem.example/", Route(LOOPBACK, ca_file=""), to("siem.example"))
    assert answer.cause is Cause.UNUSABLE


def test_nobody_is_asked_for_the_password_of_a_key(authority, tmp_path):
    """In a process of its own, with nobody at its input: there OpenSSL would wait for ever."""
    certificate = authority.issue_cert("worker.example")
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    (tmp_path / "locked.pem").write_bytes(locked + certificate.cert_chain_pems[0].bytes())
    program = (
        "import asyncio; from pgtrail_worker import http\n"
        "async def resolve(host, port): return ['127.0.0.1']\n"
        "async def main():\n"
        f"    route = http.Route(('127.0.0.0/8',), client_cert_file={str(tmp_path / 'locked.pem')!r})\n"
        "    async with http.new_client(route, resolve) as client:\n"
        "        print((await http.post(client, 'https://siem.example/', {}, b'')).cause.name)\n"
        "asyncio.run(main())\n"
    )
    silent, kept_open = os.pipe()
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            stdin=silent,
            capture_output=True,
            timeout=20,
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(silent)
        os.close(kept_open)
    assert (ran.stdout.strip(), ran.stderr) == (b"UNUSABLE", b"")
