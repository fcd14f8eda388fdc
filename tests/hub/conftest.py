"""A hub and its nodes: databases of one server that decodes its write-ahead log."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SETTINGS, Database, clone, run_pgtrail, started, wait
from tests.forwarding.conftest import add_destination, sink, start_worker

from pgtrail.server.binaries import Binaries
from pgtrail.server.embedded import EmbeddedPostgres

__all__ = ["add_destination", "sink", "start_worker"]

REPLICATES = SETTINGS | {
    "wal_level": "logical",
    "max_replication_slots": "40",
    "max_wal_senders": "40",
    "max_logical_replication_workers": "30",
    "max_sync_workers_per_subscription": "2",
    "max_worker_processes": "40",
    # A worker that has just begun, or ended, is not waited for.
    "wal_retrieve_retry_interval": "50ms",
}


@pytest.fixture(scope="session")
def server(binaries: Binaries, request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """In place of the server of the other tests, one that can be replicated from."""
    with started(request.config, binaries, REPLICATES) as running:
        yield running


class Hub:
    """A hub's database, and the databases that are its nodes, by name."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.su = database.connect()
        self.nodes: dict[str, Database] = {}
        self._connections: dict[str, Any] = {}

    def dsn(self, user: str = "postgres") -> str:
        return self.database.dsn(user)

    def one(self, query: str, *parameters: Any) -> Any:
        return self.su.execute(query, parameters).fetchone()[0]

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.su.execute(query, parameters).fetchall()

    def there(self, name: str, query: str) -> Any:
        """What a node says."""
        if name not in self._connections:
            self._connections[name] = self.nodes[name].connect()
        return self._connections[name].execute(query).fetchone()[0]

    def hang_up(self) -> None:
        """Close the connections to the nodes, whose servers are about to stop."""
        self._connections.clear()
        for node in self.nodes.values():
            node.close()

    def take_out(self, name: str) -> None:
        """End a node's subscription, so that both databases can be dropped."""
        if self.one("select exists (select from audit.node where name = %s and subscription is not null)", name):
            # In the order of pgtrail hub remove: what is still being copied holds up whoever drops it.
            role = self.one("select audit_internal.stop_node(%s)", name)
            node = self.nodes[name].connect()
            node.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [role])
            self.one("select audit.remove_node(%s)", name)
            node.execute("select audit.unpublish(%s)", [role])

    def follows_all(self) -> bool:
        """Whether nothing is being copied any more, and every event and seal is here."""
        states = self.rows("select state from audit_internal.node_state() where state <> 'removed'")
        return set(states) == {("streaming",)} and self.has_all()

    def has_all(self) -> bool:
        """Whether every event and seal of every node is here."""
        for name in self.nodes:
            for there, here in (
                ("select count(*) from audit.event", "select count(*) from audit.event where node = %s"),
                (
                    "select count(*) from audit.seal",
                    "select count(distinct number) from audit.node_seal where node = %s",
                ),
            ):
                if self.there(name, there) != self.one(here, name):
                    return False
        return True


@pytest.fixture
def hub(server: EmbeddedPostgres, empty_template: str, nemo_template: str, tmp_path: Path) -> Iterator[Hub]:
    """A hub with the nodes eu1 and us1; what they hold has been copied."""
    with a_hub(server, empty_template, nemo_template, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared_hub(
    server: EmbeddedPostgres, empty_template: str, nemo_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    """The same, for the tests of a file that leave it as it is."""
    with a_hub(server, empty_template, nemo_template, tmp_path_factory.mktemp("home")) as made:
        yield made


@contextmanager
def a_hub(server: EmbeddedPostgres, empty_template: str, nemo_template: str, home: Path) -> Iterator[Hub]:
    """A hub with two nodes, which are taken out in the end."""
    cloned = contextmanager(clone)
    with ExitStack() as stack:
        made = Hub(stack.enter_context(cloned(server, empty_template)))
        assert run_pgtrail(home, "hub", "init", dsn=made.dsn()).returncode == 0
        for name in ("eu1", "us1"):
            made.nodes[name] = stack.enter_context(cloned(server, nemo_template))
            stack.callback(made.take_out, name)
            added = run_pgtrail(home, "hub", "add", name, "--dsn", made.nodes[name].dsn(), dsn=made.dsn())
            assert added.returncode == 0, added.stderr
        wait(made.follows_all)
        yield made


def sealed(node: Database) -> None:
    """Everything that a database has recorded is sealed."""
    connection = node.connect()
    while connection.execute("select number from audit.seal() where number is not null").fetchone():
        pass
