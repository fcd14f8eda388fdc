"""The app: routes, and what is the same for each of them: who looks, errors as pages, headers."""

import math
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pgtrail.details import behind
from pgtrail.text import printable
from pgtrail_web import destinations, event, export, live, log
from pgtrail_web.access import Access, Carried, Named
from pgtrail_web.database import Database
from pgtrail_web.errors import DatabaseAway, Gone, NotAllowed, NotFound, NotUnderstood, PageError
from pgtrail_web.filters import Filters, node_label
from pgtrail_web.http import HEADERS, Guarded, while_somebody_waits
from pgtrail_web.live import Listener
from pgtrail_web.session import Sessions, Token, base_of, new_session
from pgtrail_web.viewer import Viewer

Handler = Callable[["Page", Request, Viewer], Awaitable[Response]]
Tester = Callable[[str], Awaitable[str]]
"""Sends a ping to a destination, by its name, and says in one line what came back.

:raises PageError: it was not taken.
"""


@dataclass
class Page:
    """What the handlers share.

    :param actions: those that can be asked for, and until when that is held to be so (as time.monotonic() has it).
    """

    database: Database
    access: Access
    sessions: Sessions
    token: Token | None = None
    tester: Tester | None = None
    exports: export.Running = field(default_factory=export.Running)
    actions: tuple[float, list[str]] = (-math.inf, [])
    templates: Environment = field(default_factory=lambda: _templates())

    def __post_init__(self) -> None:
        self.listener = Listener(self.database.conninfo)

    def render(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page out of a template."""
        session, viewer = request.state.session, getattr(request.state, "viewer", None)
        categories = values["frame"]["categories"] if "frame" in values else []
        text = self.templates.get_template(template).render(
            base=base_of(request),
            form_token=self.sessions.form_token(session, viewer) if session and viewer else "",
            can_sign_out=self.access.needs_session,
            colours={category["name"]: (1 + place) % COLOURS for place, category in enumerate(categories)},
            **values,
        )
        return HTMLResponse(text, status)


COLOURS = 12


def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("pgtrail_web"),
        # What a user controls is text, whatever stands in it.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": printable, "node": node_label}
    made.globals |= {"empty": Filters(), "behind": behind}
    return made


def app(
    dsn: str = "",
    org: Named | None = None,
    *,
    actor: Named | None = None,
    secret: str | None = None,
    access: Access | None = None,
    sessions: Sessions | None = None,
    token: Token | None = None,
    tester: Tester | None = None,
) -> Starlette:
    """The Audit page as an ASGI app, to be mounted in another: ``app.mount("/audit", pgtrail_web.app(dsn, org=…))``.

    The app that carries it lets people in; what they see is what the database role of ``dsn`` may see (audit_auditor,
    audit_reader), confined to the organization of ``org`` by row-level security.

    :param dsn: as libpq takes it; what it leaves out libpq's own variables say.
    :param org: gives a request's organization, or ALL_ORGANIZATIONS. Plain or async; None, or an exception of its own,
        refuses.
    :param actor: gives who it is, as the log has it when they export; None: the database role.
    :param secret: signs the session's cookie and forms. Give one where several processes serve the page.
    :param access, sessions, token, tester: what ``pgtrail page`` puts in their place.
    """
    page = Page(Database(dsn), access or Carried(org, actor), sessions or Sessions(secret), token, tester)

    async def broken(request: Request, _: Exception) -> Response:
        request.state.session = None
        response = _error_page(page, request, PageError(hint="Whoever runs it finds the reason in its log."))
        response.headers.update(HEADERS)
        return response

    def route(path: str, handler: Handler, *methods: str) -> Route:
        async def endpoint(request: Request) -> Response:
            answer = _answer(page, handler, request)
            # (A stream and a form listen for themselves.)
            if request.method == "POST" or handler is live.arrivals:
                return await answer
            try:
                return await while_somebody_waits(request, answer)
            except Gone as gone:
                return Response(status_code=gone.status)

        return Route(path, endpoint, methods=list(methods or ("GET",)))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        yield
        await page.listener.close()
        await page.database.close()

    return Starlette(
        routes=[
            route("/", log.show),
            route("/events/{id}", event.show),
            route("/events/{id}/json", event.as_json),
            route("/export", export.export, "POST"),
            route("/exports/{id}", export.progress),
            route("/live", live.arrivals),
            route("/destinations", destinations.show_all),
            route("/destinations/{name}", destinations.show),
            route("/destinations/{name}/{verb}", destinations.act, "POST"),
            route("/sign-in", _sign_in, "POST"),
            route("/sign-out", _sign_out, "POST"),
            Mount("/static", StaticFiles(packages=[("pgtrail_web", "static")])),
            route("/{path:path}", _nothing),
        ],
        middleware=[Middleware(Guarded)],
        lifespan=lifespan,
        exception_handlers={Exception: broken},
    )


async def _answer(page: Page, handler: Handler, request: Request) -> Response:
    session = page.sessions.current(request)
    begun = session is None and not page.access.needs_session
    request.state.session = new_session() if begun else session
    try:
        response = await _admitted(page, handler, request, session)
    except PageError as error:
        return _error_page(page, request, error)
    if begun:
        page.sessions.begin(request, response, request.state.session)
    return response


async def _admitted(page: Page, handler: Handler, request: Request, session: str | None) -> Response:
    if page.token is not None and request.method == "GET" and "token" in request.query_params:
        return _redeemed(page, request, request.query_params["token"], session)
    if page.access.needs_session and session is None and handler is not _sign_in:
        raise NotSignedIn
    viewer = request.state.viewer = await page.access.viewer(request)
    if request.method == "POST" and handler is not _sign_in:
        page.sessions.check_form(session, viewer, (await _form(request)).get("csrf"))
    return await handler(page, request, viewer)


class NotSignedIn(NotAllowed):
    """You are not signed in, or your session has ended."""


def _redeemed(page: Page, request: Request, token: str, session: str | None) -> Response:
    fits = page.token is not None and page.token.redeem(token)
    # Whoever is in already may follow the old address again; that makes their session no longer.
    if session is None and not fits:
        raise NotSignedIn("This token is wrong, or has been used.")
    response = RedirectResponse(str(request.url.remove_query_params("token").replace(scheme="", netloc="")), 303)
    if session is None:
        page.sessions.begin(request, response)
    return response


async def _sign_in(page: Page, request: Request, _viewer: Viewer) -> Response:
    """A token that was typed in."""
    form = await _form(request)
    if page.token is None:
        raise NotFound
    if not page.token.redeem(str(form.get("token", "")).strip()):
        raise NotSignedIn("This token is wrong, or has been used.")
    response = RedirectResponse(f"{base_of(request)}/", 303)
    page.sessions.begin(request, response)
    return response


async def _sign_out(page: Page, request: Request, _viewer: Viewer) -> Response:
    if page.token is None:
        raise NotFound
    response = page.render(request, "sign_in.html", error="You have signed out.")
    page.sessions.end(request, response, request.state.session)
    return response


async def _form(request: Request) -> FormData:
    try:
        return await request.form(max_files=0, max_fields=100)
    except UnicodeError as error:
        raise NotUnderstood("This form is no text.", "Send it as UTF-8.") from error


async def _nothing(_page: Page, _request: Request, _viewer: Viewer) -> Response:
    raise NotFound


def _error_page(page: Page, request: Request, error: PageError) -> Response:
    template = "sign_in.html" if isinstance(error, NotSignedIn) else "error.html"
    response = page.render(request, template, error.status, error=error, comes_back=isinstance(error, DatabaseAway))
    if isinstance(error, DatabaseAway):
        response.headers["retry-after"] = "5"
    return response
