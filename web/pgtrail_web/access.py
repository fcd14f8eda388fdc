"""Who gets in. The database's roles decide what they see; here it is decided that they are somebody."""

import hmac
import inspect
import secrets
from collections.abc import Awaitable, Callable, Collection
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol
from urllib.parse import unquote

from itsdangerous import BadSignature, Signer, TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from pgtrail_web.errors import NotAllowed
from pgtrail_web.viewer import UTC, Viewer

SESSION_SECONDS = 12 * 3600
ZONE_COOKIE = "pgtrail_zone"

Named = Callable[[Request], str | None] | Callable[[Request], Awaitable[str | None]]
"""What an app that carries the page says of a request."""


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

    :param org: the organization that is shown to a request; None: all that the database role may see.
    :param actor: who it is, for the log.
    """

    needs_session = False

    def __init__(self, org: Named | None = None, actor: Named | None = None) -> None:
        self._org = org
        self._actor = actor

    async def viewer(self, request: Request) -> Viewer:
        """What the app says, which may itself refuse by an exception of its own."""
        org = await _named(self._org, request)
        if self._org is not None and org == "":
            raise NotAllowed("No organization is named for you.")
        return Viewer(org, await _named(self._actor, request), peer(request), agent(request), zone(request))


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
        forwarded = request.headers.get("x-forwarded-for", "").rsplit(",", 1)[-1].strip()
        return Viewer(self._org, names[0].strip()[:500], _address(forwarded) or address, agent(request), zone(request))


async def _named(name: Named | None, request: Request) -> str | None:
    if name is None:
        return None
    said = name(request)
    return await said if inspect.isawaitable(said) else said


def peer(request: Request) -> str | None:
    """The address that the connection comes from."""
    return _address(request.client.host) if request.client else None


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def agent(request: Request) -> str | None:
    """The browser, as it says."""
    return request.headers.get("user-agent", "")[:500] or None


def zone(request: Request) -> str:
    """The browser's time zone, which the page's script has left in a cookie."""
    name = unquote(request.cookies.get(ZONE_COOKIE, UTC))
    known = name.isascii() and len(name) <= 64 and all(c.isalnum() or c in "/_+-" for c in name) and name
    return name if known else UTC


class Token:
    """What lets in once; then there is another.

    :param announce: is told each new one.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._renew()

    def redeem(self, candidate: str) -> bool:
        """Whether it is the one; then it is used up."""
        if not hmac.compare_digest(candidate.encode(), self._token.encode()):
            return False
        self._renew()
        return True

    def _renew(self) -> None:
        self._token = secrets.token_urlsafe(32)
        self._announce(self._token)


class Sessions:
    """Sessions, kept by the browser alone: a signed cookie; and the tokens that prove that a form is of the session.

    :param secret: signs them; None: a new one, so that a restart ends all sessions.
    :param seconds: how long one lasts.
    """

    def __init__(self, secret: str | None = None, seconds: int = SESSION_SECONDS) -> None:
        key = secret or secrets.token_urlsafe(32)
        self._cookies = TimestampSigner(key, salt="pgtrail session")
        self._forms = Signer(key, salt="pgtrail form")
        self._seconds = seconds

    def current(self, request: Request) -> str | None:
        """The session of a request; None: there is none, or it has ended."""
        try:
            return self._cookies.unsign(request.cookies.get(_cookie_name(request), ""), max_age=self._seconds).decode()
        except BadSignature:
            return None

    def begin(self, request: Request, response: Response, session: str | None = None) -> None:
        """Leave a session in the browser, a new one unless one is given."""
        response.set_cookie(
            _cookie_name(request),
            self._cookies.sign(session or new_session()).decode(),
            max_age=self._seconds,
            path=request.scope.get("root_path") or "/",
            secure=is_https(request),
            httponly=True,
            # A link in a mail or a chat leads here; a form from elsewhere does not.
            samesite="lax",
        )

    def form_token(self, session: str) -> str:
        """What a form of this session carries."""
        return self._forms.sign(session).decode()

    def check_form(self, session: str | None, token: object) -> None:
        """Refuse what does not come from a form of this session.

        :raises NotAllowed: it does not.
        """
        try:
            if session is not None and isinstance(token, str) and self._forms.unsign(token).decode() == session:
                return
        except BadSignature:
            pass
        raise NotAllowed("This form is not of your session, or it is too old.", "Reload the page and send it again.")


def new_session() -> str:
    """An id that nobody guesses."""
    return secrets.token_urlsafe(16)


def is_https(request: Request) -> bool:
    """Whether the browser came by TLS, to here or to a proxy. (Who lies about it harms only their own cookie.)"""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))


def _cookie_name(request: Request) -> str:
    # Browsers tell cookies apart by host, not by port: two pages on one machine are two sessions.
    return f"pgtrail_session_{request.url.port or ''}".rstrip("_")
