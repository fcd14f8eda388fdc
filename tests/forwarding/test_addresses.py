"""Requests that somebody would like to have sent into the network that the worker stands in."""

import asyncio
import contextlib
import socket

import pytest

from pgtrail_worker import http
from pgtrail_worker.http import Route
from pgtrail_worker.response import Cause

LOOPBACK = ("127.0.0.0/8", "::1/128")

SPELLINGS_OF_LOOPBACK = [
    # What the system, or httpx, takes for 127.0.0.1.
    "127.0.0.1", "2130706433", "0x7f000001", "0X7F000001", "0x7f.0.0.1", "0x7f.1", "017700000001", "127.1", "127.0.1",
    "localhost", "LOCALHOST", "127。0。0。1",
]  # fmt: skip
REFUSED_HOSTS = [
    *SPELLINGS_OF_LOOPBACK, "0", "0.0.0.0", "127.255.255.254",  # noqa: S104 - to connect to
    # The same in IPv6.
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:7F00:1]", "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::ffff:0:127.0.0.1]", "[2606:4700::5efe:127.0.0.1]",
    # Where clouds keep credentials.
    "169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fd00:ec2::254]", "[fd20:ce::254]", "100.100.100.200", "192.0.0.192",
    # Private and other networks that are not public.
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255",
    "[fe80::1]", "[fe80::1%lo]", "[fc00::1]", "[fd12:3456::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[2001::1]",
    "[64:ff9b:1::1]", "[2002:a00:1::]", "[2002:c0a8:101::1]",
]  # fmt: skip
NO_HOSTS = [
    # What other clients take for an address is no URL to httpx, or no name to the system.
    "0177.0.0.1", "0251.0376.0251.0376", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127.0.0.1.", "[fe80::1%25lo]", "127.0.0.1%00.example",
    "[127.0.0.1]", "127.0.0.1,8.8.8.8", "ＭＥＴＡＤＡＴＡ.google.internal",
]  # fmt: skip

NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "kubernetes.default.svc": ["10.96.0.1"],
    "half.example": ["93.184.215.14", "10.0.0.1"],
    "half-v6.example": ["2606:4700::1111", "::1"],
    "mapped.example": ["::ffff:192.168.0.1"],
    "nat64.example": ["64:ff9b::a00:1"],
    "6to4.example": ["2002:a00:1::1"],
    "scoped.example": ["fe80::1%eth0"],
    "confused.example": ["93.184.215.14", "0177.0.0.1"],
}


def resolver(names):
    async def resolve(host, _port):
        return names[host]

    return resolve


async def post(url, route=Route(), resolve=http.resolve, **options):  # noqa: B008 - frozen
    async with http.new_client(route, resolve) as client:
        return await http.post(client, url, {"content-type": "application/json"}, b"{}", **options)


@pytest.fixture
async def listener():
    """A receiver on loopback: its port, and the requests that it got; a connection without one is an empty request."""
    seen = []

    async def serve(reader, writer):
        seen.append(b"")
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            seen[-1] = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


@pytest.mark.parametrize("host", REFUSED_HOSTS)
async def test_an_address_that_is_not_public_is_refused_however_it_is_written(host, listener):
    port, seen = listener
    answer = await post(f"http://{host}:{port}/latest/meta-data/")
    assert (answer.status, answer.cause) == (None, Cause.FORBIDDEN)
    assert answer.detail
    await asyncio.sleep(0.01)
    assert seen == []


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_what_is_no_host_goes_nowhere_even_where_loopback_is_allowed(host, listener):
    port, seen = listener
    answer = await post(f"http://{host}:{port}/", Route(LOOPBACK))
    assert answer.cause in (Cause.UNUSABLE, Cause.UNRESOLVED)
    await asyncio.sleep(0.01)
    assert seen == []


@pytest.mark.parametrize("host", SPELLINGS_OF_LOOPBACK)
async def test_where_it_is_allowed_loopback_is_reached_however_it_is_written(host, listener):
    """So the refusals above are not those of names that lead nowhere anyhow."""
    port, seen = listener
    assert (await post(f"http://{host}:{port}/", Route(LOOPBACK))).status == 200
    assert len(seen) == 1


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_is_refused_if_any_of_its_addresses_is_not_public(name):
    answer = await post(f"https://{name}/", resolve=resolver(NAMES))
    assert answer.cause is Cause.FORBIDDEN


async def test_nothing_is_sent_to_the_public_address_of_a_name_that_has_a_private_one_too(listener):
    port, seen = listener
    # Allowed stands for public here.
    half = resolver({"half.example": ["127.0.0.1", "10.0.0.1"]})
    answer = await post(f"http://half.example:{port}/", Route(LOOPBACK), half)
    assert (answer.cause, answer.detail) == (Cause.FORBIDDEN, "10.0.0.1 is a private address")
    assert seen == []


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://Metadata.Google.INTERNAL/", "metadata.google.internal"),
        ("https://metadata.google.internal./", "metadata.google.internal."),
        ("https://user:word@metadata.google.internal/", "metadata.google.internal"),
        ("https://93.184.215.14@metadata.google.internal/", "metadata.google.internal"),
        ("https://metadata.google.internal#@siem.example/", "metadata.google.internal"),
        ("https://metadata.google.internal?@siem.example/", "metadata.google.internal"),
    ],
)
async def test_the_name_that_is_checked_is_the_one_that_is_connected_to(url, name):
    assert (await post(url, resolve=resolver({name: ["169.254.169.254"]}))).cause is Cause.FORBIDDEN


