"""How things look in a terminal. Everything that came out of the database is printed as text, never as markup."""

import json
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

REDACTED = "[redacted]"
LONGEST_VALUE = 60
"""Characters of a value in a list; `show` prints it whole."""
MOST_FIELDS = 4
"""Fields of a created or deleted row that a list mentions."""


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
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def since_then(seconds: float) -> str:
    """How long something has lasted, in its largest unit."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def value(value: Any, *, limit: int | None = None) -> str:
    """A JSON value as people read it: a string bare, unless it would read as something else."""
    shown = value if isinstance(value, str) and not _reads_as_json(value) else json.dumps(value, ensure_ascii=False)
    shown = printable(shown)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def printable(text: str) -> str:
    """The text with its control characters escaped: what a database holds must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _reads_as_json(text: str) -> bool:
    """Whether a bare string could be taken for null, a number, a list …, or for nothing."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return not text
    return True


def short_details(details: dict[str, dict[str, Any]] | None, operation: str | None) -> Text:
    """What changed, in one line: `rpm_limit 60 → 120`; of a row that came or went, its first fields."""
    text = Text()
    fields = sorted((details or {}).items())
    if operation != "UPDATE":
        fields = [(field, change) for field, change in fields if _tells_something(field, change)]
    for number, (field, change) in enumerate(fields):
        if operation != "UPDATE" and number == MOST_FIELDS:
            text.append(f", … {len(fields) - MOST_FIELDS} more", style="dim")
            break
        text.append(", " if number else "")
        _append_change(text, field, change, operation)
    return text


def _tells_something(field: str, change: dict[str, Any]) -> bool:
    """Of a row that came or went: keys, times and empty values say little, and `show` has them."""
    return not field.endswith(("id", "_at")) and any(change[side] not in (None, "", [], {}, False) for side in change)


def _append_change(text: Text, field: str, change: dict[str, Any], operation: str | None) -> None:
    before, after = change["before"], change["after"]
    text.append(f"{printable(field)} ", style="bold")
    if operation != "UPDATE" and None in (before, after):
        text.append(value(after if before is None else before, limit=LONGEST_VALUE))
    elif REDACTED in (before, after):
        text.append("changed ")
        text.append(REDACTED, style="dim")
    else:
        text.append(value(before, limit=LONGEST_VALUE), style="red")
        text.append(" → ")
        text.append(value(after, limit=LONGEST_VALUE), style="green")
