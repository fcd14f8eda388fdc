"""What can go wrong in the forwarder.

::

    WorkerError
    ├── DatabaseUnavailable   no connection, or it broke: try again later
    ├── StatementFailed       the database responded with an error: a person has to fix it
    ├── InvalidDestination    the settings of a destination can't be used
    └── SecretUnavailable     a token or certificate is not where it should be, or may not be sent to this host
"""


class WorkerError(Exception):
    """The forwarder can't go on."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class DatabaseUnavailable(WorkerError):
    """The database can't be reached."""


TRANSIENT = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE that pass by themselves: connections, deadlocks, resources, locks, restarts."""
QUOTING = ("22", "23", "38", "39", "P0", "XX")
"""Classes of SQLSTATE whose messages may quote a row."""


class StatementFailed(WorkerError):
    """The database responded with an error. ``sqlstate`` is empty where Python could not read the result."""

    def __init__(self, message: str, hint: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(message, hint)
        self.sqlstate = sqlstate or ""

    @property
    def is_transient(self) -> bool:
        """Whether it is likely to pass by itself."""
        return self.sqlstate.startswith(TRANSIENT)

    @property
    def summary(self) -> str:
        """The error without anything of an event."""
        if not self.sqlstate or self.sqlstate.startswith(QUOTING):
            return f"the database can't read or render its events (SQLSTATE {self.sqlstate or 'unknown'})"
        return str(self)[:500]


class InvalidDestination(WorkerError):
    """The destination's settings can't be used."""


class SecretUnavailable(WorkerError):
    """A token or certificate is missing, or may not be sent to this host."""
