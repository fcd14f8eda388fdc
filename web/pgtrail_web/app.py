"""The ASGI app: routes, and what is done for each request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from pgtrail_web import destinations, event, export, live, log
from pgtrail_web.access import Access, FromRequest, Mounted
from pgtrail_web.database import Database
from pgtrail_web.errors import ClientDisconnected, NotFound, PageError
from pgtrail_web.http import HEADERS, SecurityHeaders, unless_disconnected
from pgtrail_web.page import Handler, Page, Tester
from pgtrail_web.session import Sessions, Token, new_session
from pgtrail_web.sign_in import admit, sign_in, sign_out
from pgtrail_web.viewer import Viewer


def app(
    dsn: str = "",
    org: FromRequest | None = None,
    *,
    actor: FromRequest | None = None,
    secret: str | None = None,
    access: Access | None = None,
    sessions: Sessions | None = None,
    token: Token | None = None,
    tester: Tester | None = None,
) -> Starlette:
    """The Audit page as an ASGI app, to be mounted in another: ``app.mount("/audit", pgtrail_web.app(dsn, org=…))``.

    The other app authenticates people. They see what the database role of ``dsn`` may see (audit_auditor,
    audit_reader), restricted to the organization of ``org`` by row-level security.

    :param dsn: as libpq takes it; what it does not set is read from libpq's own variables.
    :param org: returns a request's organization, or ALL_ORGANIZATIONS. Plain or async. If it returns None, or raises,
        nothing is shown.
    :param actor: returns who it is, for the log of exports; None: the database role.
    :param secret: signs the session's cookie and forms. Set it if several processes serve the page.
    :param access, sessions, token, tester: what ``pgtrail page`` uses instead of the defaults.
    """
    page = Page(Database(dsn), access or Mounted(org, actor), sessions or Sessions(secret), token, tester)

    async def internal_error(request: Request, _: Exception) -> Response:
        request.state.session = None
        response = page.render_error(request, PageError(hint="The reason is in the server's log."))
        response.headers.update(HEADERS)
        return response

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await page.close()

    return Starlette(
        routes=_routes(page),
        middleware=[Middleware(SecurityHeaders)],
        lifespan=lifespan,
        exception_handlers={Exception: internal_error},
    )


def _routes(page: Page) -> list[BaseRoute]:
    return [
        _route(page, "/", log.show),
        _route(page, "/events/{id}", event.show),
        _route(page, "/events/{id}/json", event.as_json),
        _route(page, "/export", export.export, "POST"),
        _route(page, "/exports/{id}", export.progress),
        _route(page, "/live", live.arrivals),
        _route(page, "/destinations", destinations.show_all),
        _route(page, "/destinations/{name}", destinations.show),
        _route(page, "/destinations/{name}/{verb}", destinations.act, "POST"),
        _route(page, "/sign-in", sign_in, "POST"),
        _route(page, "/sign-out", sign_out, "POST"),
        Mount("/static", StaticFiles(packages=[("pgtrail_web", "static")])),
        _route(page, "/{path:path}", _not_found),
    ]


def _route(page: Page, path: str, handler: Handler, method: str = "GET") -> Route:
    async def endpoint(request: Request) -> Response:
        response = _respond(page, handler, request)
        # (A stream and a form read from the connection themselves.)
        if method == "POST" or handler is live.arrivals:
            return await response
        try:
            return await unless_disconnected(request, response)
        except ClientDisconnected as error:
            return Response(status_code=error.status)

    return Route(path, endpoint, methods=[method])


async def _respond(page: Page, handler: Handler, request: Request) -> Response:
    session = page.sessions.current(request)
    begins = session is None and not page.access.needs_session
    request.state.session = new_session() if begins else session
    try:
        response = await admit(page, handler, request, session)
    except PageError as error:
        return page.render_error(request, error)
    if begins:
        page.sessions.begin(request, response, request.state.session)
    return response


async def _not_found(_page: Page, _request: Request, _viewer: Viewer) -> Response:
    raise NotFound
