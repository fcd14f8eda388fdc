"""Months that move to Parquet files: what they take there, how long it takes, and how fast they are read.

On a history (bench/history.py; its months are sealed first): every month but the present one is archived as `pgtrail
archive` does it, read back and verified, and its drop tried and taken back; then filters are asked of the table and of
the archive in turns, warm, by the code of `pgtrail log`; and some months are exported from both and compared, byte for
byte. That every leaf of every event, computed anew from the files, is the one that was sealed, verifying has shown.

Example:
  python bench/archive.py --events 10500000 --folder /var/tmp/pgtrail-history-10m
"""

import argparse
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

import history
import results
from pgtrail.archive.checking import check_month
from pgtrail.archive.formats import csv_header, csv_line
from pgtrail.archive.location import Folder
from pgtrail.archive.manifest import EVENTS, Manifest
from pgtrail.archive.moving import old_months, working_directory
from pgtrail.archive.reading import Archive, open_archive
from pgtrail.archive.reading import resolve as resolve_archived
from pgtrail.archive.spool import spool
from pgtrail.archive.writing import write_month
from pgtrail.connection import Connection, open_connection
from pgtrail.export import begin_export
from pgtrail_cli.commands import log as command
from pgtrail_cli.filters import as_filter
from results import Figure

LIVE, ARCHIVED = "table", "archive"
COMPARED_MONTHS = 2
Stages = dict[str, tuple[float, float]]
"""Seconds of each, and those of the program's processors."""
Asked = dict[str, Callable[[random.Random], dict[str, Any]]]
FILTERS: Asked = {
    "newest 50": lambda choose: {},
    "newest 50 of a small organization": lambda choose: {"orgs": [f"org_{choose.randrange(300, 500)}"]},
    "newest 50 of the largest organization": lambda choose: {"orgs": ["org_1"]},
    "newest 50 of an action": lambda choose: {"actions": ["member.removed"]},
    "newest 50 of an actor": lambda choose: {"actor_id": f"usr_{choose.randrange(1000, 20_000)}"},
    "a resource's history": lambda choose: {"resource_id": history.RESOURCE_SHORT},
    "newest 50 of actors like *77@*": lambda choose: {"actors": ["*77@*"]},
}


def seal_all(connection: Connection) -> int:
    """Seal the history from its first event on; how many events were."""
    (known,) = connection.execute("select count(*) from audit.seal").fetchone() or (0,)
    if not known:
        connection.execute("update audit.seal_head set from_snapshot = '1:1:', from_time = null")
    events = 0
    while row := connection.execute("select events from audit.seal() where number is not null").fetchone():
        events += row[0]
    return events


@contextmanager
def timed(stages: Stages, name: str) -> Iterator[None]:
    """Add to a stage's seconds."""
    seconds, busy = stages.get(name, (0.0, 0.0))
    started, begun = time.perf_counter(), time.process_time()
    yield
    stages[name] = seconds + time.perf_counter() - started, busy + time.process_time() - begun


def archive(connection: Connection, location: Folder, temp: Path, before: datetime) -> tuple[list[Manifest], Stages]:
    """Every month, but that none is dropped for good."""
    stages: Stages = {}
    months = []
    with timed(stages, "planned"):
        plan = old_months(connection, before)
    for partition, _, _, reasons in plan:
        assert not reasons, (partition, reasons)
        with working_directory(temp, "bench") as folder:
            with timed(stages, "copied out"):
                copied = spool(connection, partition, folder)
            with timed(stages, "written"):
                month, digest = write_month(copied, location, folder)
            with timed(stages, "read back and verified"):
                assert list(check_month(location, month, temp)) == []
        with timed(stages, "dropped"), connection.transaction(force_rollback=True):
            connection.call("audit.drop_partition", partition, month.name, digest, False, before, month.events)
        months.append(month)
        print(f"{partition}: {month.events:,}", flush=True)
    return months, stages


def sizes(connection: Connection, months: list[Manifest]) -> list[Figure]:
    """What the months take in the database, and what their files do."""
    names = [month.partition for month in months]
    row = connection.execute(
        "select sum(pg_relation_size(name::regclass))::float8, sum(pg_total_relation_size(name::regclass))::float8, "
        "(select sum(pg_column_size(leaves) + pg_column_size(ids))::float8 from audit.seal_leaves) from unnest(%s::text[]) as name",
        [names],
    ).fetchone()
    assert row is not None
    heap, whole, leaves = row
    files = [file for month in months for file in month.files]
    events = sum(file.bytes for file in files if file.kind == EVENTS)
    count = sum(month.events for month in months)
    of = {
        "table without indexes": heap,
        "table": whole,
        "seals in the database": leaves,
        "archive: events": events,
        "archive: all files": sum(file.bytes for file in files),
    }
    return [
        *(Figure("size", variant, "MB", [round(size / 1e6)]) for variant, size in of.items()),
        *(Figure("an event", variant, "bytes", [round(size / count, 1)]) for variant, size in of.items()),
    ]


