"""What became of events, stored in the database: deliveries, dead letters, failures, and when to retry."""

import logging
from collections.abc import Callable

from pgtrail_worker.batch import Batch
from pgtrail_worker.database import Database
from pgtrail_worker.destination import Destination
from pgtrail_worker.destination_log import DestinationLog
from pgtrail_worker.metrics import Metrics
from pgtrail_worker.retry import retry_delay
from pgtrail_worker.send_queue import Outcome


class Settler:
    """Settles the batches of one destination.

    :param uniform: such as ``random.uniform``.
    """

    def __init__(
        self, destination: Destination, database: Database, metrics: Metrics, uniform: Callable[[float, float], float]
    ) -> None:
        self._destination = destination
        self._database = database
        self._metrics = metrics
        self._uniform = uniform
        self._log = DestinationLog(destination)

    async def settle(self, batch: Batch, outcome: Outcome) -> bool:
        """Store an outcome. Returns whether the lease was held.

        :raises DatabaseUnavailable: it may be stored, or not.
        """
        assert batch.lease_token is not None
        retry_in = self._retry_in(batch, outcome)
        held = await self._database.record_delivery(self._destination.cursor_id, batch.lease_token, outcome, retry_in)
        if held:
            self._report(outcome, retry_in)
        else:
            self._log(logging.WARNING, "another worker has taken over", "delivery.lease_lost")
        return held

    def _retry_in(self, batch: Batch, outcome: Outcome) -> float | None:
        if outcome.failure is None:
            return None
        failures, failing_for = (0, 0.0) if outcome.delivered else (batch.failures, batch.failing_for)
        return retry_delay(failures, failing_for, outcome.failure.failed, self._uniform)

    def _report(self, outcome: Outcome, retry_in: float | None) -> None:
        self._metrics.record_settled(self._destination.name, len(outcome.delivered), len(outcome.dead))
        if outcome.delivered:
            self._log(logging.INFO, "delivered", "delivery.delivered", events=len(outcome.delivered))
        for dead in outcome.dead:
            self._log(logging.ERROR, "dead letter", "delivery.dead", event_id=dead.event_id, error=dead.error)
        if outcome.failure and retry_in is not None:
            failed = outcome.failure.failed
            self._log(
                logging.ERROR if failed.hold else logging.WARNING,
                "not delivered",
                "delivery.failed",
                event_id=outcome.failure.event_id,
                error=failed.error,
                hold=failed.hold.value if failed.hold else None,
                retry_in=round(retry_in, 1),
            )
