"""A history of many events over 24 months and 500 organizations, made fast, kept for the benchmarks that read it.

What the triggers would have written, in the order of time: a few large organizations and many small ones, services that
act in all of them, people who act in theirs, frequent actions and rare ones, a resource with 100,000 events
(RESOURCE_LONG) and one with three (RESOURCE_SHORT). Each month is filled as a table without indexes, on two
connections, and attached when it has them.

Example:
  python bench/history.py --events 20000000 --folder /var/tmp/pgtrail-history
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pgtrail.install import files_hash
from pgtrail.project_files import project_files
from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo.reference import migrate_with_reference

Connection = psycopg.Connection[Any]
MONTHS = 24
DAYS = 730
ORGS = 500
ACTORS = 20_000
RESOURCES = 262_144
RESOURCE_LONG, RESOURCE_SHORT = "res_long", "res_short"
LONG_EVENTS = 100_000
FIRST_ID = 1000
"""Above those of what pgtrail has recorded of its own."""
FIRST_XID = 30 << 20
"""Of the transactions of the server itself; below it each event has one of its own. (A file of pg_xact begins here.)"""
FILLING = {
    "fsync": "off",
    "full_page_writes": "off",
    # A table of the same transaction is not logged.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "shared_buffers": "1GB",
    "maintenance_work_mem": "1GB",
    "max_parallel_maintenance_workers": "0",
    "autovacuum": "off",
}
READING = {"fsync": "off", "max_wal_size": "8GB", "shared_buffers": "2GB", "autovacuum": "off"}

FILL = Path(__file__).with_suffix(".sql")
"""The statement that makes the events of some numbers, in psycopg.sql's format."""


