"""Log records about one destination."""

import logging

from pgtrail_worker.destination import Destination

log = logging.getLogger(__name__)


class DestinationLog:
    """Logs with the destination's name, and the replay's number if it is one."""

    def __init__(self, destination: Destination) -> None:
        self._fields: dict[str, object] = {"destination": destination.name}
        if destination.replay_id is not None:
            self._fields["replay"] = destination.replay_id

    def __call__(
        self, level: int, message: str, action: str, cause: BaseException | None = None, **fields: object
    ) -> None:
        log.log(level, message, exc_info=cause, extra={"action": action, **self._fields, **fields})
