"""What can go wrong in the forwarder.

::

    WorkerError
    ├── DatabaseAway        no connection, or it broke: try again later
    ├── DatabaseRefused     the database answered with an error: a person has to mend it
    └── NoToken             a token or certificate is not where it should be
"""


class WorkerError(Exception):
    """The forwarder can't go on."""

    def __init__(self, message: str | None = None, hint: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)
        self.hint = hint


class DatabaseAway(WorkerError):
    """The database can't be reached."""


class DatabaseRefused(WorkerError):
    """The database refused the statement."""


class NoToken(WorkerError):
    """There is no token to send with."""
