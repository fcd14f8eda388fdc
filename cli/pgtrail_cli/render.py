"""Tables and texts for a terminal. What comes from the database is printed as text, never as markup."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgtrail.details import REDACTED, Details, short_changes
from pgtrail.moments import shown
from pgtrail.text import printable


def console(*, stderr: bool = False) -> Console:
    """A console: colours on a terminal only, and never under NO_COLOR; a pipe gets wide lines."""
    screen = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
    if not screen.is_terminal:
        screen.width = 160
    return screen


def plain_table(*columns: str) -> Table:
    """A table without a frame."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def cell(value: Any) -> Text:
    """A value as a table shows it: times in the local zone, lists with commas, null as nothing."""
    if isinstance(value, Text):
        return value
    if isinstance(value, datetime):
        return Text(local_time(value))
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return Text("" if value is None else printable(str(value)))


def rows_table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> Table:
    """A table of dictionaries: the key of each column, by its heading."""
    table = plain_table(*columns)
    for row in rows:
        table.add_row(*(cell(row[key]) for key in columns.values()))
    return table


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Names and values, one a line; what is empty is left out."""
    table = plain_table("", "")
    table.show_header = False
    table.columns[0].style = "bold"
    for name, value in facts.items():
        if shown := cell(value):
            table.add_row(name, shown)
    return table


def local_time(moment: datetime | None) -> str:
    """A time in the local time zone, to the second."""
    return shown(moment, "%Y-%m-%d %H:%M:%S") if moment else ""


def short_details(details: Details | None, operation: str | None) -> Text:
    """What changed, in one line: `rpm_limit 60 → 120`; of a created or deleted row, its first fields."""
    text = Text()
    changes, more = short_changes(details, operation)
    for number, change in enumerate(changes):
        text.append(", " if number else "")
        text.append(f"{change.field} ", style="bold")
        if change.after is None:
            text.append("changed ")
            text.append(REDACTED, style="dim")
        elif change.before is None:
            text.append(change.after)
        else:
            text.append(change.before, style="red")
            text.append(" → ")
            text.append(change.after, style="green")
    if more:
        text.append(f", … {more} more", style="dim")
    return text
