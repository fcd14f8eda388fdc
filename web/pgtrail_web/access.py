"""Who gets in. The database's roles decide what they see; here it is decided that they are somebody."""

import inspect
from collections.abc import Awaitable, Callable, Collection
from enum import Enum
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol
from urllib.parse import unquote
from zoneinfo import available_timezones

from starlette.requests import Request

from pgtrail_web.errors import NotAllowed
from pgtrail_web.viewer import UTC, Viewer

ZONE_COOKIE = "pgtrail_zone"

Named = Callable[[Request], object] | Callable[[Request], Awaitable[object]]
"""What an app that carries the page says of a request: an id, as text or as anything that becomes one; None: nobody."""


class Every(Enum):
    """More than one."""

    ORGANIZATION = "every organization"


ALL_ORGANIZATIONS = Every.ORGANIZATION
"""What an app says of a request that may see all that the database role may see."""


class Access(Protocol):
    """Lets a viewer in.

    :raises NotAllowed: it does not.
    """

    needs_session: bool
    """Whether a session must have begun (by a token) before anything is shown."""

    async def viewer(self, request: Request) -> Viewer:
        """Who it is."""
        ...


class Carried:
    """As a part of an app that has let the viewer in itself.

    :param org: the organization that is shown to a request, or ALL_ORGANIZATIONS; where it gives None, or is not given,
        nothing is shown.
    :param actor: who it is, for the log.
    """

    needs_session = False

    def __init__(self, org: Named | None = None, actor: Named | None = None) -> None:
        self._org = org
        self._actor = actor

    async def viewer(self, request: Request) -> Viewer:
        """What the app says, which may itself refuse by an exception of its own."""
        org = await _said(self._org, request) if self._org else None
        if org in (None, ""):
            raise NotAllowed("No organization is named for you.")
        actor = await _said(self._actor, request) if self._actor else None
        return Viewer(
            # (An id may well be a UUID.)
            None if org is ALL_ORGANIZATIONS else _text(str(org)),
            None if actor is None else _text(str(actor)),
            peer(request), agent(request), zone(request),
        )  # fmt: skip


class Local:
    """With a session that a token of the URL has begun.

    :param org: the one organization that is shown.
    """

    needs_session = True

    def __init__(self, org: str | None = None) -> None:
        self._org = org

    async def viewer(self, request: Request) -> Viewer:
        """Whoever has the session; the log has the database role."""
        return Viewer(self._org, None, peer(request), agent(request), zone(request))


class Proxied:
    """Behind a proxy that lets people in and says who they are.

    :param header: what the proxy says it in, and lets nobody else say.
    :param proxies: where requests may come from.
    """

    needs_session = False

    def __init__(self, header: str, proxies: Collection[IPv4Network | IPv6Network], org: str | None = None) -> None:
        self._header = header
        self._proxies = proxies
        self._org = org

    async def viewer(self, request: Request) -> Viewer:
        """Whom the proxy names."""
        address = peer(request)
        if address is None or not any(ip_address(address) in network for network in self._proxies):
            raise NotAllowed("This page is reached through its proxy alone.")
        names = request.headers.getlist(self._header)
        # Two: one of them is not the proxy's.
        if len(names) != 1 or not names[0].strip():
            raise NotAllowed("The proxy does not say who you are.", f"It has to set {self._header}, once.")
        # The last one of the last line is what the proxy itself has added.
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rsplit(",", 1)[-1].strip()
        actor = _text(_decoded(names[0].strip())[:500])
        return Viewer(self._org, actor, _address(forwarded) or address, agent(request), zone(request))


async def _said(name: Named, request: Request) -> object:
    said = name(request)
    return await said if inspect.isawaitable(said) else said


def _text(text: str) -> str:
    """What Postgres takes as a text.

    :raises NotAllowed: it is none.
    """
    if "\x00" in text or text.encode(errors="replace") != text.encode(errors="ignore"):
        raise NotAllowed("Your name or your organization's is no text.")
    return text


def _decoded(header: str) -> str:
    """A header as it was meant: UTF-8, where it is."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def peer(request: Request) -> str | None:
    """The address that the connection comes from."""
    return _address(request.client.host) if request.client else None


def _address(text: str) -> str | None:
    try:
        # (Without the zone of a link-local one, which Postgres doesn't know.)
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def agent(request: Request) -> str | None:
    """The browser, as it says."""
    return request.headers.get("user-agent", "")[:500] or None


def zone(request: Request) -> str:
    """The browser's time zone, which the page's script has left in a cookie."""
    name = unquote(request.cookies.get(ZONE_COOKIE, UTC))
    # Known names alone: Postgres would take `ABC+25` for a zone, too.
    return name if name in _zones() else UTC


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
