"""How many new events have arrived, as server-sent events for each page that is open."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from psycopg.types.json import Jsonb
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from pgtrail_web.database import row
from pgtrail_web.errors import DatabaseUnavailable, InvalidRequest, PageError
from pgtrail_web.filters import Filters, parse
from pgtrail_web.page import Page
from pgtrail_web.viewer import Viewer

POLL_SECONDS = 2.0
"""The longest time between two looks, whatever is notified."""
MIN_IN_FLIGHT_SECONDS = 0.25
"""What is in flight may not notify when it commits: look again soon, then after longer and longer."""
MIN_PAUSE_SECONDS = 0.2
MAX_STREAM_SECONDS = 300.0
RETRY_SECONDS = 5.0
POSITION = re.compile(r"(\d{1,20}:\d{1,20}:[\d,]{0,4000})/(\d{1,9})", re.ASCII)
"""A snapshot, and how many events have arrived since the page was made."""


@dataclass
class Arrivals:
    """What has arrived since a page was made, for its viewer.

    :param may_look: whether they still may: their session can end while the page is open.
    """

    page: Page
    viewer: Viewer
    filters: Filters
    snapshot: str
    total: int
    may_look: Callable[[], bool]
    in_flight: bool = False

    async def look(self) -> ServerSentEvent | None:
        """How many have arrived, if there are more than at the last look."""
        async with self.page.database.session(self.viewer) as connection:
            wanted = Jsonb(self.filters.as_json())
            found = await row(connection, "arrived", snapshot=self.snapshot, filter=wanted)
        assert found is not None
        self.snapshot, self.in_flight = found["snapshot"], found["in_flight"]
        self.total += found["events"]
        return ServerSentEvent(str(self.total), event="arrived", id=str(self)) if found["events"] else None

    def __str__(self) -> str:
        return f"{self.snapshot}/{self.total}"

    async def stream(self, first: ServerSentEvent | None) -> AsyncIterator[ServerSentEvent]:
        """Each look that finds something, for a while. Then the browser reconnects, and its access is checked again."""
        ends_at = asyncio.get_running_loop().time() + MAX_STREAM_SECONDS
        pause = MIN_IN_FLIGHT_SECONDS
        found = first
        with self.page.listener.notified() as notified:
            while asyncio.get_running_loop().time() < ends_at and self.may_look():
                if found is not None:
                    yield found
                pause = min(2 * pause, POLL_SECONDS) if self.in_flight and found is None else MIN_IN_FLIGHT_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause if self.in_flight else POLL_SECONDS):
                        await notified.wait()
                # Many commits in a row are one look.
                await asyncio.sleep(MIN_PAUSE_SECONDS)
                notified.clear()
                try:
                    found = await self.look()
                except DatabaseUnavailable:
                    found = None
                    await asyncio.sleep(RETRY_SECONDS)
                except PageError:
                    # Whoever reloads the page sees the error there.
                    return
        # Whoever reconnects continues here, and not where they began.
        yield ServerSentEvent("", event="looked", id=str(self))


async def arrivals(page: Page, request: Request, viewer: Viewer) -> Response:
    """How many events that pass the filters have arrived since a snapshot."""
    position = POSITION.fullmatch(request.headers.get("last-event-id") or request.query_params.get("after", ""))
    if position is None:
        raise InvalidRequest("This is not a position in the log.", "Reload the page.")
    filters = parse((name, value) for name, value in request.query_params.multi_items() if name != "after")

    def may_look() -> bool:
        return not page.access.needs_session or page.sessions.current(request) is not None

    arriving = Arrivals(page, viewer, filters, position[1], int(position[2]), may_look)
    # (The first look here: its error is a response, not a stream that ends.)
    return EventSourceResponse(arriving.stream(await arriving.look()), ping=15)
