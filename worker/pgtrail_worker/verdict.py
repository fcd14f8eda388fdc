"""What a response can mean, and the rules of a format by which it is judged. Pure."""

from dataclasses import dataclass
from enum import Enum


class Reads(Enum):
    """Where a receiver says what became of the events."""

    STATUS = "status"
    CODE = "code"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class ResponseRules:
    """What the receivers of a format mean by their responses: columns of ``audit.format``.

    :param success_statuses: mean delivered; empty: any 2xx.
    :param poison_statuses: one event of the request caused them.
    :param configuration_statuses: an operator has to fix them.
    :param success_codes: codes in the body that, with a status of success, mean delivered.
    """

    reads: Reads = Reads.STATUS
    success_statuses: frozenset[int] = frozenset()
    poison_statuses: frozenset[int] = frozenset({400, 415, 422})
    configuration_statuses: frozenset[int] = frozenset({401, 403, 404})
    success_codes: frozenset[int] = frozenset()
    poison_codes: frozenset[int] = frozenset()
    configuration_codes: frozenset[int] = frozenset()


class Hold(Enum):
    """What a failure does to its destination beyond waiting."""

    ATTENTION = "attention"
    """An operator has to fix it; it is probed every 15 minutes."""
    GONE = "gone"
    """The receiver wants no more events: paused."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has every event of the request.

    :param ack_id: the number under which it will acknowledge that they are indexed; None: nothing to wait for.
    """

    ack_id: int | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request is larger than the receiver accepts."""

    error: str


@dataclass(frozen=True, slots=True)
class Poison:
    """The receiver refuses the request because of one of its events."""

    error: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver does not have the events.

    :param error: for people, with nothing of the event in it.
    :param retry_after: seconds that must pass before the next attempt.
    :param retry_at_once: whether a first failure of this kind is worth an immediate second attempt.
    :param shrink: whether a smaller request might have passed.
    """

    error: str
    retry_after: float = 0.0
    retry_at_once: bool = False
    hold: Hold | None = None
    shrink: bool = False


@dataclass(frozen=True, slots=True)
class Partial:
    """The receiver has some events of the request. They are given by their positions in it.

    :param poison: those that it refuses, with the reason.
    :param failed: why it does not have the others; None: it did not look at them.
    """

    delivered: tuple[int, ...]
    poison: tuple[tuple[int, str], ...] = ()
    failed: Failed | None = None


Verdict = Delivered | Partial | TooLarge | Poison | Failed
