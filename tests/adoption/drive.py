"""What an administrator does, step by step: each with the actions it should be called, and the secrets it writes."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.adoption.ground import Ground
from tests.adoption.log import Event, events_after, last_event

SHORTEST_SECRET = 8


def any_of(nouns: str, verbs: str) -> str:
    """One expected action, by any of the names that a person would take for right."""
    return "|".join(f"{noun}.{verb}" for noun in nouns.split() for verb in verbs.split())


@dataclass
class Step:
    """One thing an administrator does.

    :param expected: the actions that a person would look for; alternatives are separated by `|`.
    """

    name: str
    expected: Sequence[str]
    events: list[Event] = field(default_factory=list)
    error: str | None = None

    @property
    def right(self) -> list[str]:
        """Those of the expected actions that are in the log."""
        seen = {event.action for event in self.events}
        return [each for each in self.expected if seen & set(each.split("|"))]

    @property
    def missing(self) -> list[str]:
        return [each for each in self.expected if each not in self.right]

    @property
    def unexpected(self) -> list[Event]:
        known = {action for each in self.expected for action in each.split("|")}
        return [event for event in self.events if event.action not in known]


class Drive:
    """An application at work, and what is noted of it.

    :param secret_columns: `table.column` in which the application keeps secrets, also those it makes by itself.
    """

    def __init__(self, ground: Ground, secret_columns: Sequence[str]) -> None:
        self.steps: list[Step] = []
        self.connection = ground.connect()
        self._ground = ground
        self._columns = secret_columns
        self._sent: dict[str, str] = {}
        self.written: dict[str, str] = {}
        """The secrets that the application has stored, each with where it came from."""
        self.never_written: list[str] = []
        """What we sent and the application did not store as it was: it counts for nothing."""

    def secret(self, name: str, prefix: str = "") -> str:
        """A secret of our own: a random text that occurs nowhere else."""
        return self.note(name, prefix + secrets.token_hex(12))

    def note(self, name: str, value: str) -> str:
        """A secret that has to look like something."""
        self._sent[value] = name
        return value

    @contextlib.contextmanager
    def step(self, name: str, *expected: str) -> Iterator[None]:
        """Note what a step records; an error in it is noted too, and the drive goes on."""
        step = Step(name, expected)
        self.steps.append(step)
        last = last_event(self.connection)
        try:
            yield
        except Exception as error:
            step.error = f"{type(error).__name__}: {error}"
        self.collect()
        step.events = events_after(self.connection, last)

    def collect(self) -> None:
        """Note the secrets that the application has stored by now."""
        for place in self._columns:
            table, column = place.split(".")
            for (value,) in self.connection.execute(
                f'select "{column}"::text from "{table}" where "{column}" is not null'
            ):
                if len(value) >= SHORTEST_SECRET:
                    self.written.setdefault(value, place)
        if self._sent:
            dump = self._ground.postgres("pg_dump", "-n", "public", "--data-only", self._ground.dsn)
            self.written |= {value: name for value, name in self._sent.items() if value in dump}
            self.never_written += [name for value, name in self._sent.items() if value not in dump]
            self._sent = {}
