"""What can go wrong on the page. Each error has an HTTP status, a sentence, and a hint what to do.

::

    PageError
    ├── NotFound              404: there is no such event, or not for this viewer
    ├── InvalidRequest        400: an invalid filter or form
    ├── NotAllowed            403: not signed in, a wrong token, a form from elsewhere, a role without rights
    │   └── NotSignedIn
    ├── TooSlow               503: the search takes too long
    ├── ClientDisconnected    499: nobody waits for the response any more
    ├── Busy                  503: too many requests or exports are running
    └── DatabaseUnavailable   503: it comes back by itself
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


class InvalidRequest(PageError):
    """This request is invalid."""

    status = 400


class NotAllowed(PageError):
    """You may not do that."""

    status = 403


class NotSignedIn(NotAllowed):
    """You are not signed in, or your session has ended."""


class TooSlow(PageError):
    """This search takes too long."""

    status = 503


class ClientDisconnected(PageError):
    """The client has disconnected."""

    status = 499


class Busy(PageError):
    """Too many requests are running."""

    status = 503


class DatabaseUnavailable(PageError):
    """The database does not respond."""

    status = 503


INVALID_NAME_STATE = "PT047"
"""SQLSTATE of an invalid event name, which comes from the path of a URL."""
MISSING_STATES = {"3F000", "42P01", "42883", "42703", "42704"}
"""SQLSTATEs of a missing schema, table, function, column or type: pgtrail is missing or of another version."""
INVALID_TEXT_STATES = {"22003", "22007", "22008", "22021", "2201B", "22023", "22P02", "22P05"}
"""SQLSTATEs of texts that are not a number, a time, a regular expression, or valid text."""


def from_database(error: psycopg.Error) -> PageError:
    """The error of a statement, without anything that could be a secret of the connection."""
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
    if state == INVALID_NAME_STATE:
        return NotFound(f"{message}.", "Event names look like 42, or on a hub eu1:42.")
    if state in MISSING_STATES:
        return PageError("This database has no pgtrail, or another version of it.", "Run: pgtrail migrate")
    # What a person entered: refused by pgtrail, or a value that Postgres or psycopg can't parse.
    if state.startswith("PT") or state in INVALID_TEXT_STATES or (isinstance(error, psycopg.DataError) and not state):
        return InvalidRequest(f"{message[:1].upper()}{message[1:]}." if message else None, error.diag.message_hint)
    if not state or state.startswith(("08", "53", "57")) or isinstance(error, PoolTimeout | PoolClosed):
        return DatabaseUnavailable(
            hint="This page reloads every few seconds. Nothing is lost: the database itself keeps the log."
        )
    return PageError("The database refused.", message)
