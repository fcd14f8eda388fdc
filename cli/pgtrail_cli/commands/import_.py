"""``pgtrail import``: history that another tool recorded."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pgtrail_cli.connection import Connection, find_table, with_connection
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.render import console, local_time, plain_table, printable

TOOLS = ("supa_audit", "audit_trigger", "litellm")
BATCH_ROWS = 5000
TOLD_PROBLEMS = 10
COUNTED = ("rows", "imported", "events", "unfit", "skipped")


@click.command("import")
@click.argument("tool", type=click.Choice(TOOLS))
@click.option(
    "--table", metavar="SCHEMA.TABLE", help="The table that holds the tool's log. Default: the one that is found."
)
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and change nothing.")
@with_connection
def import_(connection: Connection, tool: str, table: str | None, dry_run: bool) -> None:
    """Import the history that another audit tool recorded.

    TOOL is supa_audit, audit_trigger (2ndQuadrant's) or litellm. Each event keeps its time and says where it was
    imported from. The settings and rules of tracked tables name and redact it, so track first. A second run imports
    what is new; an interrupted one continues where it stopped. Destinations get imported events only by a replay.

    \b
    Example:
      pgtrail import supa_audit --dry-run
      pgtrail import supa_audit
    """
    named = find_table(connection, table) if table is not None else None
    found = connection.execute(QUERIES["import_source"], {"tool": tool, "table": named}).fetchone()
    assert found is not None
    source, name = found
    waiting = _survey(connection, tool, source, name)
    with _rehearsal(connection, dry_run):
        by_table, total = _run(connection, tool, source, waiting, dry_run)
        _print_tables(by_table)
        _tell_problems(connection, source, total)
    told = "would give" if dry_run else "gave"
    without = total["rows"] - total["imported"] - total["skipped"]
    click.echo(
        f"pgtrail: {total['rows']:,} rows of {printable(name)} {told} {total['events']:,} events;"
        f" {without:,} changed nothing that is audited, or are in the log already",
        err=True,
    )


def _survey(connection: Connection, tool: str, source: int, name: str) -> int:
    """Say what there is; how many rows have not been read yet."""
    row = connection.execute(QUERIES["import_survey"], {"tool": tool, "source": source}).fetchone()
    assert row is not None
    rows, read_before, first_at, last_at, beyond_retention = row
    click.echo(
        f"pgtrail: {printable(name)}: {rows:,} rows{_span(first_at, last_at)}, {read_before:,} of them read before",
        err=True,
    )
    if beyond_retention:
        click.echo(
            f"pgtrail: {beyond_retention:,} of them are older than events are kept: the next pgtrail retention run may"
            " drop them (pgtrail retention set keeps them longer, pgtrail retention hold for good)",
            err=True,
        )
    return int(rows - read_before)


def _span(first_at: datetime | None, last_at: datetime | None) -> str:
    return f" from {local_time(first_at)} to {local_time(last_at)}" if first_at and last_at else ""


@contextmanager
def _rehearsal(connection: Connection, dry_run: bool) -> Iterator[None]:
    """Nothing that is done in a dry run stays."""
    if not dry_run:
        yield
        return
    with connection.transaction(force_rollback=True):
        yield


def _run(
    connection: Connection, tool: str, source: int, waiting: int, dry_run: bool
) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Import batch by batch, each in its own transaction; by table, and all together."""
    by_table: dict[str, dict[str, Any]] = {}
    total: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    arguments = {"tool": tool, "source": source, "most": BATCH_ROWS, "dry_run": dry_run}
    # On a terminal only.
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("importing", total=waiting)
        while True:
            row = connection.execute(QUERIES["import_batch"], arguments).fetchone()
            assert row is not None
            done = row[0]
            if "total" in done:
                return by_table, total
            total.update({name: done.get(name, 0) for name in COUNTED})
            for told in done.get("tables", ()):
                _add(by_table.setdefault(told["table"], dict(told, **dict.fromkeys(COUNTED, 0))), told)
            progress.update(task, completed=total["rows"], total=max(waiting, total["rows"]))


def _add(known: dict[str, Any], told: dict[str, Any]) -> None:
    for name in COUNTED:
        known[name] += told[name]
    known["first_at"] = min(known["first_at"], told["first_at"])
    known["last_at"] = max(known["last_at"], told["last_at"])


def _print_tables(by_table: dict[str, dict[str, Any]]) -> None:
    table = plain_table("Table", "Rows", "Events", "From", "To", "Settings")
    for name in sorted(by_table):
        told = by_table[name]
        table.add_row(
            printable(name),
            f"{told['rows']:,}",
            f"{told['events']:,}",
            local_time(datetime.fromisoformat(told["first_at"])),
            local_time(datetime.fromisoformat(told["last_at"])),
            "of the tracked table" if told["tracked"] else "none: it is not tracked",
        )
    if by_table:
        console().print(table)


def _tell_problems(connection: Connection, source: int, total: Counter[str]) -> None:
    if not total["unfit"] + total["skipped"]:
        return
    click.echo(
        f"pgtrail: {total['unfit']:,} rows did not fit their table as it is now,"
        f" {total['skipped']:,} could not be imported; audit.import_problem lists them:",
        err=True,
    )
    problems = connection.execute(QUERIES["import_problems"], {"source": source, "most": TOLD_PROBLEMS})
    for row_id, table, problem in problems:
        click.echo(f"pgtrail:   row {printable(row_id)} ({printable(table or '')}): {problem}", err=True)
