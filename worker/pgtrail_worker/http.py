"""POST over HTTP: no redirects, no proxies, and only to addresses that were checked.

A name is resolved here and nowhere else: its addresses are checked, and the connection goes to one of those that were
checked. So it makes no difference what the name resolves to a moment later.
"""

import asyncio
import math
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

import httpx

from pgtrail_worker import tls
from pgtrail_worker.address import why_forbidden
from pgtrail_worker.hosts import Host
from pgtrail_worker.response import Cause, Response

TIMEOUT_SECONDS = 20.0
"""For a whole request, however slowly its response arrives."""
CONNECT_SECONDS = 5.0
"""For one address; the next one is tried after it."""
MAX_RESPONSE_BYTES = 64 * 1024
"""No more of a body is read, unless more is asked for."""
ADDRESSES_SECONDS = 30.0
"""How long the addresses of a name are kept before it is resolved again."""
PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Route:
    """How one destination is reached.

    :param allowed_networks: networks (CIDR, no host bits) that are not public and allowed nevertheless.
    :param ca_file: authorities (PEM) in place of the system's.
    :param client_cert_file: certificate and key (PEM, not encrypted) to show.
    """

    allowed_networks: tuple[str, ...] = ()
    ca_file: str | None = None
    client_cert_file: str | None = None


class NotSent(httpx.ConnectError):
    """Nothing was sent. The message is for people."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def host_of(url: str) -> Host | None:
    """The host that a request to a URL goes to, parsed as when it is sent; None: the URL is not valid."""
    try:
        parsed = httpx.URL(url)
        name = parsed.raw_host.decode("ascii")
        return Host(name, parsed.port or PORTS[parsed.scheme]) if name else None
    except (httpx.InvalidURL, UnicodeError, KeyError, ValueError):
        return None


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, or of what the system takes for an address, in the system's order.

    :raises OSError: it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PinnedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address that was checked, with the name for TLS and the Host header."""

    def __init__(self, route: Route, resolve: Resolve, clock: Callable[[], float]) -> None:
        self._allowed = [ip_network(network) for network in route.allowed_networks]
        self._route = route
        self._resolve = resolve
        self._clock = clock
        # A look-up takes one of the threads that all destinations share.
        self._looking_up = asyncio.Lock()
        self._known: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}
        self._reached: dict[str, str] = {}
        # One for each name: a pooled connection was verified for the name that it was made for.
        self._transports: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the next address is tried where one does not take the connection."""
        if request.url.scheme not in PORTS or not request.url.host:
            raise NotSent(Cause.UNUSABLE, "it is not a URL of http or https")
        # Raw: as it is in the Host header, not decoded from IDNA.
        host = request.url.raw_host.decode("ascii")
        addresses = await self._addresses(host, request.url.port or PORTS[request.url.scheme])
        # A certificate has no dot at the end of a name.
        name = host.removesuffix(".")
        transport = self._transport(name)
        for address in addresses:
            try:
                response = await transport.handle_async_request(_pinned(request, address, name))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if address == addresses[-1] or tls.error_in(error):
                    raise
            else:
                self._reached[host] = address
                return _inert(response)
        raise NotSent(Cause.UNRESOLVED, f"{host} has no address")

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        """Addresses that were checked. First the one that was reached last: no wait for one that is down."""
        addresses = self._fresh(host, port)
        if addresses is None:
            async with self._looking_up:
                # Meanwhile another request may have looked it up.
                addresses = self._fresh(host, port) or await self._look_up(host, port)
        return sorted(addresses, key=lambda address: address != self._reached.get(host))

    def _fresh(self, host: str, port: int) -> Sequence[str] | None:
        until, addresses = self._known.get((host, port), (-math.inf, ()))
        return addresses if self._clock() < until else None

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        asked = self._clock()
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            message = getattr(error, "strerror", None) or "it can't be looked up"
            raise NotSent(Cause.UNRESOLVED, message) from error
        for address in addresses:
            if reason := why_forbidden(address, self._allowed):
                raise NotSent(Cause.FORBIDDEN, reason)
        self._known[host, port] = asked + ADDRESSES_SECONDS, addresses
        return addresses

    def _transport(self, name: str) -> httpx.AsyncHTTPTransport:
        """Made at the first request, so that a certificate file that is fixed serves the next one."""
        if name not in self._transports:
            try:
                context = tls.context(self._route.ca_file, self._route.client_cert_file)
            except tls.InvalidFile as error:
                raise NotSent(Cause.UNUSABLE, str(error)) from error
            # As many connections as requests in flight; a full pool would look like a receiver that does not respond.
            limits = httpx.Limits(max_connections=None)
            self._transports[name] = httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)
        return self._transports[name]


def new_client(
    route: Route, resolve: Resolve = resolve, clock: Callable[[], float] = time.monotonic
) -> httpx.AsyncClient:
    """A client for one destination: no redirects, no proxies, no cookies.

    :param clock: seconds, for the age of addresses.
    :raises ValueError: a network of the route is invalid.
    """
    return httpx.AsyncClient(
        transport=PinnedTransport(route, resolve, clock),
        timeout=TIMEOUT_SECONDS,
        follow_redirects=False,
        trust_env=False,
    )


async def post(
    client: httpx.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout: float = TIMEOUT_SECONDS,
    max_response_bytes: int = MAX_RESPONSE_BYTES,
) -> Response:
    """Send one request. Whatever goes wrong is in the response; nothing is raised."""
    started = time.monotonic()
    # No step has longer than the whole; connecting has less, to leave time for the next address.
    steps = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
    try:
        async with asyncio.timeout(timeout):
            sent = {**headers, "accept-encoding": "identity"}
            async with client.stream("POST", url, headers=sent, content=body, timeout=steps) as response:
                start = await _start_of(response, max_response_bytes)
        seconds = time.monotonic() - started
        return Response(response.status_code, seconds, retry_after=response.headers.get("retry-after"), body=start)
    except Exception as error:
        cause, detail = _explain(error)
        return Response(None, time.monotonic() - started, cause, detail)


def _pinned(request: httpx.Request, address: str, name: str) -> httpx.Request:
    """The request to an address; its Host header was made of the name."""
    url = request.url.copy_with(host=address)
    extensions = {**request.extensions, "sni_hostname": name}
    return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)


def _inert(response: httpx.Response) -> httpx.Response:
    """Without what httpx would act on by itself: it would even raise for an invalid location."""
    for name in ("location", "set-cookie"):
        response.headers.pop(name, None)
    return response


async def _start_of(response: httpx.Response, max_bytes: int) -> bytes:
    """The whole of a short body, so that the connection can be used again; the beginning of a long one."""
    read = bytearray()
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) > max_bytes:
            break
    return bytes(read[:max_bytes])


def _explain(error: Exception) -> tuple[Cause, str]:
    if isinstance(error, NotSent):
        return error.cause, str(error)
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return Cause.TIMED_OUT, ""
    if untrusted := tls.error_in(error):
        return Cause.UNTRUSTED, tls.reason(untrusted)
    if isinstance(error, httpx.ConnectError):
        return Cause.REFUSED, tls.system_reason(error)
    if isinstance(error, httpx.LocalProtocolError):
        # The message quotes it, token and all.
        return Cause.UNUSABLE, "a header can't be sent"
    if isinstance(error, httpx.TransportError):
        return Cause.BROKEN, ""
    # An invalid host or port: each library below httpx has its own error for it.
    return Cause.UNUSABLE, ""
