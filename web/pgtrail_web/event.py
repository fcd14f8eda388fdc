"""One event: what changed field by field, which connection wrote it, its seal, its neighbours."""

from itertools import islice

from psycopg.rows import DictRow
from starlette.requests import Request
from starlette.responses import Response

from pgtrail.details import LONGEST_UNFOLDED, State, compare, indented, printable_json
from pgtrail.text import printable
from pgtrail_web.database import Connection, read_frame, row, rows
from pgtrail_web.errors import NotFound
from pgtrail_web.page import Page
from pgtrail_web.viewer import Viewer

MAX_FIELDS = 2_000
"""Rows of the comparison; the JSON file has the rest."""
MAX_JSON_CHARS = 100_000
"""Longer JSON is not in the page itself."""


async def show(page: Page, request: Request, viewer: Viewer) -> Response:
    """The event's page; with ``verify`` in the query its seal is verified."""
    async with page.database.session(viewer) as connection:
        event = await _event(connection, request)
        problems = await rows(connection, "check_event", id=event["id"]) if "verify" in request.query_params else None
        key = {name: event[name] for name in ("node", "resource_id", "resource_type", "utc_time", "id")}
        found = compare(await rows(connection, "diff", id=event["id"]), event["operation"])
        fields = list(islice(found, MAX_FIELDS))
        states = {field.state for field in fields}
        json = await _json(connection, event["id"])
        return page.render(
            request,
            "event.html",
            frame=await read_frame(connection),
            viewer=viewer,
            event=event,
            seal=await row(connection, "seal_of_event", id=event["id"]),
            problems=problems,
            json=printable_json(indented(json)) if len(json) <= MAX_JSON_CHARS else None,
            neighbours=await row(connection, "neighbours", **key),
            fields=fields,
            has_more=next(found, None) is not None,
            can_hide=State.SAME in states and len(states) > 1,
            max_unfolded_chars=LONGEST_UNFOLDED,
        )


async def as_json(page: Page, request: Request, viewer: Viewer) -> Response:
    """The event as other programs get it."""
    async with page.database.session(viewer) as connection:
        event = await _event(connection, request)
        return Response(await _json(connection, event["id"]), media_type="application/json")


async def _json(connection: Connection, event_id: int) -> str:
    (found,) = await rows(connection, "event_json", id=event_id)
    return str(found["json"])


async def _event(connection: Connection, request: Request) -> DictRow:
    """The event of the URL.

    :raises NotFound: there is none, or it belongs to another organization.
    """
    event_id = await _event_id(connection, request.path_params["id"])
    found = None if event_id is None else await row(connection, "event", id=event_id)
    if found is None:
        raise NotFound(
            "There is no such event.",
            "It may belong to an organization that you don't see, or retention has dropped it.",
        )
    return found


async def _event_id(connection: Connection, name: str) -> int | None:
    """The id of an event by its name: ``42`` or ``evt_42``, on a hub ``eu1:42`` or ``evt_eu1_42``.

    None: there is none, or not for this viewer.

    :raises NotFound: the name is invalid.
    """
    digits = name.removeprefix("evt_")
    if digits.isascii() and digits.isdigit() and len(digits) < 19:
        return int(digits)
    found = await row(connection, "event_id", event_name=printable(name))
    return None if found is None else found["id"]
