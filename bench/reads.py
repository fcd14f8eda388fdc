"""How long the database takes for what is read of a log: every filter of the page and of `pgtrail log`, near and deep.

The page's own code and the command line's send their statements, in turns, with other organizations, actors, resources
and times in each round; measured is each statement's execution and fetching, as a role in audit_auditor and as a reader
of one organization. All files are read once before, so that they are in memory, as far as they fit (the first round of
each is kept by itself). Targets, at 20 million events: a first page in less than 20 ms (p95), a resource's history in
less than 5 ms.

Example:
  python bench/reads.py --events 20000000 --folder /var/tmp/pgtrail-history-20m
"""

import argparse
import asyncio
import contextlib
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import history
import reads_filters as asked
import results
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.commands import log as command
from pgtrail_cli.database import QUERIES
from pgtrail_cli.filters import as_filter
from pgtrail_web import log as page
from pgtrail_web.database import Database, query, read_frame, rows
from pgtrail_web.filters import Cursor, Filters, parse
from pgtrail_web.viewer import Viewer
from reads_clock import Clock, TimedAsyncCursor, TimedCursor, Took
from results import Figure

READER = "bench_reader"
PATIENCE = "2s"
DEPTHS = (10_000, 1_000_000)


Taken = dict[str, list[Took]]
"""What each round took, by what was read."""


async def _page(connection: Any, viewer: Viewer, filters: Filters) -> dict[str, Took]:
    """What the page sends for a URL: for the table with what stands round it, the chart, both; the actions."""
    async with connection.transaction():
        await connection.execute(query("read_only"))
        await Database._become(connection, viewer, 0)
        Clock.read()
        await page._search(connection, filters)
        frame = await read_frame(connection)
        table = Clock.read()
        await page._chart(connection, filters, frame)
        chart = Clock.read()
        # (The page asks for these once a minute.)
        await rows(connection, "actions")
        actions = Clock.read()
    return {"table": table, "chart": chart, "page": table.and_then(chart), "actions": actions}


async def _deep(connection: Any, filters: Filters, depth: int) -> Filters | None:
    """The page that begins after so many events; None: there are not so many."""
    async with connection.transaction():
        found = await connection.execute(
            "select (extract(epoch from occurred_at) * 1000000)::bigint as microseconds, id "
            "from audit_internal.newest_events(audit.filter(%s), %s) offset %s",
            [Jsonb(filters.as_json()), depth + 1, depth],
        )
        row = await found.fetchone()
    return filters.but(before=Cursor(row["microseconds"], row["id"])) if row else None


async def pages(dsn: str, org: Callable[[random.Random], str] | None, rounds: int) -> Taken:
    """Every filter of the page, as an auditor or as readers of organizations; the first round is the cold one."""
    choose = random.Random(1)
    taken: Taken = {}
    connection = await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, prepare_threshold=None, row_factory=dict_row, cursor_factory=TimedAsyncCursor
    )
    async with connection:
        for _ in range(rounds + 1):
            for name, ask in asked.PAGES.items():
                filters = parse(ask(choose))
                viewer = Viewer(org=org(choose) if org else None)
                for part, value in (await _page(connection, viewer, filters)).items():
                    taken.setdefault(f"{part}: {name}", []).append(value)
    return taken


async def deep_pages(dsn: str, superuser: str, rounds: int) -> Taken:
    """Pages far down, as an auditor."""
    taken: Taken = {}
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, "row_factory": dict_row}
    async with (
        await psycopg.AsyncConnection.connect(superuser, **options) as finding,
        await psycopg.AsyncConnection.connect(dsn, **options, cursor_factory=TimedAsyncCursor) as connection,
    ):
        for depth in DEPTHS:
            for name, given in asked.DEEP.items():
                # One for each round, a page apart or more.
                places = [await _deep(finding, parse(given), depth + 977 * place) for place in range(3)]
                for number in range(rounds + 1):
                    if filters := places[number % 3]:
                        found = await _page(connection, Viewer(), filters)
                        taken.setdefault(f"after {depth:,}: {name}", []).append(found["table"])
    return taken


