"""A real PgBouncer before a database, with a folder of its own."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.conftest import Database, required
from tests.nginx import free_port, is_open

from pgtrail.server.server_user import server_user

START_SECONDS = 10

CONFIGURATION = """
[databases]
{name} = host={host} port=5432 user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
{settings}
"""


class PgBouncer:
    """Runs while its context lasts, as a user that is not root, which it refuses to be.

    :param folder: one that the server's user can get through.
    :param user: the role that its connections to the server log in as, whatever its clients say.
    :param settings: more lines of its section `[pgbouncer]`.
    """

    def __init__(self, folder: Path, database: Database, user: str, settings: str) -> None:
        found = shutil.which(
            "pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        )
        self.program = found or required("pgbouncer is not installed")
        self.port = free_port()
        self.dsn = f"host=127.0.0.1 port={self.port} dbname={database.name} user={user}"
        self.folder = folder
        self.file = folder / "pgbouncer.ini"
        self.file.write_text(
            CONFIGURATION.format(
                name=database.name, host=database.server.socket_dir, user=user, port=self.port, settings=settings
            )
        )

    def __enter__(self) -> "PgBouncer":
        user = server_user()
        user.own(self.folder)
        user.own(self.file)
        log = self.folder / "pgbouncer.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [self.program, self.file],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                **user.process_arguments(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not is_open(self.port):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def version(self) -> tuple[int, ...]:
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout
        return tuple(int(part) for part in said.split()[1].split("."))
