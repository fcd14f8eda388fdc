"""Destinations that can't be served: each is logged once, and tried again after a while."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pgtrail_worker.destination import Destination

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a destination can't be served.

    :param destination: as it was configured; with other settings it is tried at once.
    :param wait: seconds until it is tried again, twice as many each time.
    """

    error: str
    destination: Destination | None
    wait: float
    again_at: float


class Troubles:
    """What is known of them, by the cursor.

    :param clock: seconds.
    :param first_wait: seconds before the first new try.
    """

    def __init__(self, clock: Callable[[], float], first_wait: float) -> None:
        self._clock = clock
        self._first_wait = first_wait
        self._known: dict[int, Trouble] = {}

    def of(self, cursor_id: int) -> str | None:
        """Why it can't be served; None: it can, as far as is known."""
        known = self._known.get(cursor_id)
        return known.error if known else None

    def note(
        self,
        cursor_id: int,
        name: str,
        error: str,
        destination: Destination | None = None,
        cause: BaseException | None = None,
    ) -> None:
        """It can't be served."""
        known = self._known.get(cursor_id)
        again = known is not None and known.destination == destination
        wait = min(2 * known.wait, LONGEST_WAIT_SECONDS) if known and again else self._first_wait
        if not (known and again and known.error == error):
            log.error(
                "a destination can't be served",
                extra={"action": "worker.unserved", "destination": name, "error": error},
                exc_info=cause,
            )
        self._known[cursor_id] = Trouble(error, destination, wait, self._clock() + wait)

    def may_start(self, destination: Destination) -> bool:
        """Whether it is time for another try."""
        known = self._known.get(destination.cursor_id)
        return known is None or known.destination != destination or self._clock() >= known.again_at

    def end(self, destination: Destination) -> None:
        """It is served."""
        if self._known.pop(destination.cursor_id, None):
            log.warning(
                "a destination is served again", extra={"action": "worker.recovered", "destination": destination.name}
            )

    def keep(self, cursor_ids: Collection[int]) -> None:
        """Forget those that are no longer to be served."""
        self._known = {cursor_id: known for cursor_id, known in self._known.items() if cursor_id in cursor_ids}
