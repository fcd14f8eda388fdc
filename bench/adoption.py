"""How long writers wait while tables are tracked, observed and untracked under them.

Eight writers update single rows of three tables without a pause; a ninth holds a transaction open for a fifth of a second
at a time, so that no moment is free of writers for long. Meanwhile the tables are tracked with rules and a way to their
organization, observed by a snapshot, and untracked again, over and over. Each writer notes how long each of its
transactions took; those that overlap with a step are its, and beside them stands what the same writers need when nothing
else is done. For comparison the same triggers are made the plain way, waiting for the lock as long as it takes.

Example:
  python bench/adoption.py --rounds 5
"""

import argparse
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import psycopg

from stage import Connection, database

TABLES = ("nemo.team", "nemo.api_key", "nemo.budget")
WRITERS = 8
ROWS = 5_000
OPEN_SECONDS = 0.2
CALM_SECONDS = 3.0

Span = tuple[float, float]


class Writers:
    """Threads that write until they are stopped, and the beginning and end of each of their transactions."""

    def __init__(self, dsn: str) -> None:
        self.spans: list[list[Span]] = [[] for _ in range(WRITERS)]
        self._dsn = dsn
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        self._threads.append(threading.Thread(target=self._linger))

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            turn = 0
            while not self._stop.is_set():
                turn += 1
                began = time.monotonic()
                connection.execute(
                    f"update {TABLES[turn % len(TABLES)]} set name = %s where id in "
                    f"(select id from {TABLES[turn % len(TABLES)]} offset %s limit 1)",
                    [f"{number} {turn}", (turn * 37 + number * 611) % 100],
                )
                self.spans[number].append((began, time.monotonic()))

    def _linger(self) -> None:
        with psycopg.connect(self._dsn) as connection:
            while not self._stop.is_set():
                for table in TABLES:
                    connection.execute(
                        f"update {table} set name = name where id = (select id from {table} order by id desc limit 1)"
                    )
                time.sleep(OPEN_SECONDS)
                connection.commit()
                time.sleep(OPEN_SECONDS / 10)

    def longest_within(self, step: Span) -> float:
        """Milliseconds of the longest transaction that overlaps with a step."""
        began, ended = step
        return (
            max(
                (end - begin for spans in self.spans for begin, end in spans if end > began and begin < ended),
                default=0,
            )
            * 1000
        )


def track(connection: Connection) -> None:
    """What `pgtrail apply` does: each statement by itself."""
    for table in TABLES:
        connection.execute(
            "select audit.track(%s::regclass, org => 'org_id -> nemo.organization.id', label => 'name')", [table]
        )
        connection.execute(
            "select audit.rule(%s::regclass, 'thing.renamed', (select category from audit.tracked_table where relation = %s::regclass), "
            "'UPDATE', 'new.name is distinct from old.name')",
            [table, table],
        )


def observe(connection: Connection) -> None:
    for table in TABLES:
        connection.execute("call audit.snapshot(%s::regclass)", [table])


def untrack(connection: Connection) -> None:
    for table in TABLES:
        connection.execute("select audit.untrack(%s::regclass)", [table])


def plainly(connection: Connection) -> None:
    """The same kind of triggers, made as one makes triggers."""
    for table in TABLES:
        connection.execute(f"create trigger plain after update on {table} for each row execute function nemo.nothing()")
    for table in TABLES:
        connection.execute(f"drop trigger plain on {table}")


STEPS: dict[str, Callable[[Connection], None]] = {
    "track": track,
    "snapshot": observe,
    "untrack": untrack,
    "plain create and drop trigger": plainly,
}


def measure(rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds by step: the longest wait of a writer, and how long the step itself took."""
    waits: dict[str, list[float]] = defaultdict(list)
    took: dict[str, list[float]] = defaultdict(list)
    with database() as (server, connection):
        untrack(connection)
        connection.execute(
            "create function nemo.nothing() returns trigger language plpgsql as 'begin return null; end'"
        )
        organization = connection.execute("select id from nemo.organization").fetchone()
        assert organization is not None
        for table in TABLES:
            extra = (
                ", key_prefix, key_hash"
                if table == "nemo.api_key"
                else ", max_spend, duration"
                if table == "nemo.budget"
                else ""
            )
            values = ", 'sk', 'h'" if table == "nemo.api_key" else ", 1, 'daily'" if table == "nemo.budget" else ""
            connection.execute(
                f"insert into {table} (org_id, name{extra}) select %s, i::text{values} from generate_series(1, {ROWS}) as i",
                [organization[0]],
            )
            connection.execute(f"vacuum analyze {table}")
        with Writers(server.dsn()) as writers:
            time.sleep(1)
            for _ in range(rounds):
                began = time.monotonic()
                time.sleep(CALM_SECONDS)
                waits["nothing"].append(writers.longest_within((began, time.monotonic())))
                took["nothing"].append(CALM_SECONDS * 1000)
                for name, step in STEPS.items():
                    began = time.monotonic()
                    step(connection)
                    ended = time.monotonic()
                    time.sleep(0.3)
                    waits[name].append(writers.longest_within((began, ended)))
                    took[name].append((ended - began) * 1000)
    return waits, took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    waits, took = measure(options.rounds)
    print(
        f"{WRITERS} writers of {len(TABLES)} tables, {options.rounds} rounds; the longest transaction of a writer meanwhile, ms"
    )
    for name, values in waits.items():
        print(
            f"  {name:<30} median {statistics.median(values):>8,.1f}  longest {max(values):>8,.1f}"
            f"   (took {statistics.median(took[name]):,.0f} ms)"
        )


if __name__ == "__main__":
    main()
