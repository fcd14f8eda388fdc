"""A webhook receiver that verifies every signature with the official library."""

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request that was accepted."""

    event_id: int
    action: str
    body: str
    received_at: datetime


class Receiver:
    """Listens on a free port of 127.0.0.1; a context manager. Set ``secret`` before the first request comes."""

    def __init__(self) -> None:
        self.secret = ""
        self.receipts: list[Receipt] = []
        self.rejected = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/audit"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def received_ids(self) -> set[int]:
        """The ids of the events that were received."""
        with self._lock:
            return {receipt.event_id for receipt in self.receipts}

    def accept(self, headers: dict[str, str], body: bytes) -> bool:
        """Accept a request if its signature is valid."""
        received_at = datetime.now(UTC)
        try:
            message: Any = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            with self._lock:
                self.rejected += 1
            return False
        if not headers["webhook-id"].startswith("evt_"):
            # (A test, not an event.)
            return True
        receipt = Receipt(
            int(headers["webhook-id"].removeprefix("evt_")), message["type"], json.dumps(message), received_at
        )
        with self._lock:
            self.receipts.append(receipt)
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body in one segment: otherwise Nagle and delayed acknowledgements add 40 ms.
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): text for name, text in self.headers.items()}
                self.send_response(204 if receiver.accept(headers, body) else 401)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing: the demo prints what matters."""

        return Handler
