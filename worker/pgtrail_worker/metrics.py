"""The worker's metrics, for Prometheus. In memory, except for the gauges: they show what the database last reported.

The names follow https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterable
from functools import partial
from typing import assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pgtrail_worker.database import Status
from pgtrail_worker.response import Response
from pgtrail_worker.verdict import Delivered, Failed, Partial, Poison, TooLarge, Verdict

STATES = ("active", "retrying", "needs_attention", "suspended", "paused", "leaving")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        self._requests = counter("pgtrail_requests", "Requests by outcome.", ["destination", "outcome"])
        self._delivered = counter("pgtrail_events_delivered", "Events that were delivered.", ["destination"])
        self._dead = counter("pgtrail_events_dead", "Events that became dead letters.", ["destination"])
        self._reconnects = counter("pgtrail_reconnects", "Connections to the database that broke.", ["connection"])
        self._seals = counter("pgtrail_seals", "Seals that this worker made.")
        self._sealed = counter("pgtrail_events_sealed", "Events in them.")
        self._seconds = Histogram(
            "pgtrail_request_seconds",
            "How long a request took, until its response was read.",
            ["destination"],
            buckets=SECONDS,
            registry=self.registry,
        )
        gauge = partial(Gauge, registry=self.registry)
        self._lag_events = gauge("pgtrail_lag_events", "Events that wait; counted to 100,000.", ["destination"])
        self._lag_seconds = gauge("pgtrail_lag_seconds", "Seconds that the oldest has waited.", ["destination"])
        self._dead_letters = gauge("pgtrail_dead_letters", "Dead letters that were not redriven.", ["destination"])
        self._state = gauge("pgtrail_destination_state", "1 for the present state.", ["destination", "state"])

    def record_request(self, destination: str, response: Response, verdict: Verdict) -> None:
        self._requests.labels(destination, _outcome(verdict)).inc()
        self._seconds.labels(destination).observe(response.seconds)

    def record_settled(self, destination: str, delivered: int, dead: int) -> None:
        self._delivered.labels(destination).inc(delivered)
        self._dead.labels(destination).inc(dead)

    def record_reconnect(self, connection: str) -> None:
        """A connection broke: `listener` or `calls`."""
        self._reconnects.labels(connection).inc()

    def record_seal(self, events: int) -> None:
        self._seals.inc()
        self._sealed.inc(events)

    def update_gauges(self, statuses: Iterable[Status]) -> None:
        """Show how the destinations fare, and nothing of those that are gone."""
        for gauge in (self._lag_events, self._lag_seconds, self._dead_letters, self._state):
            gauge.clear()
        for status in statuses:
            # (What is not known has no sample, rather than a 0.)
            if status.events_behind is not None and status.seconds_behind is not None:
                self._lag_events.labels(status.name).set(status.events_behind)
                self._lag_seconds.labels(status.name).set(status.seconds_behind)
            self._dead_letters.labels(status.name).set(status.dead_letters)
            for state in STATES:
                self._state.labels(status.name, state).set(state == status.state)


def _outcome(verdict: Verdict) -> str:
    match verdict:
        case Delivered():
            return "delivered"
        case Partial():
            return "partial"
        case TooLarge():
            return "too_large"
        case Poison():
            return "refused"
        case Failed():
            return verdict.hold.value if verdict.hold else "failed"
        case never:
            assert_never(never)
