"""What can go wrong on the page; each has the status of its answer, a sentence, and what to do.

::

    PageError
    ├── NotFound            404: there is no such event, or not for this viewer
    ├── NotUnderstood       400: a filter or a form that makes no sense
    ├── NotAllowed          403: not signed in, a wrong token, a form from elsewhere, a role without rights
    ├── TooSlow             503: the search takes too long
    ├── Gone                499: nobody waits for it any more
    ├── Busy                503: as much is under way as may be
    └── DatabaseAway        503: it comes back by itself
"""

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout


class PageError(Exception):
    """The page can't be shown."""

    status = 500

    def __init__(self, message: str | None = None, hint: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)
        self.hint = hint


class NotFound(PageError):
    """There is nothing here that you may see."""

    status = 404


class NotUnderstood(PageError):
    """That makes no sense."""

    status = 400


class NotAllowed(PageError):
    """You may not do that."""

    status = 403


class TooSlow(PageError):
    """This search takes too long."""

    status = 503


class Gone(PageError):
    """Nobody waits for this any more."""

    status = 499


class Busy(PageError):
    """Too much is under way."""

    status = 503


class DatabaseAway(PageError):
    """The database does not answer."""

    status = 503


NO_NAME_STATE = "PT047"
"""SQLSTATE of what no event is called, which stands in the path of a URL."""
MISSING_STATES = {"3F000", "42P01", "42883", "42703", "42704"}
"""SQLSTATEs of a missing schema, table, function, column or type: pgtrail is missing or of another version."""


UNREADABLE_STATES = {"22003", "22007", "22008", "22021", "2201B", "22023", "22P02", "22P05"}
"""SQLSTATEs of texts that are no number, no time, no regular expression, no text."""


def from_database(error: psycopg.Error) -> PageError:
    """A foreign error as one of ours, without anything that could be a secret of the connection."""
    state = error.sqlstate or ""
    message = error.diag.message_primary or ""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return TooSlow(hint="Choose a shorter time, or one resource or actor.")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return NotAllowed(
            "This server is read-only.", "An export and a change are recorded: open the page of the primary."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return NotAllowed(
            "The page's database role may not do that.",
            "Its administrator can grant audit_auditor, audit_reader or audit_admin.",
        )
    if state == NO_NAME_STATE:
        return NotFound(f"{message}.", "An event is called 42, or on a hub eu1:42.")
    if state in MISSING_STATES:
        return PageError("This database has no pgtrail, or another version of it.", "Run: pgtrail migrate")
    # What a person entered: a rule of ours, or a value that Postgres can't read.
    if state.startswith("PT") or state in UNREADABLE_STATES or (isinstance(error, psycopg.DataError) and not state):
        return NotUnderstood(f"{message[:1].upper()}{message[1:]}." if message else None, error.diag.message_hint)
    if not state or state.startswith(("08", "53", "57")) or isinstance(error, PoolTimeout | PoolClosed):
        return DatabaseAway(
            hint="This page looks again every few seconds. Nothing is lost: the log is kept by the database itself."
        )
    return PageError("The database refused.", message)
