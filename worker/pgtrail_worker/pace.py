"""How often the worker does what. All durations are in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """When a delivery looks, retries and settles.

    :param poll: the longest time without a look, whatever is notified.
    :param settle_after: what is delivered is settled at least so often.
    :param lease: another worker takes over so long after the last sign of life.
    """

    poll: float = 1.0
    min_in_flight_wait: float = 0.05
    max_in_flight_wait: float = 0.25
    after_unavailable: float = 1.0
    after_failed_statement: float = 10.0
    settle_after: float = 2.0
    last_settle: float = 2.0
    lease: float = 30.0


@dataclass(frozen=True, slots=True)
class SealPace:
    """When a seal is due.

    :param every: seconds after the last one, if there is anything to seal.
    :param events: or as soon as so many wait.
    """

    every: float = 10.0
    events: int = 10_000