@pytest.mark.parametrize(
    ("found", "detail"),
    [(socket.gaierror(-2, "Name or service not known"), "Name or service not known"), ([], "no address")],
)
async def test_a_name_without_an_address_is_unresolved(found, detail):
    async def look_up(_host, _port):
        if isinstance(found, Exception):
            raise found
        return found

    answer = await post("https://siem.example/", resolve=look_up)
    assert answer.cause is Cause.UNRESOLVED
    assert detail in answer.detail


async def test_what_a_name_resolves_to_after_the_check_makes_no_difference(listener):
    port, seen = listener
    answers = iter([["127.0.0.5"], ["127.0.0.1"]])

    async def rebinding(_host, _port):
        return next(answers)

    # The second look-up would lead to the listener, and there is none.
    answer = await post(f"http://rebind.example:{port}/", Route(LOOPBACK), rebinding)
    assert answer.cause is Cause.REFUSED
    assert seen == []
    assert next(answers) == ["127.0.0.1"]


class Clock:
    """Stands still, unless it is told otherwise."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


async def test_a_name_is_looked_up_every_half_minute_and_refused_once_it_turns_private(listener):
    port, seen = listener
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    clock = Clock()

    async def rebinding(_host, _port):
        return next(answers)

    async with http.new_client(Route(LOOPBACK), rebinding, clock) as client:
        url = f"http://rebind.example:{port}/"
        for later in (0, 29.9):
            clock.seconds = 1000.0 + later
            assert (await http.post(client, url, {}, b"{}")).status == 200
        clock.seconds = 1000.0 + 30
        assert (await http.post(client, url, {}, b"{}")).cause is Cause.FORBIDDEN
    assert len(seen) == 2
    assert f"host: rebind.example:{port}".encode() in seen[0].lower()


async def test_requests_at_the_same_time_wait_for_one_look_up(listener):
    port, seen = listener
    asked = []

    async def slow(host, _port):
        asked.append(host)
        await asyncio.sleep(0.05)
        return ["127.0.0.1"]

    async with http.new_client(Route(LOOPBACK), slow) as client:
        url = f"http://siem.example:{port}/"
        answers = await asyncio.gather(*(http.post(client, url, {}, b"{}") for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 5
    assert (len(asked), len(seen)) == (1, 5)


async def test_a_look_up_has_no_more_time_than_the_request():
    async def never(_host, _port):
        await asyncio.Event().wait()

    assert (await post("http://siem.example/", Route(), never, timeout=0.2)).cause is Cause.TIMED_OUT


async def test_the_network_that_an_operator_allowed_is_accepted_and_no_other(listener):
    port, seen = listener
    assert (await post(f"http://127.0.0.1:{port}/")).cause is Cause.FORBIDDEN
    assert (await post(f"http://127.0.0.1:{port}/", Route(("10.0.0.0/8",)))).cause is Cause.FORBIDDEN
    assert seen == []
    assert (await post(f"http://127.0.0.1:{port}/", Route(LOOPBACK))).status == 200


async def test_the_next_address_is_tried_where_one_does_not_take_the_connection(listener):
    port, seen = listener
    both = resolver({"two.example": ["127.0.0.9", "127.0.0.1"]})
    assert (await post(f"http://two.example:{port}/", Route(LOOPBACK), both)).status == 200
    assert len(seen) == 1


async def test_the_address_that_was_reached_is_tried_first_the_next_time(listener):
    port, seen = listener
    both = resolver({"two.example": ["127.0.0.9", "127.0.0.1"]})
    async with http.new_client(Route(LOOPBACK), both) as client:
        url = f"http://two.example:{port}/"
        assert (await http.post(client, url, {}, b"{}")).status == 200
        # Now both would answer.
        first = []
        async with await asyncio.start_server(lambda *streams: first.append(streams), "127.0.0.9", port):
            assert (await http.post(client, url, {}, b"{}")).status == 200
    assert (len(first), len(seen)) == (0, 2)


async def test_an_address_of_ipv6_is_connected_to_as_it_is():
    seen = []

    async def serve(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    try:
        server = await asyncio.start_server(serve, "::1", 0)
    except OSError:
        pytest.skip("this system has no IPv6")
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await post(f"http://[::1]:{port}/", Route(LOOPBACK))).status == 204
        six = resolver({"six.example": ["::1"]})
        assert (await post(f"http://six.example:{port}/", Route(LOOPBACK), six)).status == 204
    assert [
        f"host: {host}:{port}".encode() in head.lower()
        for host, head in zip(("[::1]", "six.example"), seen, strict=True)
    ]


async def test_a_redirect_to_a_private_host_is_not_followed(listener):
    port, seen = listener

    async def redirect(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 307 T\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await post(url, Route(LOOPBACK))).status == 307
    assert seen == []


def test_the_system_resolves_as_the_tests_assume():
    assert socket.getaddrinfo("2130706433", 80, type=socket.SOCK_STREAM)[0][4][0] == "127.0.0.1"
