"""What can go wrong in the forwarder.

::

    WorkerError
    ├── DatabaseAway        no connection, or it broke: try again later
    ├── DatabaseRefused     the database responded with an error: a person has to fix it
    ├── Unusable            the settings of a destination can't be used
    └── NoToken             a token or certificate is not where it should be, or not for this host
"""


class WorkerError(Exception):
    """The forwarder can't go on."""

    def __init__(self, message: str | None = None, hint: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)
        self.hint = hint


class DatabaseAway(WorkerError):
    """The database can't be reached."""


PASSING = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE that pass by themselves: connections, deadlocks, resources, locks, restarts."""
QUOTING = ("22", "23", "38", "39", "P0", "XX")
"""Classes of SQLSTATE whose messages may quote a row."""


class DatabaseRefused(WorkerError):
    """The database refused the statement."""

    def __init__(self, message: str | None = None, hint: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(message, hint)
        self.sqlstate = sqlstate or ""

    @property
    def passes(self) -> bool:
        """Whether it is likely to pass by itself."""
        return self.sqlstate.startswith(PASSING)

    @property
    def summary(self) -> str:
        """The error without anything of an event."""
        if not self.sqlstate or self.sqlstate.startswith(QUOTING):
            return f"the database can't read or render its events (SQLSTATE {self.sqlstate or 'unknown'})"
        return str(self)[:500]


class Unusable(WorkerError):
    """The destination's settings can't be used."""


class NoToken(WorkerError):
    """There is no token to send with."""
