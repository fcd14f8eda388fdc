"""What a database that is neither hub nor node pays for there being hubs: this version beside one before them."""

import io
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

import growth
import stage
from gathering.ground import Values
from pgtrail.install import migrate
from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo.reference import install_reference
from writing.ground import SETTINGS

PROJECT = Path(__file__).parents[2]
NOW = "this version"
Site = tuple[EmbeddedPostgres, stage.Connection]


def measure(before: str, rounds: int, seconds: int, folder: str | None) -> Values:
    """Writes, the forwarder's looks and batches, and seals of both versions in turns.

    :param before: a commit.
    """
    values: Values = defaultdict(list)
    with _sites(before, folder) as sites:
        for number in range(rounds + 1):
            order = list(sites) if number % 2 else list(reversed(sites))
            found = {variant: _round(*sites[variant], seconds) for variant in order}
            # (The first round fills the caches.)
            for variant, figures in found.items() if number else ():
                for (work, unit), value in figures.items():
                    values[work, variant, unit].append(value)
    return values


def _round(server: EmbeddedPostgres, connection: stage.Connection, seconds: int) -> dict[tuple[str, str], float]:
    connection.execute("checkpoint")
    return {
        ("update, 8 clients", "transactions/s"): growth.writing(server, 8, seconds),
        ("update: processor of the backend", "µs"): growth.write_alone(connection, 2000),
        ("a look of the forwarder: processor", "µs"): growth.looks(server.dsn())[1],
        ("handing out a batch: processor for an event", "µs"): _batch(connection),
        ("sealing: processor for an event", "µs"): _sealing(connection),
    }


def _batch(connection: stage.Connection) -> float:
    """Microseconds of the backend's processor for each event that audit_internal.next_batch() hands out."""
    cursor = "(select id from audit.cursor where replay_id is null and destination_id = audit_internal.destination_id('growth'))"
    connection.execute("update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1")
    events, before = 0, growth.processor_seconds(connection.info.backend_pid)
    # What is handed out again and again, as if it had not been settled.
    for _ in range(10):
        row = connection.execute(
            f"select cardinality(event_ids) from audit_internal.next_batch({cursor}, 'growth')".encode()
        )
        events += (row.fetchone() or (0,))[0]
    return (growth.processor_seconds(connection.info.backend_pid) - before) / events * 1e6


def _sealing(connection: stage.Connection) -> float:
    """The same for each event that is sealed."""
    growth.seal_all(connection)
    for _ in range(10):
        connection.execute("update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1")
    before = growth.processor_seconds(connection.info.backend_pid)
    events = growth.seal_all(connection)
    return (growth.processor_seconds(connection.info.backend_pid) - before) / events * 1e6


@contextmanager
def _sites(before: str, folder: str | None) -> Iterator[dict[str, Site]]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrail-bench-", dir=folder)))
        place.chmod(0o711)
        _check_out(before, place / "before")
        found = {}
        for variant, source in ((NOW, PROJECT), ("before there were hubs", place / "before")):
            data = place / variant.split()[0] / "data"
            data.parent.mkdir(exist_ok=True)
            data.parent.chmod(0o711)
            server = stack.enter_context(EmbeddedPostgres(data, best_binaries(), SETTINGS))
            migrate(
                server.dsn(),
                migrations=source / "migrations",
                behaviour=[
                    source / "sql" / line
                    for line in (source / "sql/load_order.txt").read_text().splitlines()
                    if line[0] != "#"
                ],
            )
            install_reference(server.dsn())
            connection = stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
            growth.prepare(connection)
            found[variant] = (server, connection)
        yield found


def _check_out(commit: str, folder: Path) -> None:
    """The SQL of a commit."""
    done = subprocess.run(["git", "archive", commit, "sql", "migrations"], cwd=PROJECT, check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
