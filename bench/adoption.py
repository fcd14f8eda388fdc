"""How long writers wait while tables are tracked, observed and untracked under them.

pgbench updates single rows of three tables by eight clients, RATE transactions a second, and logs each of them; beside it
a transaction on all three stays open for a fifth of a second at a time, so that a lock is hardly ever free at once.
Meanwhile the tables are tracked with a way to their organization and a rule, observed, and untracked, over and over. The
longest transaction of a client in each step is reported, beside what the same clients need when nothing else is done, and
beside the same kind of trigger made the plain way, which waits for its lock as long as it takes.

Example:
  python bench/adoption.py --rounds 5
"""

import argparse
import statistics
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from pgtrail.server.embedded import EmbeddedPostgres
from stage import Connection, database

COLUMNS = {
    "nemo.team": {},
    "nemo.api_key": {"key_prefix": "'sk'", "key_hash": "'h'"},
    "nemo.budget": {"max_spend": "1", "duration": "'daily'"},
}
"""The tables, and what a row of each needs besides its id, organization and name."""
CLIENTS = 8
RATE = 300
ROWS = 5_000
OPEN_SECONDS = 0.2
CALM_SECONDS = 3.0

Span = tuple[float, float]


@contextmanager
def writing(server: EmbeddedPostgres, folder: Path) -> Iterator[None]:
    """Clients that write, and one that takes its time."""
    scripts = []
    for table in COLUMNS:
        script = folder / f"{table}.sql"
        script.write_text(
            f"\\set n random(1, {ROWS})\n"
            f"update {table} set name = 'name ' || random() where id = lpad(:n::text, 32, '0')::uuid;\n"
        )
        scripts += ["-f", str(script)]
    command: list[str | Path] = [
        server.binaries.bin_dir / "pgbench",
        "-n",
        "-c",
        str(CLIENTS),
        "-R",
        str(RATE),
        "-T",
        "100000",
    ]
    command += ["-l", "--log-prefix", str(folder / "log"), *scripts, server.dsn()]
    clients = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop = threading.Event()
    lingering = threading.Thread(target=linger, args=(server.dsn(), stop))
    lingering.start()
    try:
        yield
    finally:
        stop.set()
        lingering.join()
        clients.kill()
        clients.wait()


def linger(dsn: str, stop: threading.Event) -> None:
    """Transactions that stay open, on rows that nobody else writes to."""
    with psycopg.connect(dsn) as connection:
        while not stop.wait(OPEN_SECONDS / 10):
            for table in COLUMNS:
                connection.execute(f"update {table} set name = name where id = lpad('0', 32, '0')::uuid")
            stop.wait(OPEN_SECONDS)
            connection.commit()


def logged(folder: Path) -> list[Span]:
    """Beginning and end of each transaction of the clients, in seconds of the clock."""
    spans = []
    for file in folder.glob("log.*"):
        for line in file.read_text().splitlines():
            fields = line.split()
            # (The last line of a client that is killed may be half written.)
            if len(fields) < 7:
                continue
            _client, _number, microseconds, _script, second, rest, lag = fields
            end = int(second) + int(rest) / 1e6
            # Without the time for which it was late already when it began.
            spans.append((end - (int(microseconds) - int(lag)) / 1e6, end))
    return spans


def track(connection: Connection) -> None:
    """What psql does with a file: each statement by itself."""
    for table in COLUMNS:
        connection.execute(
            "select audit.track(%s::regclass, org => 'org_id -> nemo.organization.id', label => 'name')", [table]
        )
        connection.execute(
            "select audit.rule(relation, 'thing.renamed', category, 'UPDATE', 'new.name is distinct from old.name') "
            "from audit.tracked_table where relation = %s::regclass",
            [table],
        )


def observe(connection: Connection) -> None:
    """`pgtrail baseline`."""
    for table in COLUMNS:
        connection.execute("call audit.record_baseline(%s::regclass)", [table])


def untrack(connection: Connection) -> None:
    """`pgtrail untrack`."""
    for table in COLUMNS:
        connection.execute("select audit.untrack(%s::regclass)", [table])


def plainly(connection: Connection) -> None:
    """A trigger, made as one makes triggers."""
    for table in COLUMNS:
        connection.execute(f"create trigger plain after update on {table} for each row execute function nemo.nothing()")
    for table in COLUMNS:
        connection.execute(f"drop trigger plain on {table}")


STEPS: dict[str, Callable[[Connection], object]] = {
    "nothing": lambda _: time.sleep(CALM_SECONDS),
    "track": track,
    "baseline": observe,
    "untrack": untrack,
    "plain create and drop trigger": plainly,
}


def prepare(connection: Connection) -> None:
    """Rows with ids that a script can name; nothing is tracked yet."""
    untrack(connection)
    connection.execute("create function nemo.nothing() returns trigger language plpgsql as 'begin return null; end'")
    for table, extra in COLUMNS.items():
        connection.execute(
            f"insert into {table} ({', '.join(('id', 'org_id', 'name', *extra))}) "
            f"select {', '.join(('lpad(i::text, 32, $$0$$)::uuid', 'organization.id', 'i::text', *extra.values()))} "
            f"from nemo.organization, generate_series(0, {ROWS}) as i"
        )
        connection.execute(f"vacuum analyze {table}")


def measure(rounds: int) -> dict[str, list[Span]]:
    """By step: its rounds, each with the milliseconds of the longest transaction meanwhile and of the step itself."""
    steps: dict[str, list[Span]] = defaultdict(list)
    with database() as (server, connection), tempfile.TemporaryDirectory(prefix="pgtrail-bench-") as name:
        prepare(connection)
        with writing(server, Path(name)):
            time.sleep(1)
            for _ in range(rounds):
                for step, do in STEPS.items():
                    began = time.time()
                    do(connection)
                    steps[step].append((began, time.time()))
                    time.sleep(0.5)
        spans = logged(Path(name))
    return {
        step: [
            (max((end - begin) * 1000 for begin, end in spans if end > began and begin < ended), (ended - began) * 1000)
            for began, ended in times
        ]
        for step, times in steps.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{CLIENTS} clients, {RATE} transactions/s, {len(COLUMNS)} tables; the longest transaction meanwhile, ms")
    for step, rounds in measure(options.rounds).items():
        longest = [wait for wait, _ in rounds]
        print(
            f"  {step:<30} median {statistics.median(longest):>7,.1f}  longest {max(longest):>7,.1f}"
            f"   (took {statistics.median(took for _, took in rounds):,.0f} ms)"
        )


if __name__ == "__main__":
    main()
