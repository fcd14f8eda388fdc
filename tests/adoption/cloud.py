"""What an application looks for before it stores the credentials of a cloud: something that answers, whoever asks."""

import json
import socketserver
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ANSWER = {
    # A machine learning backend, an OAuth server, a bucket.
    "status": "UP", "model_version": "1", "versions": ["1"],
    "access_token": "granted", "token_type": "Bearer", "expires_in": 3600,
    "kind": "storage#bucket", "name": "signs",
}  # fmt: skip


class _Cloud(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


class _Redis(socketserver.StreamRequestHandler):
    """Takes any password."""

    def handle(self) -> None:
        while (line := self.rfile.readline()).startswith(b"*"):
            words = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:size])
            self.wfile.write(b"+PONG\r\n" if words[0].upper() == b"PING" else b"+OK\r\n")


@cache
def web() -> str:
    """The address of an HTTP server that finds everything well; it goes when the program ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Cloud)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


@cache
def redis_port() -> int:
    """The port of a server that greets like Redis."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Redis)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def private_key() -> str:
    """A key in PEM, as Google gives one for a service account."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
