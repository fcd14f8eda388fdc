"""Errors, each in one line with a hint. An error's docstring is its default message.

::

    PgtrailError            exit 1: not done
    ├── DatabaseError       the database can't be reached or refused a statement
    ├── NotMigrated         no schema audit of this version
    ├── MigrationFailed     the old state is left as it was
    ├── NoPostgres          no server to run
    ├── ServerError         an embedded server does not start
    ├── Undelivered         not every event of the demo arrived
    └── InvalidInput        exit 2: invalid arguments
"""

import re

import psycopg

from pgtrail.text import printable


class PgtrailError(Exception):
    """pgtrail can't do that."""

    exit_code = 1

    def __init__(self, message: str | None = None, hint: str | None = None) -> None:
        self.message = message or type(self).__doc__ or ""
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def format_message(self) -> str:
        """Message and hint on one line, whatever control characters a name in it holds."""
        return printable(" ".join(str(self).split()))


class DatabaseError(PgtrailError):
    """The database refused the statement."""


class NotMigrated(PgtrailError):
    """This database has no pgtrail."""


class MigrationFailed(PgtrailError):
    """The migration failed; nothing was changed."""


class NoPostgres(PgtrailError):
    """No PostgreSQL server (15 or later) was found on this machine."""


class ServerError(PgtrailError):
    """The PostgreSQL server does not start."""


class Undelivered(PgtrailError):
    """Not everything that was recorded arrived."""


class InvalidInput(PgtrailError):
    """The arguments are invalid."""

    exit_code = 2


NOT_MIGRATED_STATES = {"3F000", "42P01", "42883", "42703", "42704"}
"""SQLSTATEs of a missing schema, table, function, column or type: pgtrail is missing or of another version."""


INVALID_INPUT_STATES = {"PT047"}
"""pgtrail's own SQLSTATEs for invalid arguments."""


SOMEBODY = "this role"


def from_database(error: psycopg.Error, user: str = SOMEBODY) -> PgtrailError:
    """An error of psycopg as one line with a hint.

    :param user: the role of the connection.
    """
    message = error.diag.message_primary or str(error).strip().split("\n")[0] or type(error).__name__
    hint = error.diag.message_hint
    if error.sqlstate in NOT_MIGRATED_STATES and "audit" in message:
        return NotMigrated(f"this database has no pgtrail, or another version of it: {message}", "run: pgtrail migrate")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        hint = hint or _grant(user)
    elif isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        hint = hint or "this server is a standby, or default_transaction_read_only is on: do it on the primary"
    elif isinstance(error, psycopg.errors.QueryCanceled):
        hint = hint or "check statement_timeout (PGOPTIONS, ALTER ROLE … SET): this statement may take longer"
    elif isinstance(error, psycopg.errors.UndefinedTable):
        hint = hint or "write it as schema.table, with double quotes round upper case and spaces"
    return (InvalidInput if error.sqlstate in INVALID_INPUT_STATES else DatabaseError)(message, hint)


def _grant(user: str) -> str:
    """Which grants a role may lack."""
    is_plain = user == SOMEBODY or re.fullmatch(r"[a-z_][a-z0-9_]*", user)
    name = user if is_plain else '"' + user.replace('"', '""') + '"'
    return (
        f"grant audit_admin to {name} (to configure), audit_auditor or audit_reader (to read), "
        "audit_forwarder (to forward)"
    )
