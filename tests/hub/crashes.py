"""Servers of their own for a hub and its nodes, writers that survive whatever becomes of them, and how they are killed."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from tests.conftest import Database

from pgtrail.server.embedded import EmbeddedPostgres

TEAMS = 6
LARGE = 100
"""Rows of a large transaction: more than a server that decodes holds in memory."""
PAUSE_SECONDS = 0.15


class Writing:
    """Writers at a node while the context lasts, whatever becomes of its server: updates of few teams by all of them."""

    def __init__(self, node: Database, writers: int, seed: int) -> None:
        self.node = node
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.write, args=(random.Random(seed + number),)) for number in range(writers)
        ]

    def __enter__(self) -> "Writing":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def write(self, chance: random.Random) -> None:
        done = 0
        while not self.stopping.is_set():
            # (A crash, and a deadlock.)
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.node.dsn("app")) as connection:
                while not self.stopping.is_set():
                    done += 1
                    transaction(connection, chance, large=done % 50 == 10)
                    time.sleep(chance.uniform(0, PAUSE_SECONDS))
            time.sleep(0.02)


def transaction(connection: psycopg.Connection[Any], chance: random.Random, large: bool) -> None:
    """One transaction of a writer: some updates with savepoints, of which some are rolled back; or many rows at once."""
    if large:
        connection.execute(
            "insert into nemo.team (org_id, name, description) "
            "select id, 'one of many', repeat('x', 1000) from nemo.organization, generate_series(1, %s)",
            [LARGE],
        )
    for team in sorted(chance.sample(range(TEAMS), chance.choice([1, 1, 2, 3]))):
        with connection.transaction(force_rollback=chance.random() < 0.15):
            connection.execute(
                "update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where name = 'team ' || %s", [team]
            )
    connection.rollback() if chance.random() < 0.15 else connection.commit()


def create_teams(node: Database) -> None:
    """What the writers update."""
    with node.connect() as connection:
        connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
        connection.execute(
            "insert into nemo.team (org_id, name) select id, 'team ' || i from nemo.organization, generate_series(0, %s) as i",
            [TEAMS - 1],
        )


def kill_server(server: EmbeddedPostgres, wait_until: Callable[..., Any]) -> None:
    """SIGKILL to every process of a server, and start it again."""
    # Stopped, it replaces none of its children meanwhile.
    os.kill(server.pid, signal.SIGSTOP)
    children = children_of(server.pid)
    for pid in (server.pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in children))
    server.restart()


def crash_server(server: EmbeddedPostgres, _: Callable[..., Any]) -> None:
    """An immediate shutdown, and start it again."""
    server.restart(signal.SIGQUIT)


def children_of(parent: int) -> list[int]:
    """The processes that a process has started."""
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _stat(stat)[1:2] == [str(parent)]]


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only waiting to be reaped."""
    return _stat(Path(f"/proc/{pid}/stat"))[:1] not in ([], ["Z"])


def _stat(file: Path) -> list[str]:
    """State, parent and more; nothing if it is gone."""
    try:
        return file.read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []
