"""What grows with the log, and what does not: writing, storage, the forwarder's look, sealing, verifying, partitions.

On histories of 1, 5 and 20 million events (bench/history.py; new events are added to them): audited updates of one row,
with the processor's time that the writing backend takes for each; the bytes that an event takes; how many looks a second
a destination that is up to date can be given, and what a look costs; how fast new events are sealed and verified; what
audit.make_partitions() takes. Flat, if the histories' figures are alike.

Example:
  python bench/growth.py --events 1000000 --folder /var/tmp/history-1m --events 20000000 --folder /var/tmp/history-20m
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

import history
import results
import stage
from pgtrail.server.embedded import EmbeddedPostgres
from results import Figure

TEAMS = 1000
LOOKS = 100
NEW_EVENTS = 20_000
"""That are sealed and verified in each round."""
Measured = dict[tuple[str, str], list[float]]
"""The values of each round, by work and unit."""


def processor_seconds(pid: int) -> float:
    """That a process has been running so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def script() -> Iterator[Path]:
    """The file of pgbench."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(stage.UPDATE_TEAM)
        file.flush()
        yield Path(file.name)


def prepare(connection: history.Connection) -> None:
    """Make the teams and a destination, once, that gets nothing before now."""
    if connection.execute("select from nemo.team limit 1").fetchone() is None:
        connection.execute("insert into nemo.organization (name, slug) values ('Growing', 'growing')")
        stage.create_teams(connection, TEAMS)
        connection.execute("create index on nemo.team (name)")
        stage.add_destination(connection, "growth", "http://127.0.0.1:9")
        connection.execute("vacuum analyze nemo.team")


def writing(server: EmbeddedPostgres, clients: int, seconds: int) -> float:
    """Audited updates a second."""
    with script() as file:
        return stage.transactions(server, server.dsn(), file, clients, seconds, "-M", "prepared")


def write_alone(connection: history.Connection, updates: int) -> float:
    """Microseconds of the backend's processor for each update, one after the other in transactions of their own."""
    statement = "update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where name = 'team ' || %s"
    for number in range(20):
        connection.execute(statement, [number + 1], prepare=True)
    before = processor_seconds(connection.info.backend_pid)
    for number in range(updates):
        connection.execute(statement, [number % TEAMS + 1], prepare=True)
    return (processor_seconds(connection.info.backend_pid) - before) / updates * 1e6


def storage(connection: history.Connection) -> dict[str, float]:
    """Bytes an event of the history: of the months that are full."""
    row = connection.execute(
        """
        select
            sum(pg_relation_size(partition))::float8,
            sum(pg_indexes_size(partition))::float8,
            sum(pg_table_size(partition) - pg_relation_size(partition))::float8,
            sum(reltuples)::float8,
            (
                select pg_total_relation_size('audit.search_index') / sum(search_index.events)::float8
                from audit.search_index
                where action is not null
            )
        from audit_internal.partition_bounds()
        join pg_class on pg_class.oid = partition
        where ends <= date_trunc('month', now())
        """
    ).fetchone()
    assert row is not None
    heap, indexes, other, events, searched = row
    return {
        "the table": heap / events,
        "the indexes": indexes / events,
        "TOAST and maps": other / events,
        "the search index": searched,
        "all": (heap + indexes + other) / events + searched,
    }


def looks(dsn: str) -> tuple[list[float], float]:
    """Milliseconds of each of the forwarder's looks that find nothing, and microseconds of processor for each."""
    look = (
        "select lease_token, event_ids, body from audit_internal.next_batch("
        "(select id from audit.cursor where replay_id is null and destination_id = audit_internal.destination_id('growth')), 'growth')"
    )
    taken = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        _catch_up(connection, look)
        before = processor_seconds(connection.info.backend_pid)
        for _ in range(LOOKS):
            started = time.perf_counter()
            found = connection.execute(look, prepare=True).fetchone()
            taken.append((time.perf_counter() - started) * 1000)
            assert found is not None
            assert found[1] == []
        busy = processor_seconds(connection.info.backend_pid) - before
    return taken, busy / LOOKS * 1e6


