"""One LISTEN for the whole process."""

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg

from pgtrail_web.database import APPLICATION

RECONNECT_SECONDS = 5.0


class Listener:
    """Wakes all who wait when Postgres notifies. It connects when the first one waits."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._waiting: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def notified(self) -> Iterator[asyncio.Event]:
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
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

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
