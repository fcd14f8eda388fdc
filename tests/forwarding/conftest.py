"""Real receivers on loopback, and workers as processes of their own."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

PATIENCE_SECONDS = 60.0


class Sink:
    """A receiver that does as it is told: ``answer(n)`` gives the status of the n-th request; None hangs up."""

    def __init__(self) -> None:
        self.secret = ""
        self.answer: Callable[[int], int | None] = lambda _: 204
        self.requests: list[tuple[str, bytes]] = []
        self.accepted: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = sink.take({k.lower(): v for k, v in self.headers.items()}, body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, headers: dict[str, str], body: bytes) -> int | None:
        with self._lock:
            number = len(self.requests)
            self.requests.append((headers["webhook-id"], body))
            status = self.answer(number)
            if status is not None and 200 <= status < 300:
                # Raises on a wrong signature; the worker then sees a broken connection and the test fails.
                self.accepted.append(Webhook(self.secret).verify(body, headers))
            return status

    @property
    def ids(self) -> list[int]:
        """The ids of the accepted events, in the order in which they came."""
        with self._lock:
            return [int(message["data"]["id"].removeprefix("evt_")) for message in self.accepted]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.fixture
def another_sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.fixture
def add_destination() -> Callable[..., int]:
    """Let a database forward to a sink; its id."""

    def add(connection: Any, sink: Sink, name: str = "siem", **filters: Any) -> int:
        named = "".join(f", {key} => %({key})s" for key in filters)
        row = connection.execute(
            f"select audit.add_destination(%(name)s, %(url)s, allow_http => true{named})",
            {"name": name, "url": sink.url, **filters},
        ).fetchone()
        sink.secret = row[0]
        return int(connection.execute("select id from audit.destination where name = %s", [name]).fetchone()[0])

    return add


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start `pgtrail forward`; what is still running at the end is killed. Its log is `worker.log` of tmp_path."""
    started: list[subprocess.Popen[bytes]] = []

    def start(dsn: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pgtrail_cli", "forward", "--verbose", "--dsn", dsn], stderr=log
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], Any]:
    """Wait for a condition; its value. Fails when it does not come."""

    def wait(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(0.02)
        return value

    return wait


@pytest.fixture
def worker_log(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """What the workers logged."""

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (tmp_path / "worker.log").read_text().splitlines() if line.startswith("{")]

    return read


@pytest.fixture
def org(nemo: Any) -> Any:
    """An organization of the reference application, on a database that notifies."""
    connection = nemo.connect()
    # Prepared transactions are enabled on the test server, and would turn NOTIFY off.
    connection.execute(f"alter database {nemo.name} set pgtrail.notify = on")
    row = connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme') returning id")
    return row.fetchone()[0]
