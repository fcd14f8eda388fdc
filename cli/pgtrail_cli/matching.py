"""Whether filters let anything through: how many events they match, and what was meant where a name is unknown."""

from collections.abc import Iterator
from difflib import get_close_matches

import click

from pgtrail_cli.connection import Connection
from pgtrail_cli.filters import QUERIES, Filters, resolve
from pgtrail_cli.render import printable

MOST_COUNTED = 100_000
MOST_NAMED = 5
RECENT = "30d"


def recent(connection: Connection, name: str, **options: object) -> list[str]:
    """How many events of the last 30 days pass, in lines; a warning, where there is none.

    Ask before the filters are stored: that is an event, too.
    """
    filters = resolve(connection, **{**options, "since": RECENT, "until": None})
    return _report(connection, filters, name, "of the last 30 days")


def ever(connection: Connection, name: str, **options: object) -> list[str]:
    """The same of the whole log."""
    return _report(connection, resolve(connection, **options), name, "of the log")


def _report(connection: Connection, filters: Filters, name: str, period: str) -> list[str]:
    events = count(connection, filters)
    shown = f"{events:,}{' or more' if events == MOST_COUNTED else ''} {'event' if events == 1 else 'events'} {period}"
    warning = "" if events else "warning: "
    return [f"{warning}{name} matches {shown}", *(f"warning: {line}" for line in _unmatched(connection, filters))]


def say(lines: list[str]) -> None:
    """Write lines to stderr."""
    for line in lines:
        click.echo(printable(f"pgtrail: {line}"), err=True)


def count(connection: Connection, filters: Filters) -> int:
    """How many events pass, counted to 100,000."""
    row = connection.execute(QUERIES["count_newest"], {"wanted": filters.wanted, "most": MOST_COUNTED}).fetchone()
    return int(row[0]) if row else 0


def warn_unmatched(connection: Connection, filters: Filters) -> None:
    """Name what no event has, with what it may have been meant to be."""
    say([f"warning: {line}" for line in _unmatched(connection, filters)])


def _unmatched(connection: Connection, filters: Filters) -> Iterator[str]:
    for setting, value, known in connection.execute(QUERIES["unmatched"], {"wanted": filters.wanted}):
        near = get_close_matches(value, known, MOST_NAMED, 0.5)
        more = f", … {len(known) - MOST_NAMED} more" if not near and len(known) > MOST_NAMED else ""
        names = ", ".join(near or known[:MOST_NAMED]) + more
        hint = f"did you mean {names}?" if near else f"there are: {names}" if names else "there is none yet"
        yield f'no event has the {setting} "{value}" ({hint})'
