"""CSV and JSON lines of the events that pass the filters, as a stream; recorded in the log before the first byte."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, LiteralString

import anyio
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from sse_starlette.sse import AppStatus
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from pgtrail_web.database import Connection, query, row
from pgtrail_web.errors import InvalidRequest, PageError
from pgtrail_web.filters import Filters, parse
from pgtrail_web.http import unless_disconnected
from pgtrail_web.page import Page
from pgtrail_web.viewer import Viewer

FILES = {
    "csv": ("audit-{day}.csv", "text/csv; charset=utf-8"),
    "fields": ("audit-{day}-fields.csv", "text/csv; charset=utf-8"),
    "ndjson": ("audit-{day}.ndjson", "application/x-ndjson"),
}
"""The name and the type of the file, by its format."""
CHUNK_BYTES = 1 << 16
STALLED_SECONDS = 60.0
"""How long a reader may read nothing."""
MAX_SECONDS = 3600.0
"""How long an export may last: until it ends, vacuum removes nothing that was deleted meanwhile."""


async def progress(page: Page, request: Request, _viewer: Viewer) -> Response:
    found = page.exports.get(request.path_params["id"])
    return JSONResponse({"begun": found is not None} | (asdict(found) if found else {}))


async def export(page: Page, request: Request, viewer: Viewer) -> Response:
    """A file of the events that pass the form's filters."""
    form = await request.form()
    pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    given = dict(pairs)
    format = given.get("format", "csv")
    if format not in FILES:
        raise InvalidRequest(f'There is no format "{format}".', "It is csv, fields or ndjson.")
    name, media_type = FILES[format]
    chunks = _chunks(page, viewer, parse(pairs), format, given.get("export_id", "")[:40])
    # An error before the first byte is a page, not half a file.
    first = await unless_disconnected(request, _next(chunks))
    headers = {"content-disposition": f'attachment; filename="{name.format(day=datetime.now(UTC).date())}"'}
    return Download(first, chunks, media_type=media_type, headers=headers)


async def _next(chunks: AsyncGenerator[bytes]) -> bytes:
    return await anext(chunks, b"")


class Download(StreamingResponse):
    """Sends chunks until there are no more, or the reader disconnects or stalls.

    The chunks hold a connection and a snapshot of the database. If they end early, the response is not ended as HTTP
    requires, so that nobody takes it for the whole file.
    """

    def __init__(
        self, first: bytes, chunks: AsyncGenerator[bytes], *, stalled_seconds: float = STALLED_SECONDS, **options: Any
    ) -> None:
        super().__init__(_chained(first, chunks), **options)
        self._chunks = chunks
        self._stalled_seconds = stalled_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            # A server that shuts down would log this as an error.
            if not AppStatus.should_exit:
                raise

    async def stream_response(self, send: Send) -> None:
        """Send the chunks, with a time limit for each and for all."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._stalled_seconds):
                await send(message)

        try:
            async with asyncio.timeout(MAX_SECONDS):
                await super().stream_response(send_in_time)
        except (TimeoutError, PageError):
            return
        finally:
            with anyio.CancelScope(shield=True):
                await self._chunks.aclose()


async def _chained(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


async def _chunks(page: Page, viewer: Viewer, filters: Filters, format: str, export_id: str) -> AsyncGenerator[bytes]:
    """The file in chunks: the server sends one row at a time."""
    with page.exports.slot(viewer):
        async with page.database.session(viewer, writing=True, milliseconds=0) as connection:
            begun = await row(connection, "begin_export", filter=Jsonb(filters.as_json()), by_field=format == "fields")
        assert begun is not None
        with page.exports.tracked(export_id, begun["events"]) as progress:
            async with page.database.session(viewer, milliseconds=0) as connection:
                chunk = bytearray()
                # (Closed before the transaction ends, which would wait for the rest of the rows.)
                async with aclosing(_lines(connection, begun, format)) as lines:
                    async for line in lines:
                        chunk += line
                        # (There may be more fields than events.)
                        progress.sent = min(progress.sent + 1, progress.events)
                        if len(chunk) >= CHUNK_BYTES:
                            yield bytes(chunk)
                            chunk.clear()
                    yield bytes(chunk)
                progress.done = True


def _lines(connection: Connection, begun: DictRow, format: str) -> AsyncGenerator[bytes]:
    return _ndjson(connection, begun["passing"]) if format == "ndjson" else _csv(connection, begun["csv"])


async def _csv(connection: Connection, statement: LiteralString) -> AsyncGenerator[bytes]:
    # The statement was written by SQL, which has quoted what is in it.
    async with connection.cursor().copy(statement) as copy:
        async for line in copy:
            yield bytes(line)


async def _ndjson(connection: Connection, passing: str) -> AsyncGenerator[bytes]:
    cursor: Any = connection.cursor()
    async for found in cursor.stream(query("ndjson"), {"passing": passing}):
        yield found["json"].encode() + b"\n"
