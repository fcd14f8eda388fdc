"""What the worker counts, for Prometheus. In memory: what the database knows is asked when it is scraped.

The names are those of https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterable
from typing import assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pgtrail_worker.answer import Answer
from pgtrail_worker.database import Status
from pgtrail_worker.verdict import Delivered, Failed, Partial, Poison, TooLarge, Verdict

STATES = ("active", "retrying", "needs_attention", "suspended", "paused", "leaving")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class Metrics:
    """Counters and gauges of one worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "pgtrail_requests",
            "Requests to destinations, by how they ended.",
            ["destination", "outcome"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "pgtrail_request_seconds",
            "How long a request took, the reading of its answer included.",
            ["destination"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._delivered = Counter(
            "pgtrail_events_delivered", "Events that destinations have taken.", ["destination"], registry=self._registry
        )
        self._dead = Counter(
            "pgtrail_events_dead", "Events that became dead letters.", ["destination"], registry=self._registry
        )
        self._reconnects = Counter(
            "pgtrail_reconnects", "Connections to the database that broke.", ["connection"], registry=self._registry
        )
        self._seals = Counter("pgtrail_seals", "Seals that this worker made.", registry=self._registry)
        self._sealed = Counter("pgtrail_events_sealed", "Events in them.", registry=self._registry)
        self._lag_events = Gauge(
            "pgtrail_lag_events",
            "Events that a destination has still to get; counted to 100,000.",
            ["destination"],
            registry=self._registry,
        )
        self._lag_seconds = Gauge(
            "pgtrail_lag_seconds",
            "How long the oldest event that a destination has still to get has waited.",
            ["destination"],
            registry=self._registry,
        )
        self._dead_letters = Gauge(
            "pgtrail_dead_letters",
            "Dead letters of a destination that were not redriven.",
            ["destination"],
            registry=self._registry,
        )
        self._state = Gauge(
            "pgtrail_destination_state",
            "1 for the state that a destination is in.",
            ["destination", "state"],
            registry=self._registry,
        )

    def answered(self, destination: str, answer: Answer, verdict: Verdict) -> None:
        """A request has ended."""
        self._requests.labels(destination, _outcome(verdict)).inc()
        self._seconds.labels(destination).observe(answer.seconds)

    def settled(self, destination: str, delivered: int, dead: int) -> None:
        """The database knows what became of events."""
        self._delivered.labels(destination).inc(delivered)
        self._dead.labels(destination).inc(dead)

    def reconnecting(self, connection: str) -> None:
        """A connection broke: `listener` or `calls`."""
        self._reconnects.labels(connection).inc()

    def sealed(self, events: int) -> None:
        """A seal was made."""
        self._seals.inc()
        self._sealed.inc(events)

    def observe(self, statuses: Iterable[Status]) -> None:
        """How the destinations fare, in place of what was known before."""
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

    def text(self) -> bytes:
        """All of it in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)


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
