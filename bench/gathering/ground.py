"""A hub and three nodes, each a server of its own; on cores of their own where it is asked for."""

import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

import stage
from pgtrail import hub as command
from pgtrail.connection import open_connection
from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo.reference import migrate_with_reference

NAMES = ("ap1", "eu1", "us1")
TEAMS = 1000
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "wal_level": "logical",
    "autovacuum": "off",
    "max_worker_processes": "20",
    "max_logical_replication_workers": "16",
    # Not waited for where a subscription is enabled again.
    "wal_retrieve_retry_interval": "100ms",
}
Values = dict[tuple[str, str, str], list[float]]
"""By work, variant and unit: one of each round."""


@dataclass(slots=True)
class Ground:
    """The servers.

    :param script: what pgbench does at each node: one audited update a transaction.
    """

    hub: EmbeddedPostgres
    connection: stage.Connection
    nodes: dict[str, EmbeddedPostgres]
    script: Path
    connections: dict[str, stage.Connection] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Subscribe to a node, as `pgtrail hub add` does."""
        with open_connection(self.hub.dsn()) as hub:
            command.add(hub, self.nodes[name].dsn(), name, "")

    def remove(self, name: str) -> None:
        """Take a node out, as `pgtrail hub remove` does."""
        with open_connection(self.hub.dsn()) as hub:
            command.remove(hub, self.nodes[name].dsn(), name)

    def follow(self, on: bool, names: Sequence[str] = NAMES) -> None:
        """Enable or disable the subscriptions; what a disabled one was applying is done."""
        for name in names:
            # A name of ours.
            self.connection.execute(f"alter subscription pgtrail_{name} {'enable' if on else 'disable'}".encode())
        if not on:
            running = "select from pg_stat_subscription where pid is not null and subname = any (%s)"
            stage.wait_until(
                lambda: not self.connection.execute(running, [[f"pgtrail_{name}" for name in names]]).fetchall()
            )

    def recorded(self, name: str) -> int:
        """The events of a node, there."""
        return _count(self.connections[name], "select count(*) from audit.event")

    def received(self, names: Sequence[str] = NAMES) -> int:
        """The events of nodes, here."""
        row = self.connection.execute(
            "select count(*) from audit.event where node = any (%s)", [list(names)]
        ).fetchone()
        assert row is not None
        return int(row[0])

    def wait_for(self, count: int, names: Sequence[str] = NAMES) -> None:
        """Until so many events of nodes are here."""
        stage.wait_until(lambda: self.received(names) >= count, pause=0.02)

    def all_recorded(self, names: Sequence[str] = NAMES) -> int:
        """The events of nodes, there."""
        return sum(self.recorded(name) for name in names)

    def write(self, seconds: int, clients: int, names: Sequence[str] = NAMES) -> float:
        """Transactions a second of nodes that are written to at once."""
        rates: list[float] = []

        def run(name: str) -> None:
            server = self.nodes[name]
            rates.append(stage.transactions(server, server.dsn(), self.script, clients, seconds, "-M", "prepared"))

        threads = [threading.Thread(target=run, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(rates)


def _count(connection: stage.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def prepared(folder: str | None) -> Iterator[Ground]:
    """A hub and three nodes that it does not know yet."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrail-bench-", dir=folder)))
        place.chmod(0o711)
        script = place / "update.sql"
        script.write_text(stage.UPDATE_TEAM)
        servers = {
            name: stack.enter_context(EmbeddedPostgres(place / name, best_binaries(), SETTINGS))
            for name in ("hub", *NAMES)
        }
        connections = {}
        for name, server in servers.items():
            migrate_with_reference(server.dsn())
            connections[name] = stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
        hub = connections.pop("hub")
        hub.execute("select audit.init_hub()")
        for connection in connections.values():
            connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
            stage.create_teams(connection, TEAMS)
            connection.execute("create index on nemo.team (name)")
            connection.execute("vacuum analyze nemo.team")
        yield Ground(servers.pop("hub"), hub, servers, script, connections)


@contextmanager
def apart(ground: Ground) -> Iterator[None]:
    """The hub has the last core for itself, the nodes and what writes to them share the others."""
    cores = sorted(os.sched_getaffinity(0))
    try:
        _pin([ground.hub.pid], cores[-1:])
        _pin([os.getpid(), *(server.pid for server in ground.nodes.values())], cores[:-1] or cores)
        yield
    finally:
        _pin([os.getpid(), ground.hub.pid, *(server.pid for server in ground.nodes.values())], cores)


def _pin(pids: Sequence[int], cores: Sequence[int]) -> None:
    """Processes with what they have started; those that they start come after them."""
    for pid in pids:
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
                if parent == pid:
                    os.sched_setaffinity(int(status.parent.name), cores)
        os.sched_setaffinity(pid, cores)


def timed(started: float, events: int) -> float:
    """Events a second since then."""
    return events / (time.perf_counter() - started)


def show(values: Values) -> None:
    """Print the median of each, with the lowest and the highest."""
    for (work, variant, unit), numbers in values.items():
        print(
            f"  {work:<44} {variant:<34} {statistics.median(numbers):>12,.1f} ({min(numbers):,.1f} to {max(numbers):,.1f}) {unit}"
        )
