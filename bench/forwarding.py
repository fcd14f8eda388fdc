"""How fast a backlog is forwarded, beside the bare requests: the same bodies, one after the other, to one receiver.

The receiver runs in a process of its own and verifies no signature, so that the sender is what is measured. Rounds are
interleaved; each figure is the median over the rounds, with the lowest and the highest beside it.

Example:
  python bench/forwarding.py --rounds 5 --events 5000
"""

import argparse
import asyncio
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg

from pgtrail_cli.binaries import best_binaries
from pgtrail_cli.embedded import EmbeddedPostgres
from pgtrail_cli.migrations import migrate
from pgtrail_worker import http


class Receiver(BaseHTTPRequestHandler):
    """Takes everything."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def receive(pipe: Connection) -> None:
    """Tell the port, then serve for ever."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    pipe.send(server.server_port)
    server.serve_forever()


def record(connection: psycopg.Connection[tuple[object, ...]], events: int) -> list[bytes]:
    """Make a backlog; its bodies."""
    last = connection.execute("select coalesce(max(id), 0) from audit.event").fetchone()
    connection.execute(
        "insert into nemo.team (org_id, name) select id, 'team ' || i from nemo.organization, generate_series(1, %s) as i",
        [events],
    )
    rows = connection.execute(
        "select audit.render_webhook(event) from audit.event where id > %s order by id", last
    ).fetchall()
    return [str(row[0]).encode() for row in rows]


async def bare(url: str, bodies: list[bytes]) -> float:
    """Events a second without a database."""
    started = time.monotonic()
    async with http.client() as client:
        for body in bodies:
            await http.post(client, url, {"content-type": "application/json"}, body)
    return len(bodies) / (time.monotonic() - started)


def forwarded(dsn: str, connection: psycopg.Connection[tuple[object, ...]], events: int) -> float:
    """Events a second through a worker, from its first attempt's beginning to the last one's end."""
    worker = subprocess.Popen([sys.executable, "-m", "pgtrail_cli", "forward", "--dsn", dsn])
    try:
        while connection.execute("select from audit.cursor where lease_holder is not null").fetchone() is None:
            time.sleep(0.001)
        started = time.monotonic()
        while connection.execute("select sum(delivered) from audit.attempt").fetchone() != (events,):
            time.sleep(0.005)
        return events / (time.monotonic() - started)
    finally:
        worker.terminate()
        worker.wait()
        connection.execute("delete from audit.attempt")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=5000)
    options = parser.parse_args()
    binaries = best_binaries()
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=(theirs,), daemon=True)
    receiver.start()
    url = f"http://127.0.0.1:{ours.recv()}/"
    figures: dict[str, list[float]] = {"bare requests": [], "pgtrail forward": []}
    with tempfile.TemporaryDirectory(prefix="pgtrail-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "data", binaries) as server:
            migrate(server.dsn(), nemo=True)
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
                connection.execute(
                    "select audit.add_destination('bench', %s, categories => '{teams}', allow_http => true)", [url]
                )
                for _ in range(options.rounds):
                    bodies = record(connection, options.events)
                    figures["bare requests"].append(asyncio.run(bare(url, bodies)))
                    figures["pgtrail forward"].append(forwarded(server.dsn(), connection, options.events))
    print(
        f"PostgreSQL {binaries.major}, {options.rounds} rounds of {options.events:,} events, one request each: events/s"
    )
    for name, values in figures.items():
        ratio = statistics.median(a / b for a, b in zip(values, figures["bare requests"], strict=True))
        print(
            f"  {name:<16} {statistics.median(values):>8,.0f}  ({min(values):,.0f} to {max(values):,.0f})  {ratio:.2f} ×"
        )


if __name__ == "__main__":
    main()
