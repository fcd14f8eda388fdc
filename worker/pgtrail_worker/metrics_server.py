"""``/metrics`` and ``/healthz`` of a worker, over HTTP."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler


@contextmanager
def serve_metrics(address: str, port: int, metrics: CollectorRegistry, is_healthy: Callable[[], bool]) -> Iterator[int]:
    """Serve both while the context lasts; gives the port, which is a free one where 0 was asked for.

    ``/healthz`` responds with 200, or 503 where the worker is not healthy.

    :raises OSError: it can't listen there.
    """

    class Handler(MetricsHandler):
        registry = metrics
        # A reader that hangs holds up its own thread and nothing else, and not for ever.
        timeout = 10

        def do_GET(self) -> None:  # noqa: N802 - of BaseHTTPRequestHandler
            path = self.path.partition("?")[0]
            if path == "/metrics":
                super().do_GET()
            elif path == "/healthz":
                healthy = is_healthy()
                self.send_response(200 if healthy else 503)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps({"healthy": healthy}).encode() + b"\n")
            else:
                self.send_error(404, "there are /metrics and /healthz")

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with Server((address, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
