"""Sessions: how one begins, how a form is checked to be of it, how it ends."""

import hmac
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote

from itsdangerous import BadSignature, Signer, TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from pgtrail_web.errors import NotAllowed
from pgtrail_web.viewer import Viewer

SESSION_SECONDS = 12 * 3600


class Token:
    """Authenticates once, and is then replaced.

    :param announce: called with each new token.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._renew()

    def redeem(self, candidate: str) -> bool:
        """Whether it is the token, which is then used up."""
        if not hmac.compare_digest(candidate.encode(errors="replace"), self._token.encode()):
            return False
        self._renew()
        return True

    def _renew(self) -> None:
        self._token = secrets.token_urlsafe(32)
        self._announce(self._token)


class Sessions:
    """Sessions are stored in signed cookies only. Their forms carry a token that is signed too.

    :param secret: signs them; None: a new one, so that a restart ends all sessions.
    :param seconds: how long a session lasts.
    """

    def __init__(self, secret: str | None = None, seconds: int = SESSION_SECONDS) -> None:
        key = secret or secrets.token_urlsafe(32)
        self._cookies = TimestampSigner(key, salt="pgtrail session")
        self._forms = Signer(key, salt="pgtrail form")
        self._seconds = seconds
        self._ended: dict[str, float] = {}

    def current(self, request: Request) -> str | None:
        """The session of a request; None: it has none, or it has ended."""
        cookie = request.cookies.get(_cookie_name(request), "")
        try:
            session = self._cookies.unsign(cookie, max_age=self._seconds).decode()
        except BadSignature:
            return None
        return None if session in self._ended else session

    def begin(self, request: Request, response: Response, session: str | None = None) -> None:
        """Set the cookie of a session, a new one unless one is given."""
        response.set_cookie(
            _cookie_name(request),
            self._cookies.sign(session or new_session()).decode(),
            max_age=self._seconds,
            path=base_of(request) or "/",
            secure=_is_https(request),
            httponly=True,
            # Links from elsewhere have a session; forms from elsewhere do not.
            samesite="lax",
        )

    def end(self, request: Request, response: Response, session: str) -> None:
        """End it, whoever else has its cookie (in this process, the only one that `pgtrail page` has)."""
        now = time.monotonic()
        self._ended = {ended: at for ended, at in self._ended.items() if at > now - self._seconds} | {session: now}
        response.delete_cookie(_cookie_name(request), path=base_of(request) or "/")

    def form_token(self, session: str, viewer: Viewer) -> str:
        """The token of this session's forms, valid for this viewer only."""
        # (The signature alone: a token with the signed value in it would tell the session.)
        return self._forms.get_signature("\0".join((session, viewer.actor or "", viewer.org or ""))).decode()

    def check_form(self, session: str | None, viewer: Viewer, token: object) -> None:
        """Check that a form is of this session and viewer.

        :raises NotAllowed: it is not.
        """
        if session is not None and isinstance(token, str):
            expected = self.form_token(session, viewer)
            if hmac.compare_digest(token.encode(errors="replace"), expected.encode()):
                return
        raise NotAllowed("This form is not of your session, or it is too old.", "Reload the page and send it again.")


def new_session() -> str:
    return secrets.token_urlsafe(16)


def base_of(request: Request) -> str:
    """The path that the page is mounted at, quoted, without a slash at its end."""
    return quote(request.scope.get("root_path", "").rstrip("/"))


def _is_https(request: Request) -> bool:
    """Whether the browser used TLS, to here or to a proxy. (A false header harms only the cookie of who sent it.)"""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))


def _cookie_name(request: Request) -> str:
    # Browsers tell cookies apart by host, not by port: two pages on one machine are two sessions.
    return f"pgtrail_session_{request.url.port or ''}".rstrip("_")
