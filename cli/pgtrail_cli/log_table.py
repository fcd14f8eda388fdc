"""The table of `pgtrail log`."""

from collections.abc import Iterable
from typing import Any

from rich.padding import Padding
from rich.text import Text

from pgtrail.details import parse_json
from pgtrail.text import printable
from pgtrail_cli.render import console, local_time, plain_table, short_details

MIN_TABLE_WIDTH = 110
"""Columns of a terminal for a table; in a narrower one the details go below each event."""


def print_rows(rows: Iterable[tuple[Any, ...]]) -> None:
    """Events as a table: of each id, time, action, actor, resource, details as JSON, operation, name."""
    screen = console()
    narrow = screen.width < MIN_TABLE_WIDTH
    table = plain_table("ID", "Timestamp", "Action", "Actor", "Resource", "Details")
    for column in table.columns[:3]:
        column.no_wrap = True
    for _, occurred_at, action, actor, resource, details, operation, name in rows:
        cells = (
            Text(name),
            Text(local_time(occurred_at)),
            Text(action, style="cyan"),
            Text(printable(actor or "")),
            Text(printable(resource or "")),
        )
        details_text = short_details(parse_json(details), operation)
        if narrow:
            screen.print(Text("  ").join(cells))
            screen.print(Padding(details_text, (0, 0, 0, 4)))
        else:
            table.add_row(*cells, details_text)
    if table.row_count:
        screen.print(table)
