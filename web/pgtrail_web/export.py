"""CSV and JSON lines of exactly what is filtered, as a stream; recorded before the first byte leaves."""

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, LiteralString, cast

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from pgtrail_web.database import Connection, query, row
from pgtrail_web.errors import NotUnderstood, from_database
from pgtrail_web.filters import parse
from pgtrail_web.log import as_wanted
from pgtrail_web.viewer import Viewer

if TYPE_CHECKING:
    from pgtrail_web.page import Page

TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
PIECE_BYTES = 1 << 16
MOST_REMEMBERED = 100


@dataclass
class Progress:
    """How far an export is."""

    events: int
    sent: int = 0
    done: bool = False


class Running:
    """The exports of this process and how far they are: a hint for whoever waits, and nothing else."""

    def __init__(self) -> None:
        self._progress: OrderedDict[str, Progress] = OrderedDict()

    @staticmethod
    def new_id() -> str:
        """What a form gives its export to be asked for."""
        return secrets.token_urlsafe(12)

    def begin(self, export_id: str, events: int) -> Progress:
        """An export that has begun."""
        progress = self._progress[export_id] = Progress(events)
        while len(self._progress) > MOST_REMEMBERED:
            self._progress.popitem(last=False)
        return progress

    def get(self, export_id: str) -> Progress | None:
        """How far it is; None: it has not begun, or was long ago."""
        return self._progress.get(export_id)


async def progress(page: "Page", request: Request, _viewer: Viewer) -> Response:
    """How far an export is."""
    found = page.exports.get(request.path_params["id"])
    if found is None:
        return JSONResponse({"begun": False})
    return JSONResponse({"begun": True, "events": found.events, "sent": found.sent, "done": found.done})


async def export(page: "Page", request: Request, viewer: Viewer) -> Response:
    """A file of what the form's filters let through."""
    form = await request.form()
    pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    kind = dict(pairs).get("format", "csv")
    if kind not in TYPES:
        raise NotUnderstood(f'There is no format "{kind}".', "It is csv or ndjson.")
    filters = parse(pairs).but(before=None)
    async with page.database.session(viewer, writing=True, milliseconds=0) as connection:
        wanted = await as_wanted(connection, filters)
        counted = await row(connection, "count", wanted=wanted)
        events: int = counted["events"] if counted else 0
        await connection.execute(query("record_export"), {"wanted": wanted, "events": events})
    running = page.exports.begin(str(dict(pairs).get("export_id", ""))[:40], events)
    pieces = _pieces(page, viewer, wanted, kind, running)
    # What goes wrong before the first byte is a page, not half a file.
    first = await anext(pieces, b"")
    return StreamingResponse(
        _chained(first, pieces),
        media_type=TYPES[kind],
        headers={"content-disposition": f'attachment; filename="audit-{datetime.now(UTC):%Y-%m-%d}.{kind}"'},
    )


async def _chained(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


async def _pieces(page: "Page", viewer: Viewer, wanted: str, kind: str, running: Progress) -> AsyncIterator[bytes]:
    """The file in pieces of some size: the server sends one row at a time."""
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(page.database.session(viewer, milliseconds=0))
        piece = bytearray()
        try:
            async for line in (_csv if kind == "csv" else _ndjson)(connection, wanted):
                piece += line
                running.sent += 1
                if len(piece) >= PIECE_BYTES:
                    yield bytes(piece)
                    piece.clear()
        except psycopg.Error as error:
            raise from_database(error) from error
        running.done = True
        yield bytes(piece)


async def _csv(connection: Connection, wanted: str) -> AsyncIterator[bytes]:
    found = await row(connection, "export_statement", wanted=wanted)
    assert found is not None
    # SQL has written it, and quoted what is in it.
    async with connection.cursor().copy(cast(LiteralString, found["statement"])) as copy:
        async for line in copy:
            yield bytes(line)


async def _ndjson(connection: Connection, wanted: str) -> AsyncIterator[bytes]:
    cursor: Any = connection.cursor()
    async for found in cursor.stream(query("ndjson"), {"wanted": wanted}):
        yield found["json"].encode() + b"\n"
