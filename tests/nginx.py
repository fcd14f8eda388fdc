"""A real nginx, by TLS, with a folder of its own."""

import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.conftest import required

START_SECONDS = 10

CONFIGURATION = """
daemon off;
# One process, which stays whoever it is.
master_process off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    log_format statuses $status;
    access_log statuses.log statuses;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    limit_req_zone $binary_remote_addr zone=events:64k rate=10r/s;
    limit_req_status 429;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate server.pem;
        ssl_certificate_key server.pem;
        {directives}
    }}
}}
"""


class Nginx:
    """Runs while its context lasts.

    :param prefix: a folder with its key and certificate in `server.pem`.
    :param directives: what stands in its server.
    """

    def __init__(self, prefix: Path, directives: str) -> None:
        found = shutil.which(
            "nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        )
        self.program = found or required("nginx is not installed")
        self.prefix = prefix
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        (prefix / "nginx.conf").write_text(CONFIGURATION.format(port=self.port, directives=directives))

    def __enter__(self) -> "Nginx":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        log = self.prefix / "error.log"
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [self.program, "-p", f"{self.prefix}/", "-c", "nginx.conf", "-e", "stderr"], stderr=errors
            )
        deadline = time.monotonic() + START_SECONDS
        while not is_open(self.port):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(START_SECONDS)

    @property
    def statuses(self) -> list[str]:
        return (self.prefix / "statuses.log").read_text().split()


def free_port() -> int:
    """One that the system does not give to clients, so that it is free after a restart too."""
    return next(port for port in iter(lambda: random.randint(20_000, 29_999), None) if not is_open(port))


def is_open(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
