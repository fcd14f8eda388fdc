"""Destinations: how each fares, and what an administrator can do about it. No secret is read here."""

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgtrail.errors import PgtrailError
from pgtrail_web.database import query, read_frame, rows
from pgtrail_web.errors import NotAllowed, NotFound
from pgtrail_web.page import Page
from pgtrail_web.session import base_of
from pgtrail_web.viewer import Viewer

VERBS = ("pause", "resume", "redrive", "test")


async def show_all(page: Page, request: Request, viewer: Viewer) -> Response:
    return await _shown(page, request, viewer, "destinations.html", None)


async def show(page: Page, request: Request, viewer: Viewer) -> Response:
    return await _shown(page, request, viewer, "destination.html", request.path_params["name"])


async def act(page: Page, request: Request, viewer: Viewer) -> Response:
    name, verb = request.path_params["name"], request.path_params["verb"]
    if verb not in VERBS:
        raise NotFound
    async with page.database.session(viewer, writing=True) as connection:
        frame = await read_frame(connection)
        if not frame["is_admin"]:
            raise NotAllowed(
                "Only an administrator changes destinations.",
                "The page's database role would have to be in audit_admin.",
            )
        if not await rows(connection, "destinations", name=name):
            raise NotFound("There is no such destination.")
        if verb in ("pause", "resume"):
            await connection.execute(query("pause"), {"name": name, "paused": verb == "pause"})
        elif verb == "redrive":
            form = await request.form()
            await connection.execute(query("redrive"), {"name": name, "reason": str(form.get("reason", "")).strip()})
    if verb == "test":
        return await _tested(page, request, viewer, name)
    return RedirectResponse(f"{base_of(request)}/destinations/{quote(name, safe='')}", 303)


async def _tested(page: Page, request: Request, viewer: Viewer, name: str) -> Response:
    if page.tester is None:
        raise NotAllowed("Nothing can be sent from here.", f"Where the worker runs: pgtrail destination test {name}")
    try:
        result, passed = await page.tester(name), True
    except PgtrailError as error:
        result, passed = f"{error.message}. {error.hint or ''}".strip(), False
    return await _shown(page, request, viewer, "destination.html", name, result=result, passed=passed)


async def _shown(
    page: Page, request: Request, viewer: Viewer, template: str, name: str | None, **values: Any
) -> Response:
    async with page.database.session(viewer) as connection:
        frame = await read_frame(connection)
        # Not for a viewer of one organization, whatever role the page connects as.
        if not frame["sees_destinations"]:
            raise NotFound
        found = await rows(connection, "destinations", name=name)
        if name is not None:
            if not found:
                raise NotFound("There is no such destination.")
            values["attempts"] = await rows(connection, "attempts", name=name)
            values["dead_letters"] = await rows(connection, "dead_letters", name=name)
            values["can_test"] = page.tester is not None and frame["can_send"]
        values = {"result": None, "passed": None} | values
        return page.render(request, template, frame=frame, viewer=viewer, destinations=found, **values)
