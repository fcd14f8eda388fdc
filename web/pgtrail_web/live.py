"""New events as they arrive: one LISTEN for the whole process, server-sent events for each page that is open."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.types.json import Jsonb
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from pgtrail_web.database import APPLICATION, row
from pgtrail_web.errors import DatabaseAway, NotUnderstood, PageError
from pgtrail_web.filters import Filters, parse
from pgtrail_web.viewer import Viewer

if TYPE_CHECKING:
    from pgtrail_web.page import Page

POLL_SECONDS = 2.0
"""A notification is a hint: where none comes, a look is taken all the same."""
IN_FLIGHT_SECONDS = 0.25
"""What is in flight notifies nobody when it commits: look again soon."""
SHORTEST_PAUSE_SECONDS = 0.2
LONGEST_STREAM_SECONDS = 300.0
RECONNECT_SECONDS = 5.0
PLACE = re.compile(r"(\d{1,20}:\d{1,20}:[\d,]{0,4000})/(\d{1,9})", re.ASCII)
"""A snapshot, and how many events have come since the page was made."""


class Listener:
    """Wakes whoever waits when Postgres notifies. It begins with the first who waits."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._waiting: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def heard(self) -> Iterator[asyncio.Event]:
        """An event that is set at each notification."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(psycopg.Error):
                connection = await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, application_name=f"{APPLICATION} (listening)"
                )
                async with connection:
                    await connection.execute("listen pgtrail")
                    async for _ in connection.notifies():
                        for event in self._waiting:
                            event.set()
            await asyncio.sleep(RECONNECT_SECONDS)


@dataclass
class Arrivals:
    """What has come since a page was made, for one who looks at it.

    :param may_look: whether they still may: a session ends under a page that stays open, too.
    """

    page: "Page"
    viewer: Viewer
    filters: Filters
    snapshot: str
    total: int
    may_look: Callable[[], bool]
    in_flight: bool = False

    async def look(self) -> ServerSentEvent | None:
        """How many have come, if there are more than at the last look."""
        async with self.page.database.session(self.viewer) as connection:
            asked = Jsonb(self.filters.as_json())
            found = await row(connection, "arrived", snapshot=self.snapshot, filter=asked)
        assert found is not None
        self.snapshot, self.in_flight = found["snapshot"], found["in_flight"]
        self.total += found["events"]
        return ServerSentEvent(str(self.total), event="arrived", id=str(self)) if found["events"] else None

    def __str__(self) -> str:
        return f"{self.snapshot}/{self.total}"

    async def stream(self, first: ServerSentEvent | None) -> AsyncIterator[ServerSentEvent]:
        """Each look that finds something; for a while: the browser asks again by itself, and is let in again or not."""
        ends_at = asyncio.get_running_loop().time() + LONGEST_STREAM_SECONDS
        pause = IN_FLIGHT_SECONDS
        with self.page.listener.heard() as heard:
            while asyncio.get_running_loop().time() < ends_at and self.may_look():
                if first is not None:
                    yield first
                # What is in flight notifies nobody when it commits: look again soon, and then less and less so.
                pause = min(2 * pause, POLL_SECONDS) if self.in_flight and first is None else IN_FLIGHT_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause if self.in_flight else POLL_SECONDS):
                        await heard.wait()
                # Many commits in a row are one look.
                await asyncio.sleep(SHORTEST_PAUSE_SECONDS)
                heard.clear()
                try:
                    first = await self.look()
                except DatabaseAway:
                    first = None
                    await asyncio.sleep(RECONNECT_SECONDS)
                except PageError:
                    # The page itself says what it is to whoever reloads.
                    return
        # Whoever asks again begins here, and not where they began.
        yield ServerSentEvent("", event="looked", id=str(self))


async def arrivals(page: "Page", request: Request, viewer: Viewer) -> Response:
    """How many events that pass the filters have come since a snapshot."""
    place = PLACE.fullmatch(request.headers.get("last-event-id") or request.query_params.get("after", ""))
    if place is None:
        raise NotUnderstood("This is no place in the log.", "Reload the page.")
    filters = parse((name, value) for name, value in request.query_params.multi_items() if name != "after")

    def may_look() -> bool:
        return not page.access.needs_session or page.sessions.current(request) is not None

    arriving = Arrivals(page, viewer, filters, place[1], int(place[2]), may_look)
    # What is wrong is an answer, not a stream that ends.
    return EventSourceResponse(arriving.stream(await arriving.look()), ping=15)