def _catch_up(connection: history.Connection, look: str) -> None:
    """Begin with the destination's cursor at the present."""
    connection.execute(
        "update audit.cursor set batch_from = pg_current_snapshot(), batch_to = null, last_sent_id = 0 "
        "where replay_id is null and destination_id = audit_internal.destination_id('growth')"
    )
    for _ in range(5):
        connection.execute(look)


def sealing(connection: history.Connection) -> float:
    """New events sealed a second; everything is sealed before."""
    seal_all(connection)
    for _ in range(NEW_EVENTS // TEAMS):
        connection.execute("update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where name like 'team %'")
    started = time.perf_counter()
    return seal_all(connection) / (time.perf_counter() - started)


def seal_all(connection: history.Connection) -> int:
    """How many events were sealed."""
    events = 0
    while row := connection.execute("select events from audit.seal() where number is not null").fetchone():
        events += row[0]
    return events


def verifying(server: EmbeddedPostgres, connection: history.Connection) -> float:
    """Events verified a second, of the last seals, by `pgtrail verify --from`."""
    # (The first seal of a history does not hold: it was made to begin after it.)
    row = connection.execute(
        "select min(number), sum(events) from audit.seal where number >= greatest(2, (select max(number) - 1 from audit.seal))"
    ).fetchone()
    assert row is not None
    command = [sys.executable, "-m", "pgtrail_cli", "verify", "--from", str(row[0]), "--dsn", server.dsn()]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return float(row[1]) / (time.perf_counter() - started)


def partitions(connection: history.Connection) -> float:
    """Milliseconds of audit.make_partitions() where all are there."""
    started = time.perf_counter()
    connection.execute("select audit.make_partitions()")
    return (time.perf_counter() - started) * 1000


def measure(server: EmbeddedPostgres, connection: history.Connection, options: argparse.Namespace) -> Measured:
    """All of it, round by round."""
    prepare(connection)
    found: Measured = {}

    def keep(work: str, unit: str, *values: float) -> None:
        found.setdefault((work, unit), []).extend(values)

    for what, size in storage(connection).items():
        keep(f"an event: {what}", "bytes", size)
    for number in range(options.rounds + 1):
        rate = writing(server, options.clients, options.seconds)
        busy = write_alone(connection, 2000)
        taken, look = looks(server.dsn())
        sealed = sealing(connection)
        verified = verifying(server, connection)
        # (The first round fills the caches.)
        if number:
            keep(f"update, {options.clients} clients", "transactions/s", rate)
            keep("update: processor of the backend", "µs", busy)
            keep("a look of the forwarder", "ms", statistics.median(taken))
            keep("a look: processor of the backend", "µs", look)
            keep("sealing", "events/s", sealed)
            keep("verifying", "events/s", verified)
            keep("make_partitions()", "ms", partitions(connection))
    return found


def show(found: dict[str, Measured]) -> None:
    """Print a column for each history."""
    print(f"{'median':<48}" + "".join(f"{variant:>14}" for variant in found))
    for work, unit in next(iter(found.values())):
        values = [statistics.median(measured[work, unit]) for measured in found.values()]
        print(f"{f'{work} ({unit})':<48}" + "".join(f"{value:>14,.1f}" for value in values))


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, action="append", required=True, help="Can be repeated, with a folder.")
    parser.add_argument("--folder", type=Path, action="append", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, Measured] = {}
    for events, folder in zip(options.events, options.folder, strict=True):
        with history.opened(events, folder) as (server, connection):
            found[f"{events // 1_000_000} million"] = measure(server, connection, options)
    show(found)
    figures: list[Any] = [
        Figure(work, variant, unit, [round(value, 3) for value in values])
        for variant, measured in found.items()
        for (work, unit), values in measured.items()
    ]
    results.save("growth", figures, rounds=options.rounds, clients=options.clients, seconds=options.seconds)


if __name__ == "__main__":
    main()