def commands(dsn: str, org: Callable[[random.Random], str] | None, rounds: int) -> Taken:
    """Every filter of `pgtrail log`, and `pgtrail show`."""
    choose = random.Random(3)
    taken: Taken = {}
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None, cursor_factory=TimedCursor) as connection:
        for _ in range(rounds + 1):
            for name, ask in asked.COMMANDS.items():
                with connection.transaction():
                    if org:
                        connection.execute(
                            "select set_config('pgtrail.org', %s, true), set_config('role', 'audit_org_reader', true)",
                            [org(choose)],
                        )
                    connection.execute(f"set local statement_timeout = '{PATIENCE}'".encode())
                    Clock.read()
                    # What takes longer reads the whole log: it is given up, and said to have taken so long.
                    with contextlib.suppress(psycopg.errors.QueryCanceled), connection.transaction():
                        _command(connection, ask(choose))
                    taken.setdefault(f"log: {name}", []).append(Clock.read())
    return taken


def _command(connection: Any, options: dict[str, Any]) -> None:
    if "event_id" in options:
        connection.execute(QUERIES["event"], {"id": options["event_id"]}).fetchone()
        connection.execute(QUERIES["diff"], {"id": options["event_id"]}).fetchall()
        return
    command.search(connection, as_filter(**options), 50)


def p95(values: list[float]) -> float:
    """Of the warm rounds."""
    if len(values) < 3:
        return max(values)
    return statistics.quantiles(values[1:], n=20, method="inclusive")[18]


def show(reader: str, taken: Taken, least: float) -> None:
    """Print what takes at least so many milliseconds of CPU (p95)."""
    print(f"{reader:<56} {'median':>9} {'p95':>9} {'CPU: median':>12} {'p95':>9} {'cold':>9}  ms")
    for name, took in taken.items():
        clock, busy = ([*part] for part in zip(*took, strict=True))
        if p95(busy) >= least and not name.startswith("actions"):
            middle, middle_busy = (statistics.median(part[1:] or part) for part in (clock, busy))
            print(
                f"{name:<56} {middle:>9.2f} {p95(clock):>9.2f} {middle_busy:>12.2f} {p95(busy):>9.2f} {clock[0]:>9.2f}",
                flush=True,
            )


def measure(server: EmbeddedPostgres, events: int, rounds: int, readers: list[str], least: float = 0.0) -> list[Figure]:
    """Measure, print, and give the figures."""
    dsn, figures = server.dsn(user=READER), []
    variant = f"{events // 1_000_000} million"
    for reader in readers:
        org = asked.READERS[reader]
        found = asyncio.run(pages(dsn, org, rounds)) | commands(dsn, org, rounds)
        if org is None:
            found |= asyncio.run(deep_pages(dsn, server.dsn(), rounds))
        show(f"{reader}, {variant}", found, least)
        for name, took in found.items():
            warm = took[1:] or took
            work = f"{reader}, {name}"
            figures.append(Figure(work, variant, "ms", [round(each.clock, 2) for each in warm]))
            figures.append(Figure(f"{work} (CPU)", variant, "ms", [round(each.busy, 2) for each in warm]))
            figures.append(Figure(f"{work} (first look)", variant, "ms", [round(took[0].clock, 2)]))
    return figures


def become_ready(connection: history.Connection) -> None:
    """Make the role that reads."""
    if connection.execute("select to_regrole(%s)", [READER]).fetchone() == (None,):
        connection.execute(f"create role {READER} login in role audit_auditor".encode())


def warm(folder: Path) -> None:
    """Read all of a history, so that the system has it in memory."""
    for path in sorted((folder / "data" / "base").rglob("*")):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError), path.open("rb") as file:
            while file.read(1 << 24):
                pass


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, action="append", help="Can be repeated, with a folder for each.")
    parser.add_argument("--folder", type=Path, action="append", required=True)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--least", type=float, default=0.0, help="Print only what takes so many milliseconds (p95).")
    parser.add_argument("--readers", nargs="+", choices=asked.READERS, default=[*asked.READERS])
    options = parser.parse_args()
    figures: list[Figure] = []
    for events, folder in zip(options.events or [1_000_000], options.folder, strict=True):
        with history.opened(events, folder) as (server, connection):
            become_ready(connection)
            warm(folder)
            figures += measure(server, events, options.rounds, options.readers, options.least)
    results.save("reads", figures, rounds=options.rounds, warm=True)


if __name__ == "__main__":
    main()
