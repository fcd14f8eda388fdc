"""``pgtrail import``: the history of another tool."""

from collections import Counter
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import click
from psycopg.pq import TransactionStatus

from pgtrail.adoption import adoption_code
from pgtrail.connection import Connection, find_table
from pgtrail.owner import become_owner
from pgtrail.text import printable
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import with_connection
from pgtrail_cli.progress import progress_bar
from pgtrail_cli.render import console, local_time, plain_table
from pgtrail_cli.streams import say

TOOLS = ("supa_audit", "audit_trigger", "litellm")
BATCH_ROWS = 5000
PROBLEMS_SHOWN = 10
COUNTED = ("rows", "imported", "events", "unfit", "skipped")


@click.command("import")
@click.argument("tool", type=click.Choice(TOOLS))
@click.option(
    "--table", metavar="SCHEMA.TABLE", help="The table that holds the tool's log. Default: the one that is found."
)
@click.option("--dry-run", is_flag=True, help="List what would be imported, and change nothing.")
@with_connection
def import_(connection: Connection, tool: str, table: str | None, dry_run: bool) -> None:
    """Import the history that another audit tool recorded.

    TOOL is supa_audit, audit_trigger (2ndQuadrant's) or litellm. Each event keeps its time and says where it was
    imported from. The settings and rules of tracked tables name and redact it, so track first. A second run imports
    what is new; an interrupted one continues where it stopped. Destinations get imported events only by a replay.
    Run it as the role that ran `pgtrail migrate`, or as a superuser.

    \b
    Example:
      pgtrail import supa_audit --dry-run
      pgtrail import supa_audit
    """
    become_owner(connection)
    named = find_table(connection, table) if table is not None else None
    # A dry run is rolled back.
    with adoption_code(connection, "import") if dry_run else nullcontext():
        source, name = _ask(connection, "import_source", {"tool": tool, "table": named})
        waiting = _survey(connection, tool, source, name)
        by_table, total = _run(connection, tool, source, waiting, dry_run)
        _print_tables(by_table)
        _print_problems(connection, source, total)
    without = total["rows"] - total["imported"] - total["skipped"]
    say(
        f"{total['rows']:,} rows of {name} {'would give' if dry_run else 'gave'} {total['events']:,} events;"
        f" {without:,} changed nothing that is audited, or are in the log already"
    )


def _ask(connection: Connection, query: str, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """The row of a query that calls the functions of the import, which are created first unless they exist."""
    present = connection.info.transaction_status != TransactionStatus.IDLE
    with nullcontext() if present else adoption_code(connection, "import", rollback=False):
        return connection.fetch_one(QUERIES[query], arguments)


def _survey(connection: Connection, tool: str, source: int, name: str) -> int:
    """Print what there is; returns how many rows have not been read yet."""
    row = _ask(connection, "import_survey", {"tool": tool, "source": source})
    rows, read_before, first_at, last_at, beyond_retention = row
    say(f"{name}: {rows:,} rows{_span(first_at, last_at)}, {read_before:,} of them read before")
    if beyond_retention:
        say(
            f"{beyond_retention:,} of them are older than events are kept: the next pgtrail retention run may"
            " drop them (pgtrail retention set keeps them longer, pgtrail retention hold for good)"
        )
    return int(rows - read_before)


def _span(first_at: datetime | None, last_at: datetime | None) -> str:
    return f" from {local_time(first_at)} to {local_time(last_at)}" if first_at and last_at else ""


def _run(
    connection: Connection, tool: str, source: int, waiting: int, dry_run: bool
) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Import batch by batch, each in its own transaction; by table, and all together."""
    by_table: dict[str, dict[str, Any]] = {}
    total: Counter[str] = Counter()
    arguments = {"tool": tool, "source": source, "limit": BATCH_ROWS, "dry_run": dry_run}
    with progress_bar("importing", waiting) as advance:
        while True:
            (done,) = _ask(connection, "import_batch", arguments)
            if "total" in done:
                return by_table, total
            total.update({name: done.get(name, 0) for name in COUNTED})
            for table in done.get("tables", ()):
                _add(by_table.setdefault(table["table"], table | dict.fromkeys(COUNTED, 0)), table)
            advance(done.get("rows", 0))


def _add(known: dict[str, Any], batch: dict[str, Any]) -> None:
    for name in COUNTED:
        known[name] += batch[name]
    known["first_at"] = min(known["first_at"], batch["first_at"])
    known["last_at"] = max(known["last_at"], batch["last_at"])


def _print_tables(by_table: dict[str, dict[str, Any]]) -> None:
    table = plain_table("Table", "Rows", "Events", "From", "To", "Settings")
    for name, imported in sorted(by_table.items()):
        table.add_row(
            printable(name),
            f"{imported['rows']:,}",
            f"{imported['events']:,}",
            local_time(datetime.fromisoformat(imported["first_at"])),
            local_time(datetime.fromisoformat(imported["last_at"])),
            "of the tracked table" if imported["tracked"] else "none: it is not tracked",
        )
    if by_table:
        console().print(table)


def _print_problems(connection: Connection, source: int, total: Counter[str]) -> None:
    if not total["unfit"] + total["skipped"]:
        return
    say(
        f"{total['unfit']:,} rows did not fit their table as it is now,"
        f" {total['skipped']:,} could not be imported; audit.import_problem lists them:"
    )
    problems = connection.execute(QUERIES["import_problems"], {"source": source, "limit": PROBLEMS_SHOWN})
    for row_id, table, problem in problems:
        say(f"  row {row_id} ({table or ''}): {problem}")
