"""How things look in a terminal. Everything that came out of the database is printed as text, never as markup."""

from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgtrail.details import REDACTED, Details, behind, short_changes, value
from pgtrail.moments import shown
from pgtrail.text import printable

__all__ = ["behind", "console", "local_time", "plain_table", "printable", "short_details", "value"]


def console(*, stderr: bool = False) -> Console:
    """Colours on a terminal only, none under NO_COLOR. A pipe gets lines as long as they are."""
    made = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = 160
    return made


def plain_table(*columns: str) -> Table:
    """A table without a frame."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def local_time(moment: datetime | None) -> str:
    """A time in the zone of whoever reads it, to the second."""
    return shown(moment, "%Y-%m-%d %H:%M:%S") if moment else ""


def short_details(details: Details | None, operation: str | None) -> Text:
    """What changed, in one line: `rpm_limit 60 → 120`; of a row that came or went, its first fields."""
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
