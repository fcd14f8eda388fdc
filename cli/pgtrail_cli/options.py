"""Options that commands share."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgtrail.connection import open_connection

Command = TypeVar("Command", bound=Callable[..., Any])


def dsn_option(command: Command) -> Command:
    """Give a command ``--dsn``, which reaches it as the argument ``dsn``."""
    option = click.option(
        "--dsn",
        envvar="PGTRAIL_DSN",
        default="",
        callback=check_dsn,
        help="Connection string or URI. Default: PGTRAIL_DSN, else PGHOST, PGUSER, PGSERVICE …",
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


def check_dsn(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """The callback of an option that is a connection string."""
    try:
        conninfo_to_dict(value or "")
    except psycopg.ProgrammingError as error:
        raise click.BadParameter(
            f"invalid connection string ({str(error).strip().splitlines()[0]}). "
            "Write postgresql://user@host/database, or host=… dbname=…"
        ) from error
    return value
