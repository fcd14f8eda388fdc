"""``pgtrail apply``."""

from collections.abc import Callable
from pathlib import Path
from typing import IO

import click
import psycopg
from psycopg.pq import TransactionStatus

from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import DatabaseError, PgtrailError, from_database
from pgtrail_cli.statements import Statement, split


@click.command()
@click.argument("files", type=click.File("rb"), nargs=-1, required=True, metavar="FILE…")
@with_connection
def apply(connection: Connection, files: tuple[IO[bytes], ...]) -> None:
    """Run the SQL of FILE…, each statement in a transaction of its own; `-` reads stdin.

    So no table stays locked for longer than its own triggers take. After an error mend it and run the file again:
    tracking what is tracked changes nothing. Names are looked for where psql would: by your own search_path.

    \b
    Example:
      pgtrail apply tracking.sql
    """
    # All are read before any is run.
    for name, statements in [(_name(file), split(_text(file), _name(file))) for file in files]:
        run(connection, statements, name, connection.execute_as_given)
        done = f"applied {_counted(len(statements))} of {name}"
        click.echo(f"pgtrail: {done if statements else f'there is nothing in {name} to apply'}", err=True)


def run(connection: Connection, statements: list[Statement], source: str, execute: Callable[[bytes], object]) -> None:
    """Run statements, each in its own transaction unless the file itself begins one.

    :param source: what to call the file in an error.
    :param execute: runs one of them on the connection.
    :raises DatabaseError: one failed; with its line, and how many before it were applied.
    """
    applied = 0
    for number, statement in enumerate(statements, start=1):
        try:
            execute(statement.text.encode())
        except psycopg.Error as error:
            raise _failed(error, statement, source, applied) from error
        if connection.info.transaction_status == TransactionStatus.IDLE:
            applied = number
    if applied < len(statements):
        connection.rollback()
        raise PgtrailError(
            f"{source}, line {statements[applied].line}: a transaction begins that the file does not end; "
            f"{_told(applied)}",
            "write commit at its end",
        )


def _failed(error: psycopg.Error, statement: Statement, source: str, applied: int) -> DatabaseError:
    reason = from_database(error)
    position = error.diag.statement_position
    line = statement.first_line + statement.text[: int(position) - 1].count("\n") if position else statement.line
    hint = f"{reason.hint}; then run it again" if reason.hint else "mend it and run it again"
    return DatabaseError(f"{source}, line {line}: {reason.message}; {_told(applied)}", hint)


def _told(applied: int) -> str:
    if not applied:
        return "nothing was applied"
    return f"{_counted(applied)} before it {'is' if applied == 1 else 'are'} applied"


def _counted(number: int) -> str:
    return f"{number} statement{'' if number == 1 else 's'}"


def _name(file: IO[bytes]) -> str:
    return "stdin" if file.name in ("-", "<stdin>", 0) else Path(file.name).name


def _text(file: IO[bytes]) -> str:
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PgtrailError(f"{_name(file)} is not UTF-8", "save it as UTF-8") from error