@dataclass(frozen=True, slots=True)
class History:
    """What is to be made.

    :param start: when its first event happened.
    :param step: from each event to the next one.
    :param prefix: of the ids of organizations and resources.
    """

    events: int
    start: datetime
    step: timedelta
    prefix: str = ""

    def first_since(self, moment: datetime) -> int:
        """The number, from 0, of the first event not before a moment."""
        return max(0, -((self.start - moment) // self.step))

    def parameters(self, first: int, last: int) -> dict[str, Any]:
        """What FILL takes: the events of these numbers, both included."""
        every = max(self.events // LONG_EVENTS, 10)
        short = [self.events * quarter // 4 for quarter in (1, 2, 3)]
        return {"start": self.start, "step": self.step, "every": every, "short": short, "first": first, "last": last}


def _months(history: History, until: datetime) -> list[tuple[datetime, datetime, int, int]]:
    """Each month that has events: its beginning and end, the numbers of its first event and of the one after its last."""
    found, begins = [], history.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while begins < until:
        ends = (begins + timedelta(days=32)).replace(day=1)
        found.append((begins, ends, history.first_since(begins), min(history.first_since(ends), history.events)))
        begins = ends
    return found


def fill(connection: Connection, dsn: str, events: int, prefix: str = "") -> None:
    """Make the history in a log that has no events; nothing of it is sealed."""
    until = datetime.now(UTC) - timedelta(minutes=5)
    step = timedelta(days=DAYS) / events
    history = History(events, until - step * events, step, prefix)
    months = _months(history, until)
    with ThreadPoolExecutor(max_workers=2) as pool:
        # The last one first: it has a partition, with its indexes, and takes longer.
        list(pool.map(lambda month: _fill_month(dsn, history, *month), reversed(months)))
        names = [
            name for (name,) in connection.execute("select partition::text from audit_internal.partition_bounds()")
        ]
        list(pool.map(lambda name: _vacuum(dsn, name), names))
    connection.execute("vacuum (analyze) audit.event")
    while connection.execute("select audit_internal.index_events(1)").fetchone() == (True,):
        # (As autovacuum would, which is off.)
        connection.execute("vacuum audit.search_index")
    connection.execute("select setval('audit.event_id_seq', %s)", [FIRST_ID + events])
    # Sealing begins with what comes now, as where pgtrail was installed before it could seal.
    connection.execute(
        "update audit.seal_head set from_snapshot = pg_current_snapshot(), from_time = clock_timestamp()"
    )
    connection.execute("checkpoint")


def _vacuum(dsn: str, partition: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"vacuum (analyze) {partition}".encode())


def _fill_month(dsn: str, history: History, begins: datetime, ends: datetime, first: int, beyond: int) -> None:
    name = f"event_{begins:%Y_%m}"
    with psycopg.connect(dsn) as connection:
        connection.execute("set local timezone = 'UTC'")
        row = connection.execute("select to_regclass('audit.' || %s) is null", [name]).fetchone()
        is_new = row == (True,)
        if is_new:
            connection.execute(
                f"create table audit.{name} (like audit.event including defaults including constraints)".encode()
            )
            connection.execute(f"alter table audit.{name} owner to audit_owner".encode())
        statement = sql.SQL(FILL.read_text()).format(
            table=sql.Identifier(name),
            first_id=sql.Literal(FIRST_ID),
            prefix=sql.Literal(history.prefix),
            orgs=sql.Literal(ORGS),
            actors=sql.Literal(ACTORS),
            resources=sql.Literal(RESOURCES),
            long=sql.Literal(RESOURCE_LONG),
            short=sql.Literal(RESOURCE_SHORT),
        )
        connection.execute(statement, history.parameters(first, beyond - 1))
        if is_new:
            _index(connection, name)
            # (Attaching locks the default partition, and not in the order in which the month was made.)
            connection.commit()
            connection.execute("select audit_internal.attach_partition(%s, %s, %s)", [name, begins, ends])


def _index(connection: Connection, name: str) -> None:
    """Make what audit.event has: attaching finds it, and needs not make it while others wait."""
    made = connection.execute(
        """
        select coalesce(
            'alter table audit.' || %(name)s || ' add ' || pg_get_constraintdef(pg_constraint.oid),
            regexp_replace(pg_get_indexdef(indexrelid), ' INDEX .* ON ONLY audit.event ', ' INDEX ON audit.' || %(name)s || ' ')
        )
        from pg_index
        left join pg_constraint on conindid = indexrelid and contype in ('p', 'u')
        where pg_index.indrelid = 'audit.event'::regclass
        order by indexrelid
        """,
        {"name": name},
    ).fetchall()
    for (statement,) in made:
        connection.execute(statement)


def _advance(server: EmbeddedPostgres) -> None:
    """Make a database whose next transaction is as far as if each event had had one."""
    with server:
        pass
    subprocess.run(
        [server._bin_dir / "pg_resetwal", "-x", str(FIRST_XID), "-D", server.data_dir],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        **server._user.process_arguments(),
    )


def _make(folder: Path, events: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    started = time.monotonic()
    _advance(EmbeddedPostgres(folder / "data", best_binaries()))
    with EmbeddedPostgres(folder / "data", best_binaries(), FILLING) as server:
        migrate_with_reference(server.dsn())
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            fill(connection, server.dsn(), events)
            row = connection.execute(
                "select sum(pg_total_relation_size(partition))::float8 from audit_internal.partition_bounds()"
            ).fetchone()
    assert row is not None
    facts = {"events": events, "migrations": _migrations_hash(), "bytes": row[0], "seconds": time.monotonic() - started}
    (folder / "history.json").write_text(json.dumps(facts) + "\n")


def _migrations_hash() -> str:
    return files_hash(sorted(project_files("migrations").glob("*.sql")))


def facts_of(folder: Path) -> dict[str, Any]:
    """How many `events`, `bytes` they take, `seconds` that it took; empty: it is not there."""
    file = folder / "history.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


@contextmanager
def opened(events: int, folder: Path, **settings: str) -> Iterator[tuple[EmbeddedPostgres, Connection]]:
    """A server with the history in a folder, with the functions as they are now; the history is made if it is missing.

    :param folder: 1.5 GB for a million events.
    :raises SystemExit: another history is there.
    """
    if not facts_of(folder):
        _make(folder, events)
    facts = facts_of(folder)
    if (facts["events"], facts["migrations"]) != (events, _migrations_hash()):
        raise SystemExit(f"{folder} has {facts['events']:,} events, perhaps of other migrations: remove it")
    with EmbeddedPostgres(folder / "data", best_binaries(), {**READING, **settings}) as server:
        migrate_with_reference(server.dsn())
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            yield server, connection


def main() -> None:
    """Make one and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="1.5 GB for a million events.")
    options = parser.parse_args()
    with opened(options.events, options.folder):
        facts = facts_of(options.folder)
    print(f"{facts['events']:,} events, {facts['bytes'] / 1e9:.1f} GB, made in {facts['seconds']:.0f} s")


if __name__ == "__main__":
    main()
