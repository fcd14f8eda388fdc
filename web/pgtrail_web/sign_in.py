"""Who may use a handler: sign-in by a token, sign-out, and the check of each form."""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgtrail_web.errors import InvalidRequest, NotFound, NotSignedIn
from pgtrail_web.page import Handler, Page
from pgtrail_web.session import Token, base_of
from pgtrail_web.viewer import Viewer


async def admit(page: Page, handler: Handler, request: Request, session: str | None) -> Response:
    """The handler's response, if the request has what the page needs: a session, and in a form its token.

    :raises NotAllowed: it has not.
    """
    if page.token is not None and request.method == "GET" and "token" in request.query_params:
        return _redeem(page, page.token, request, session)
    if page.access.needs_session and session is None and handler is not sign_in:
        raise NotSignedIn
    viewer = request.state.viewer = await page.access.viewer(request)
    if request.method == "POST" and handler is not sign_in:
        page.sessions.check_form(session, viewer, (await _form(request)).get("csrf"))
    return await handler(page, request, viewer)


async def sign_in(page: Page, request: Request, _viewer: Viewer) -> Response:
    """Begin a session with a token that was typed in."""
    form = await _form(request)
    if page.token is None:
        raise NotFound
    if not page.token.redeem(str(form.get("token", "")).strip()):
        raise NotSignedIn("This token is wrong, or has been used.")
    response = RedirectResponse(f"{base_of(request)}/", 303)
    page.sessions.begin(request, response)
    return response


async def sign_out(page: Page, request: Request, _viewer: Viewer) -> Response:
    if page.token is None:
        raise NotFound
    response = page.render(request, "sign_in.html", error="You have signed out.")
    page.sessions.end(request, response, request.state.session)
    return response


def _redeem(page: Page, token: Token, request: Request, session: str | None) -> Response:
    is_valid = token.redeem(request.query_params["token"])
    # Whoever is signed in may follow the old address again; that does not extend the session.
    if session is None and not is_valid:
        raise NotSignedIn("This token is wrong, or has been used.")
    response = RedirectResponse(str(request.url.remove_query_params("token").replace(scheme="", netloc="")), 303)
    if session is None:
        page.sessions.begin(request, response)
    return response


async def _form(request: Request) -> FormData:
    try:
        return await request.form(max_files=0, max_fields=100)
    except UnicodeError as error:
        raise InvalidRequest("This form is not valid text.", "Send it as UTF-8.") from error