def filters(connection: Connection, archived: Archive, until: datetime, rounds: int) -> Iterator[Figure]:
    """Each filter of the table and of the archive, in turns; the same events, or it fails."""
    choose = random.Random(5)
    for name, ask in FILTERS.items():
        taken: dict[str, list[float]] = {LIVE: [], ARCHIVED: []}
        for number in range(rounds + 1):
            options = {**ask(choose), "until": until.isoformat()}
            found = {}
            for variant, read in ((LIVE, _live(connection)), (ARCHIVED, _archived(archived))):
                started = time.perf_counter()
                found[variant] = read(options)
                if number:
                    taken[variant].append(round((time.perf_counter() - started) * 1000, 1))
            assert found[LIVE] == found[ARCHIVED], (name, options)
        yield from (Figure(name, variant, "ms", values) for variant, values in taken.items())


def _live(connection: Connection) -> Callable[[dict[str, Any]], list[int]]:
    def read(options: dict[str, Any]) -> list[int]:
        return [row[0] for row in command.search(connection, as_filter(**options), 50)[0]]

    return read


def _archived(archived: Archive) -> Callable[[dict[str, Any]], list[int]]:
    return lambda options: [event["id"] for event in archived.newest(resolve_archived(archived, **options), 50)]


def counts(connection: Connection, archived: Archive, month: Manifest, rounds: int) -> Iterator[Figure]:
    """How many events of a category a month has."""
    options = {"categories": ["members"], "since": month.begins.isoformat(), "until": month.ends.isoformat()}
    taken: dict[str, list[float]] = {LIVE: [], ARCHIVED: []}
    for number in range(rounds + 1):
        started = time.perf_counter()
        live = connection.execute(
            "select sum(events)::bigint from audit_internal.count_events(%s, 'month', 2000000000)",
            [Jsonb(as_filter(**options))],
        ).fetchone()
        between = time.perf_counter()
        counted = archived.count(resolve_archived(archived, **options))
        ended = time.perf_counter()
        assert live == (counted,)
        if number:
            taken[LIVE].append(round((between - started) * 1000, 1))
            taken[ARCHIVED].append(round((ended - between) * 1000, 1))
    yield from (Figure("a month's count of a category", variant, "ms", values) for variant, values in taken.items())


def exports(connection: Connection, archived: Archive, months: list[Manifest]) -> Iterator[Figure]:
    """Some months as CSV, from both: events a second; the same bytes, or it fails."""
    options = {"since": months[0].begins.isoformat(), "until": months[-1].ends.isoformat()}
    events = sum(month.events for month in months)
    digests = {}
    for variant in (LIVE, ARCHIVED):
        digest = sha256()
        started = time.perf_counter()
        if variant == LIVE:
            with connection.cursor().copy(begin_export(connection, as_filter(**options)).csv) as pieces:
                for piece in pieces:
                    digest.update(piece)
        else:
            digest.update(csv_header())
            for event in archived.oldest_first(resolve_archived(archived, **options)):
                digest.update(csv_line(event))
        yield Figure("export", variant, "events/s", [round(events / (time.perf_counter() - started))])
        digests[variant] = digest.digest()
    assert digests[LIVE] == digests[ARCHIVED]


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="The history's.")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    before = datetime.now(UTC) - timedelta(seconds=1)
    with history.opened(options.events, options.folder) as (server, _), open_connection(server.dsn()) as connection:
        seal_all(connection)
        temp = Path(tempfile.mkdtemp(prefix="pgtrail-bench-", dir=options.folder))
        try:
            location = Folder(temp / "archive")
            location.root.mkdir()
            months, stages = archive(connection, location, temp, before)
            count = sum(month.events for month in months)
            figures = sizes(connection, months)
            for stage, (seconds, busy) in stages.items():
                figures.append(Figure("time", stage, "s", [round(seconds, 1)]))
                figures.append(Figure("processor time of the program", stage, "s", [round(busy, 1)]))
                figures.append(Figure("rate", stage, "events/s", [round(count / seconds)]))
            with open_archive(str(location.root)) as archived:
                until = max(month.ends for month in months)
                figures += filters(connection, archived, until, options.rounds)
                figures += counts(connection, archived, months[len(months) // 2], options.rounds)
                figures += exports(connection, archived, months[-COMPARED_MONTHS:])
        finally:
            shutil.rmtree(temp)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for figure in figures:
        print(f"{figure.work:<45} {figure.variant:<16} {sorted(figure.values)[len(figure.values) // 2]:>14,}")
    print(f"{count:,} events, {len(months)} months; memory at its peak {peak:.1f} GB")
    results.save(
        "archive", figures, events=count, months=len(months), rounds=options.rounds, peak_memory_gb=round(peak, 1)
    )


if __name__ == "__main__":
    main()
