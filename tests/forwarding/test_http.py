"""Requests against receivers that misbehave."""

import contextlib
import gzip
import socket
import threading
import time

import httpx
import pytest

from pgtrail_worker import http
from pgtrail_worker.http import Route
from pgtrail_worker.response import Cause

LOOPBACK = Route(("127.0.0.0/8", "::1/128"))


@pytest.fixture
def receiver():
    """Start a receiver that does ``answer(connection)`` to each request; its URL."""
    servers = []

    def start(answer, with_request=False):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    request = connection.recv(65536)
                    with contextlib.suppress(OSError):
                        answer(connection, request) if with_request else answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/hook"

    yield start
    for server in servers:
        # Wakes the thread that waits in accept, which close alone does not.
        server.shutdown(socket.SHUT_RDWR)
        server.close()


async def post(url, seconds=http.TIMEOUT_SECONDS):
    async with http.new_client(LOOPBACK) as client:
        return await http.post(client, url, {"content-type": "application/json"}, b"{}", seconds)


async def test_an_answer_that_trickles_in_has_no_more_time_than_any_other(receiver):
    def trickle(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x")
            time.sleep(0.05)

    answer = await post(receiver(trickle), 0.5)
    assert (answer.status, answer.cause) == (None, Cause.TIMED_OUT)


async def test_of_an_answer_without_end_only_the_beginning_is_read(receiver):
    sent = []

    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    answer = await post(receiver(flood))
    assert answer.status == 200
    assert answer.seconds < 10
    assert sum(sent) < 64 * 1024 * 1024


async def test_a_redirect_is_an_answer_and_is_not_followed(receiver):
    followed = threading.Event()

    def note(connection):
        followed.set()
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    target = receiver(note)
    redirect = f"HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n".encode()
    answer = await post(receiver(lambda connection: connection.sendall(redirect)))
    assert answer.status == 302
    assert not followed.is_set()


@pytest.mark.parametrize("location", ["http://[::1", "http://x:abc/", "/\udcff", ""])
async def test_a_redirect_to_what_is_no_url_is_the_same_answer(receiver, location):
    redirect = f"HTTP/1.1 307 T\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode(errors="surrogateescape")
    assert (await post(receiver(lambda connection: connection.sendall(redirect)))).status == 307


async def test_the_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    url = receiver(lambda connection: connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (await post(url)).status == 204


async def test_a_receiver_that_hangs_up_gave_no_answer(receiver):
    assert (await post(receiver(lambda _: None))).cause is Cause.BROKEN


@pytest.mark.parametrize(
    "url",
    [
        "https://x:abc/", "http://127.0.0.1:99999/", "http://xn--a.example/", "http://[::1/", "", "/",
        "//127.0.0.1/", "http:///hook", "127.0.0.1", "file:///etc/passwd", "ftp://127.0.0.1/", "ws://127.0.0.1/",
    ],
)  # fmt: skip
async def test_a_url_that_can_not_be_used_is_a_failed_attempt(url):
    answer = await post(url)
    assert (answer.status, answer.cause) == (None, Cause.UNUSABLE)


async def test_a_name_that_does_not_resolve_and_a_port_where_nobody_listens_are_told_apart():
    for name in ("nowhere.invalid", "a" * 300):
        unresolved = await post(f"https://{name}/")
        assert unresolved.cause is Cause.UNRESOLVED
        assert unresolved.detail
    refused = await post("https://127.0.0.1:1/")
    assert (refused.cause, refused.detail) == (Cause.REFUSED, "Connection refused")


async def test_a_header_that_can_not_be_sent_is_not_quoted(receiver):
    url = receiver(lambda connection: connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n"))
    async with http.new_client(LOOPBACK) as client:
        for token in ("s3cret\n", "s3cret\u2603"):
            answer = await http.post(client, url, {"authorization": f"Bearer {token}"}, b"")
            assert answer.cause is Cause.UNUSABLE
            assert "s3cret" not in repr(answer)


async def test_a_request_may_take_as_long_as_the_caller_says():
    steps = []

    def note(request):
        steps.append(request.extensions["timeout"])
        return httpx.Response(204)

    async with httpx.AsyncClient(transport=httpx.MockTransport(note)) as client:
        for seconds in (60.0, 1.0):
            await http.post(client, "http://siem.example/", {}, b"", seconds)
    assert [(step["connect"], step["read"], step["write"]) for step in steps] == [(5.0, 60.0, 60.0), (1.0, 1.0, 1.0)]


async def test_the_answer_carries_the_beginning_of_the_body_and_the_wish_to_be_left_alone(receiver):
    said = b"HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 5\r\n\r\nlater"
    answer = await post(receiver(lambda connection: connection.sendall(said)))
    assert (answer.status, answer.retry_after, answer.body) == (429, "7", b"later")


@pytest.mark.parametrize("most", [0, 1, 4999, 5000])
async def test_of_the_body_no_more_is_kept_than_was_asked_for(receiver, most):
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000
    async with http.new_client(LOOPBACK) as client:
        url = receiver(lambda connection: connection.sendall(said))
        answer = await http.post(client, url, {}, b"{}", max_response_bytes=most)
    assert (answer.status, answer.body) == (200, b"x" * most)


async def test_a_compressed_answer_is_not_unpacked(receiver):
    bomb = gzip.compress(b"0" * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n".encode()
    answer = await post(receiver(lambda connection: connection.sendall(head + bomb)))
    assert answer.body == bomb[: http.MAX_RESPONSE_BYTES]


async def test_no_cookie_is_kept(receiver):
    seen = []

    def answer(connection, first):
        seen.append(first)
        connection.sendall(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    url = receiver(answer, with_request=True)
    async with http.new_client(LOOPBACK) as client:
        for _ in range(2):
            assert (await http.post(client, url, {}, b"{}")).status == 200
    assert len(seen) == 2
    assert not any(b"cookie" in request.lower() for request in seen)
