"""Who gets in. The database's roles decide what they see; here it is decided that they are somebody."""

import hmac
import inspect
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol
from urllib.parse import quote, unquote

from itsdangerous import BadSignature, Signer, TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from pgtrail_web.errors import NotAllowed
from pgtrail_web.viewer import UTC, Viewer

SESSION_SECONDS = 12 * 3600
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

    :param org: the organization that is shown to a request, or ALL_ORGANIZATIONS; nothing is shown where it gives None.
        Not given at all: all that the database role may see.
    :param actor: who it is, for the log.
    """

    needs_session = False

    def __init__(self, org: Named | None = None, actor: Named | None = None) -> None:
        self._org = org
        self._actor = actor

    async def viewer(self, request: Request) -> Viewer:
        """What the app says, which may itself refuse by an exception of its own."""
        org = ALL_ORGANIZATIONS if self._org is None else await _said(self._org, request)
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
    # Names of places alone: `ABC+25` would be a zone too, of Postgres' own.
    is_place = name.isascii() and len(name) <= 64 and "/" in name and all(c.isalnum() or c in "/_+-" for c in name)
    return name if is_place else UTC


class Token:
    """What lets in once; then there is another.

    :param announce: is told each new one.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._renew()

    def redeem(self, candidate: str) -> bool:
        """Whether it is the one; then it is used up."""
        if not hmac.compare_digest(candidate.encode(errors="replace"), self._token.encode()):
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
        self._ended: dict[str, float] = {}

    def current(self, request: Request) -> str | None:
        """The session of a request; None: there is none, or it has ended."""
        try:
            session = self._cookies.unsign(
                request.cookies.get(_cookie_name(request), ""), max_age=self._seconds
            ).decode()
        except BadSignature:
            return None
        return None if session in self._ended else session

    def begin(self, request: Request, response: Response, session: str | None = None) -> None:
        """Leave a session in the browser, a new one unless one is given."""
        response.set_cookie(
            _cookie_name(request),
            self._cookies.sign(session or new_session()).decode(),
            max_age=self._seconds,
            path=base_of(request) or "/",
            secure=is_https(request),
            httponly=True,
            # A link in a mail or a chat leads here; a form from elsewhere does not.
            samesite="lax",
        )

    def end(self, request: Request, response: Response, session: str) -> None:
        """End it, whoever else has its cookie (in this process, the only one that `pgtrail page` has)."""
        now = time.monotonic()
        self._ended = {ended: at for ended, at in self._ended.items() if at > now - self._seconds} | {session: now}
        response.delete_cookie(_cookie_name(request), path=base_of(request) or "/")

    def form_token(self, session: str, viewer: Viewer) -> str:
        """What a form of this session carries, as long as it is the same viewer's."""
        # (Not before what it signs: that would be told too.)
        return self._forms.get_signature("\0".join((session, viewer.actor or "", viewer.org or ""))).decode()

    def check_form(self, session: str | None, viewer: Viewer, token: object) -> None:
        """Refuse what does not come from a form of this session and viewer.

        :raises NotAllowed: it does not.
        """
        if session is not None and isinstance(token, str):
            expected = self.form_token(session, viewer)
            if hmac.compare_digest(token.encode(errors="replace"), expected.encode()):
                return
        raise NotAllowed("This form is not of your session, or it is too old.", "Reload the page and send it again.")


def new_session() -> str:
    """An id that nobody guesses."""
    return secrets.token_urlsafe(16)


def base_of(request: Request) -> str:
    """The path that the page is mounted at, as it stands in a URL; without a slash at its end."""
    return quote(request.scope.get("root_path", "").rstrip("/"))


def is_https(request: Request) -> bool:
    """Whether the browser came by TLS, to here or to a proxy. (Who lies about it harms only their own cookie.)"""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))


def _cookie_name(request: Request) -> str:
    # Browsers tell cookies apart by host, not by port: two pages on one machine are two sessions.
    return f"pgtrail_session_{request.url.port or ''}".rstrip("_")
