"""A worker's lease of one destination."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from pgtrail_worker.database import Database
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.tasks import cancel


class Lease:
    """The right to serve a destination, as known to this worker: it never ends later than in the database."""

    def __init__(self, database: Database, cursor_id: int, seconds: float) -> None:
        self._database = database
        self._cursor_id = cursor_id
        self._seconds = seconds
        self._token: int | None = None
        self._ends_at = 0.0

    @property
    def is_held(self) -> bool:
        """Whether it holds. A process that was stopped for longer than the lease holds it no more."""
        return time.monotonic() < self._ends_at

    def granted(self, token: int | None, asked_at: float | None) -> None:
        """Note a response of the database.

        :param token: None: no lease now. The last token is kept, to give the lease back.
        :param asked_at: when the lease was asked for; None: it was not extended.
        """
        self._token = token or self._token
        if asked_at is not None:
            self._ends_at = asked_at + self._seconds

    @contextlib.asynccontextmanager
    async def renewed(self, token: int) -> AsyncIterator[None]:
        """Renew the lease with this token, in the background, as long as the context lasts."""
        renewing = asyncio.create_task(self._renew(token))
        try:
            yield
        finally:
            await cancel(renewing)

    async def _renew(self, token: int) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            asked_at = time.monotonic()
            with contextlib.suppress(WorkerError):
                if not await self._database.renew_lease(self._cursor_id, token, self._seconds):
                    self._ends_at = 0.0
                    return
                self._ends_at = asked_at + self._seconds

    async def release(self) -> None:
        """Give it back, if it was granted."""
        if self._token is not None:
            await self._database.release_lease(self._cursor_id, self._token)
