"""What the benchmarks of forwarding share: a server, a receiver in a process of its own, a worker, figures."""

import multiprocessing
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo.reference import migrate_with_reference

Connection = psycopg.Connection[Any]
Result = TypeVar("Result")
UPDATE_TEAM = """\\set team random(1, 1000)
update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where name = 'team ' || :team;
"""
"""What pgbench does: one audited update a transaction."""
PATIENCE_SECONDS = 300.0


class Receiver(BaseHTTPRequestHandler):
    """Accepts everything. By its path it reports through its pipe when events arrived, or responds slowly or never."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    pipe: Pipe | None = None

    def do_POST(self) -> None:
        left = int(self.headers["content-length"])
        first = b""
        while left:
            chunk = self.rfile.read(min(left, 1 << 20))
            first = first or chunk
            left -= len(chunk)
        if self.path == "/hang":
            time.sleep(600)
        if self.path == "/slow":
            time.sleep(1)
        if self.path == "/stamp" and self.pipe is not None:
            self.pipe.send((self.headers.get("webhook-id", ""), time.time()))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _receive(pipe: Pipe) -> None:
    Receiver.pipe = pipe
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.daemon_threads = True
    pipe.send(server.server_port)
    server.serve_forever()


@contextmanager
def receiving() -> Iterator[tuple[str, Pipe]]:
    """The URL of a receiver, and the pipe that its stamps come through."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_receive, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}", ours
    finally:
        process.kill()
        process.join()


@contextmanager
def database(**settings: str) -> Iterator[tuple[EmbeddedPostgres, Connection]]:
    """A server with pgtrail, the reference application and an organization."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="pgtrail-bench-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "data", best_binaries(), settings) as server:
            migrate_with_reference(server.dsn())
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
                yield server, connection


def add_destination(connection: Connection, name: str, url: str, **options: Any) -> None:
    """Forward the events of teams to a URL on loopback, from now on unless the options say otherwise."""
    kind = options.pop("format", "webhook")
    given = {"categories": ["teams"], "allow_http": True, "allowed_networks": ["127.0.0.0/8"], **options}
    connection.execute("select audit.add_destination(%s, %s, %s, %s)", [name, url, kind, Jsonb(given)])


def create_teams(connection: Connection, count: int) -> None:
    """As many events, in one transaction."""
    connection.execute(
        "insert into nemo.team (org_id, name, description, models) "
        "select id, 'team ' || i, 'what it is for', '{gpt-6,claude-9}' from nemo.organization, generate_series(1, %s) as i",
        [count],
    )


def transactions(server: EmbeddedPostgres, dsn: str, script: Path, clients: int, seconds: int, *options: str) -> float:
    """Transactions a second, by pgbench."""
    command: list[str | Path] = [server.binaries.bin_dir / "pgbench", "-n", *options, "-f", script]
    command += ["-c", str(clients), "-j", "2", "-T", str(seconds), dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None
    return float(found[1])


@contextmanager
def update_script(connection: Connection) -> Iterator[Path]:
    """A file with UPDATE_TEAM, and a thousand teams for it."""
    create_teams(connection, 1000)
    connection.execute("create index on nemo.team (name)")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(UPDATE_TEAM)
        script.flush()
        yield Path(script.name)


@contextmanager
def worker(dsn: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`pgtrail forward`."""
    process = subprocess.Popen([sys.executable, "-m", "pgtrail_cli", "forward", "--dsn", dsn, *options])
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_until(condition: Callable[[], Any], pause: float = 0.005) -> None:
    """Wait for a condition.

    :raises TimeoutError: it does not come.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        time.sleep(pause)


def wait_until_delivered(connection: Connection, events: int, pause: float = 0.005) -> None:
    """Wait until so many events are settled as delivered."""
    delivered = "select coalesce(sum(delivered), 0) from audit.attempt"
    wait_until(lambda: connection.execute(delivered).fetchone() == (events,), pause)


def interleaved(rounds: int, works: dict[str, Callable[[], Result]]) -> dict[str, list[Result]]:
    """What each work measures, round by round, in turns."""
    figures: dict[str, list[Result]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            figures[name].append(work())
    return figures


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, with the lowest and the highest."""
    median = statistics.median(values)
    return f"{median:>10,.{digits}f}  ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def print_beside(figures: dict[str, list[float]], base: str) -> None:
    """Each figure with the median of its ratio to the base, round by round."""
    for name, values in figures.items():
        ratio = statistics.median(a / b for a, b in zip(values, figures[base], strict=True))
        print(f"  {name:<36} {spread(values)}  {ratio:.2f} ×")
