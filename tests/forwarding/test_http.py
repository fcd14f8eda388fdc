"""Requests against receivers that misbehave."""

import contextlib
import socket
import threading
import time

import pytest

from pgtrail_worker import http
from pgtrail_worker.verdict import Cause


@pytest.fixture
def receiver():
    """Start a receiver that does ``answer(connection)`` to each request; its URL."""
    servers = []

    def start(answer):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    with contextlib.suppress(OSError):
                        answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/hook"

    yield start
    for server in servers:
        # Wakes the thread that waits in accept, which close alone does not.
        server.shutdown(socket.SHUT_RDWR)
        server.close()


async def post(url, seconds=http.TIMEOUT_SECONDS):
    async with http.client() as client:
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


async def test_the_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    url = receiver(lambda connection: connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (await post(url)).status == 204


async def test_a_receiver_that_hangs_up_gave_no_answer(receiver):
    assert (await post(receiver(lambda _: None))).cause is Cause.BROKEN


@pytest.mark.parametrize(
    "url",
    ["https://x:abc/", "http://127.0.0.1:99999/", "http://xn--a.example/", "http://[::1/", "http://" + "a" * 300 + "/"],
)
async def test_a_url_that_can_not_be_used_is_a_failed_attempt(url):
    answer = await post(url)
    assert answer.status is None
    assert answer.cause in (Cause.UNUSABLE, Cause.REFUSED)
