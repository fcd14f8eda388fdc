"""The way to the database: ``--dsn``, else ``PGTRAIL_DSN``, else libpq's own variables and service file."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from pgtrail_cli.errors import DatabaseError, PgtrailError, from_database
from pgtrail_worker.database import with_defaults

Connection = psycopg.Connection[TupleRow]
Command = TypeVar("Command", bound=Callable[..., Any])


def dsn_option(command: Command) -> Command:
    """Give a command ``--dsn``, which reaches it as the argument ``dsn``."""
    option = click.option(
        "--dsn",
        envvar="PGTRAIL_DSN",
        default="",
        callback=_check_dsn,
        help="Connection string or URI; without it PGTRAIL_DSN, then PGHOST, PGUSER, PGSERVICE … hold.",
    )
    return option(command)


def with_connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--dsn`` and, as its first argument, an open connection."""

    @dsn_option
    @wraps(command)
    def connected(*args: Any, dsn: str, **options: Any) -> Any:
        with open_connection(dsn) as connection:
            return command(connection, *args, **options)

    return connected


def added_options(parameters: Mapping[str, Any], settings: str) -> str:
    """The ``options`` of a connection with settings after those that are given, there or in PGOPTIONS."""
    given = parameters.get("options") or os.environ.get("PGOPTIONS", "")
    return f"{given} {settings}".strip()


@contextmanager
def open_connection(dsn: str, **parameters: Any) -> Iterator[Connection]:
    """A connection on which each statement is its own transaction. What the server says besides goes to stderr.

    :raises PgtrailError: no connection, or a statement failed; in one line.
    """
    try:
        connection = psycopg.connect(
            with_defaults(dsn, application_name="pgtrail", connect_timeout="10"), autocommit=True, **parameters
        )
    except psycopg.Error as error:
        raise no_connection(error, dsn) from error
    connection.add_notice_handler(_show_notice)
    with connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise from_database(error) from error


def no_connection(error: psycopg.Error, dsn: str) -> PgtrailError:
    """Why there is no connection, with what to look at; never with the password."""
    reason = _reason(str(error))
    if "password" in reason:
        hint = "check the user and the password: in --dsn, PGPASSWORD or ~/.pgpass"
    elif "does not exist" in reason:
        hint = "create it first, or name another in --dsn or PGDATABASE"
    else:
        hint = "is the server running, and do --dsn, PGTRAIL_DSN or PGHOST and PGPORT say where?"
    target = conninfo_to_dict(dsn).get("host") if dsn else None
    return DatabaseError(f"no connection to the database{f' at {target}' if target else ''}: {reason}", hint)


def _reason(text: str) -> str:
    """The last part of libpq's message; it repeats address and port before it, once for each that it tried."""
    lines = [line for line in text.strip().splitlines() if line.strip() and not line.lstrip().startswith("-")]
    line = lines[0] if lines else text
    for marker in ("FATAL:", "failed: "):
        if marker in line:
            return line.rsplit(marker, 1)[1].strip()
    return line.strip()


def _check_dsn(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        conninfo_to_dict(value)
    except psycopg.ProgrammingError as error:
        raise click.BadParameter(
            f"it is no connection string ({str(error).strip().splitlines()[0]}). "
            "Write postgresql://user@host/database, or host=… dbname=…"
        ) from error
    return value


def _show_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
    severity = (diagnostic.severity_nonlocalized or "NOTICE").lower()
    hint = f" ({diagnostic.message_hint})" if diagnostic.message_hint else ""
    click.echo(f"pgtrail: {severity}: {diagnostic.message_primary}{hint}", err=True)
