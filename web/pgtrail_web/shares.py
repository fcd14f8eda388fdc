"""A limit for each viewer, so that one who sends slow requests leaves room for others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pgtrail_web.errors import Busy
from pgtrail_web.viewer import Viewer

Key = tuple[str | None, str | None, str | None]


class Shares:
    """Limits what each viewer does at once; more of theirs has to wait.

    :param limit: for one viewer.
    :param seconds: how long one more waits.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._viewers: dict[Key, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def share(self, viewer: Viewer) -> AsyncIterator[None]:
        """Take a share, and give it back.

        :raises Busy: all of this viewer's are taken, and none was given back in time.
        """
        key = key_of(viewer)
        semaphore = self._count(key, 1)
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await semaphore.acquire()
            except TimeoutError as error:
                raise Busy("Too many of your own requests are running.", "Wait until one has ended.") from error
            try:
                yield
            finally:
                semaphore.release()
        finally:
            self._count(key, -1)

    def _count(self, key: Key, change: int) -> asyncio.Semaphore:
        """The viewer's semaphore, kept as long as somebody uses it or waits for it."""
        semaphore, users = self._viewers.get(key) or (asyncio.Semaphore(self._limit), 0)
        self._viewers[key] = semaphore, users + change
        if users + change == 0:
            del self._viewers[key]
        return semaphore


def key_of(viewer: Viewer) -> Key:
    """Who it is: by name if there is one, else by address."""
    return viewer.org, viewer.actor, viewer.ip if viewer.actor is None else None
