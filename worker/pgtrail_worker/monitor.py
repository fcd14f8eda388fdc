"""``/metrics`` and ``/healthz`` of a worker, over HTTP."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT_TYPES = {"/metrics": "text/plain; version=0.0.4; charset=utf-8", "/healthz": "application/json"}


@contextmanager
def monitor(address: str, port: int, metrics: Callable[[], bytes], healthy: Callable[[], bool]) -> Iterator[int]:
    """Serve both while the context lasts; gives the port, which is a free one where 0 was asked for.

    ``/healthz`` answers 200, or 503 where the worker is not well.

    :raises OSError: it can't listen there.
    """

    class Handler(BaseHTTPRequestHandler):
        # A reader that hangs holds up its own thread and nothing else, and not for ever.
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, path, metrics())
            elif path == "/healthz":
                well = healthy()
                self._answer(200 if well else 503, path, json.dumps({"healthy": well}).encode() + b"\n")
            else:
                self.send_error(404, "there are /metrics and /healthz")

        def _answer(self, status: int, path: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", CONTENT_TYPES[path])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: a scrape every few seconds is no news."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    server = Server((address, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
