"""Who may see the page, and as whom. What they see is decided by the roles of the database."""

import inspect
from collections.abc import Awaitable, Callable, Collection
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Protocol
from urllib.parse import unquote
from zoneinfo import available_timezones

from starlette.requests import Request

from pgtrail_web.errors import NotAllowed
from pgtrail_web.viewer import UTC, Viewer

ZONE_COOKIE = "pgtrail_zone"

FromRequest = Callable[[Request], object] | Callable[[Request], Awaitable[object]]
"""Returns an id for a request: a text, or an object that is converted to one, such as a UUID; None: there is none."""

ALL_ORGANIZATIONS: Final = object()
"""In place of an organization's id: whatever the database role may see."""


class Access(Protocol):
    """Decides who the viewer of a request is.

    :raises NotAllowed: the request is refused.
    """

    needs_session: bool
    """Whether a session must have begun (by a token) before anything is shown."""

    async def viewer(self, request: Request) -> Viewer: ...


class Mounted:
    """For a page mounted in another app, which has authenticated the viewer.

    :param org: the organization to show, or ALL_ORGANIZATIONS. Without it, or where it returns None, nothing is shown.
    :param actor: who it is, for the log.
    """

    needs_session = False

    def __init__(self, org: FromRequest | None = None, actor: FromRequest | None = None) -> None:
        self._org = org
        self._actor = actor

    async def viewer(self, request: Request) -> Viewer:
        """As the app says, which may itself raise."""
        org = await _called(self._org, request)
        if org in (None, ""):
            raise NotAllowed("No organization is named for you.")
        actor = await _called(self._actor, request)
        return _viewer(
            request,
            None if org is ALL_ORGANIZATIONS else _text(str(org)),
            None if actor is None else _text(str(actor)),
        )


class Local:
    """With a session that began with a token.

    :param org: the one organization that is shown.
    """

    needs_session = True

    def __init__(self, org: str | None = None) -> None:
        self._org = org

    async def viewer(self, request: Request) -> Viewer:
        """Whoever has the session; in the log, the database role."""
        return _viewer(request, self._org, None)


class Proxied:
    """Behind a proxy that authenticates people and passes their names on.

    :param header: has the name. The proxy must not let clients set it.
    :param proxies: where requests may come from.
    """

    needs_session = False

    def __init__(self, header: str, proxies: Collection[IPv4Network | IPv6Network], org: str | None = None) -> None:
        self._header = header
        self._proxies = proxies
        self._org = org

    async def viewer(self, request: Request) -> Viewer:
        """Whom the proxy names."""
        address = _peer(request)
        if address is None or not any(ip_address(address) in network for network in self._proxies):
            raise NotAllowed("This page is reached only through its proxy.")
        names = request.headers.getlist(self._header)
        # If there are two, one is not the proxy's.
        if len(names) != 1 or not names[0].strip():
            raise NotAllowed("The proxy does not say who you are.", f"It has to set {self._header}, once.")
        actor = _text(_decoded(names[0].strip())[:500])
        # The last address of the last line was added by the proxy itself.
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rsplit(",", 1)[-1].strip()
        return _viewer(request, self._org, actor, _address(forwarded) or address)


async def _called(function: FromRequest | None, request: Request) -> object:
    value = function(request) if function else None
    return await value if inspect.isawaitable(value) else value


def _viewer(request: Request, org: str | None, actor: str | None, ip: str | None = None) -> Viewer:
    user_agent = request.headers.get("user-agent", "")[:500] or None
    return Viewer(org, actor, ip or _peer(request), user_agent, _zone(request))


def _text(text: str) -> str:
    """The text, if Postgres can store it.

    :raises NotAllowed: it can't.
    """
    if "\x00" in text or text.encode(errors="replace") != text.encode(errors="ignore"):
        raise NotAllowed("Your name or your organization's is not a valid text.")
    return text


def _decoded(header: str) -> str:
    """A header as UTF-8, if it is."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def _peer(request: Request) -> str | None:
    return _address(request.client.host) if request.client else None


def _address(text: str) -> str | None:
    try:
        # (Without the zone of a link-local address, which Postgres doesn't know.)
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _zone(request: Request) -> str:
    """The browser's time zone, which the page's script stores in a cookie."""
    name = unquote(request.cookies.get(ZONE_COOKIE, UTC))
    # Only known names: Postgres would take `ABC+25` for a zone, too.
    return name if name in _zones() else UTC


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
