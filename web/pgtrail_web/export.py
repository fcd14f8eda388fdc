"""CSV and JSON lines of exactly what is filtered, as a stream; recorded before the first byte leaves."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, LiteralString

import anyio
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from sse_starlette.sse import AppStatus
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from pgtrail_web.database import MOST_CONNECTIONS, Connection, query, row
from pgtrail_web.errors import Busy, NotUnderstood, PageError
from pgtrail_web.filters import Filters, parse
from pgtrail_web.http import while_somebody_waits
from pgtrail_web.shares import Key, key_of
from pgtrail_web.viewer import Viewer

if TYPE_CHECKING:
    from pgtrail_web.page import Page

TYPES = {
    "csv": "text/csv; charset=utf-8",
    "fields": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
}
NAMES = {"csv": "audit-{day}.csv", "fields": "audit-{day}-fields.csv", "ndjson": "audit-{day}.ndjson"}
PIECE_BYTES = 1 << 16
MOST_REMEMBERED = 100
MOST_AT_ONCE = MOST_CONNECTIONS // 2
MOST_OF_ONE = 2
"""Exports of one viewer, who goes on reading meanwhile."""
STALLED_SECONDS = 60.0
"""So long a reader may take nothing."""
LONGEST_SECONDS = 3600.0
"""So long an export may last: all the while vacuum leaves what has died in the application's tables."""


@dataclass
class Progress:
    """How far an export is."""

    events: int
    sent: int = 0
    done: bool = False
    ended: bool = False


class Running:
    """The exports of this process and how far they are: a hint for whoever waits, and nothing else."""

    def __init__(self) -> None:
        self._progress: OrderedDict[str, Progress] = OrderedDict()
        self._under_way: Counter[Key] = Counter()

    @contextmanager
    def place(self, viewer: Viewer) -> Iterator[None]:
        """Room for one more.

        :raises Busy: as many are under way as there may be: the others leave no connection to those who read.
        """
        key = key_of(viewer)
        if self._under_way[key] >= MOST_OF_ONE:
            raise Busy(f"{MOST_OF_ONE} of your exports are under way.", "Wait until one has ended, and try again.")
        if self._under_way.total() >= MOST_AT_ONCE:
            raise Busy(f"{MOST_AT_ONCE} exports are under way.", "Wait until one has ended, and try again.")
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way -= Counter([key])

    @contextmanager
    def watched(self, export_id: str, events: int) -> Iterator[Progress]:
        """An export that has begun, until it ends."""
        progress = self._progress[export_id] = Progress(events)
        while len(self._progress) > MOST_REMEMBERED:
            self._progress.popitem(last=False)
        try:
            yield progress
        finally:
            progress.ended = True

    def get(self, export_id: str) -> Progress | None:
        """How far it is; None: it has not begun, or was long ago."""
        return self._progress.get(export_id)


async def progress(page: "Page", request: Request, _viewer: Viewer) -> Response:
    """How far an export is."""
    found = page.exports.get(request.path_params["id"])
    if found is None:
        return JSONResponse({"begun": False})
    return JSONResponse({"begun": True} | asdict(found))


async def export(page: "Page", request: Request, viewer: Viewer) -> Response:
    """A file of what the form's filters let through."""
    form = await request.form()
    pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    given = dict(pairs)
    kind = given.get("format", "csv")
    if kind not in TYPES:
        raise NotUnderstood(f'There is no format "{kind}".', "It is csv, fields or ndjson.")
    pieces = _pieces(page, viewer, parse(pairs), kind, given.get("export_id", "")[:40])
    # What goes wrong before the first byte is a page, not half a file.
    first = await while_somebody_waits(request, _next(pieces))
    return Download(
        first,
        pieces,
        media_type=TYPES[kind],
        headers={"content-disposition": f'attachment; filename="{NAMES[kind].format(day=datetime.now(UTC).date())}"'},
    )


async def _next(pieces: AsyncGenerator[bytes]) -> bytes:
    return await anext(pieces, b"")


class Download(StreamingResponse):
    """Pieces of a file, until all are sent, or the reader has gone or takes nothing more.

    They hold a connection and a snapshot of the database. What ends early is not ended as HTTP would have it, so that
    nobody takes it for the whole file.
    """

    def __init__(
        self, first: bytes, pieces: AsyncGenerator[bytes], *, stalled_seconds: float = STALLED_SECONDS, **options: Any
    ) -> None:
        super().__init__(_chained(first, pieces), **options)
        self._pieces = pieces
        self._stalled_seconds = stalled_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them, or what there was time for."""
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            # A server that ends would report this as an error.
            if not AppStatus.should_exit:
                raise

    async def stream_response(self, send: Send) -> None:
        """Send them."""

        async def in_time(message: Message) -> None:
            async with asyncio.timeout(self._stalled_seconds):
                await send(message)

        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await super().stream_response(in_time)
        except (TimeoutError, PageError):
            return
        finally:
            with anyio.CancelScope(shield=True):
                await self._pieces.aclose()


async def _chained(first: bytes, pieces: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


async def _pieces(page: "Page", viewer: Viewer, filters: Filters, kind: str, export_id: str) -> AsyncGenerator[bytes]:
    """The file in pieces of some size: the server sends one row at a time."""
    with page.exports.place(viewer):
        begun = await _begin(page, viewer, filters, kind)
        events = begun["events"]
        with page.exports.watched(export_id, events) as progress:
            async with page.database.session(viewer, milliseconds=0) as connection:
                piece = bytearray()
                # (Closed before the transaction is: that would wait for the end of what is still sent.)
                async with aclosing(_lines(connection, begun, kind)) as lines:
                    async for line in lines:
                        piece += line
                        # (Of fields there are more.)
                        progress.sent = min(progress.sent + 1, events)
                        if len(piece) >= PIECE_BYTES:
                            yield bytes(piece)
                            piece.clear()
                    yield bytes(piece)
                progress.done = True


async def _begin(page: "Page", viewer: Viewer, filters: Filters, kind: str) -> DictRow:
    """How many events pass, and how they are read; the log says so from now on."""
    async with page.database.session(viewer, writing=True, milliseconds=0) as connection:
        begun = await row(connection, "begin_export", filter=Jsonb(filters.as_json()), by_field=kind == "fields")
    assert begun is not None
    return begun


def _lines(connection: Connection, begun: DictRow, kind: str) -> AsyncGenerator[bytes]:
    return _ndjson(connection, begun["passing"]) if kind == "ndjson" else _csv(connection, begun["csv"])


async def _csv(connection: Connection, statement: LiteralString) -> AsyncGenerator[bytes]:
    # SQL has written it, and quoted what is in it.
    async with connection.cursor().copy(statement) as copy:
        async for line in copy:
            yield bytes(line)


async def _ndjson(connection: Connection, passing: str) -> AsyncGenerator[bytes]:
    cursor: Any = connection.cursor()
    async for found in cursor.stream(query("ndjson"), {"passing": passing}):
        yield found["json"].encode() + b"\n"
