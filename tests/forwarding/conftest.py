"""Real receivers on loopback, and workers as processes of their own."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from standardwebhooks.webhooks import Webhook
from tests import command


@dataclass(frozen=True)
class Response:
    """An answer with headers or a body."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Sink:
    """A receiver that does as it is told.

    ``answer(n)`` gives what becomes of the n-th request: a status, a Response, None to hang up, or a function that
    is given the socket. ``parse(headers, body)`` makes the events of a request; it raises where it does not hold.
    """

    def __init__(self) -> None:
        self.secret = ""
        self.answer: Callable[[int], Any] = lambda _: 204
        # Raises on a wrong signature; the worker then sees a broken connection and the test fails.
        self.parse: Callable[[dict[str, str], bytes], list[dict[str, Any]]] = lambda headers, body: [
            Webhook(self.secret).verify(body, headers)
        ]
        self.requests: list[tuple[str, bytes]] = []
        self.accepted: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = sink.take({k.lower(): v for k, v in self.headers.items()}, body)
                if answer is None or callable(answer):
                    self.close_connection = True
                    if callable(answer):
                        with contextlib.suppress(OSError):
                            answer(self.connection)
                    return
                response = Response(answer) if isinstance(answer, int) else answer
                self.send_response(response.status)
                for name, text in response.headers.items():
                    self.send_header(name, text)
                self.send_header("content-length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # What a test leaves in the middle of an answer is no news.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, headers: dict[str, str], body: bytes) -> Any:
        with self._lock:
            number = len(self.requests)
            self.requests.append((headers.get("webhook-id", ""), body))
        # Outside the lock: a receiver that takes its time is not one that takes one request at a time.
        answer = self.answer(number)
        status = answer.status if isinstance(answer, Response) else answer
        if isinstance(status, int) and 200 <= status < 300:
            events = self.parse(headers, body)
            with self._lock:
                self.accepted += events
        return answer

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
        kind = filters.pop("format", "webhook")
        options = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"], **filters}
        row = connection.execute(
            "select audit.add_destination(%s, %s, %s, %s)", [name, sink.url, kind, Jsonb(options)]
        ).fetchone()
        sink.secret = row[0]
        return int(connection.execute("select id from audit.destination where name = %s", [name]).fetchone()[0])

    return add


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., command.Run]]:
    """Start `pgtrail forward`; what is still running at the end is killed. Its log is `worker.log` of tmp_path."""
    started: list[command.Run] = []

    def start(dsn: str, *options: str, **environment: str) -> command.Run:
        with (tmp_path / "worker.log").open("ab") as log:
            process = command.start(
                "forward", "--verbose", "--dsn", dsn, *options, stderr=log, env=os.environ | environment
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


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
