"""A node on a server of its own that is restored from a backup: the hub names it, and has what it lost."""

import json
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from tests.conftest import Database, clone, prepared_folder
from tests.hub.conftest import REPLICATES, Hub, sealed

from pgtrail.server.embedded import EmbeddedPostgres

pytestmark = pytest.mark.any_server


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Restorable:
    """A server at a port that stays, with a database in it, which can be put back to what it was."""

    def __init__(self, data, binaries, stack):
        self.port = free_port()
        self.data = data
        self.server = EmbeddedPostgres(data, binaries, REPLICATES, tcp_port=self.port)
        stack.callback(self.server.stop)
        self.server.start()

    def options(self):
        """Of pgtrail hub add."""
        return ("--dsn", self.server.dsn("node"), "--from-hub", f"host=127.0.0.1 port={self.port}")

    def back_up(self):
        self.server.stop()
        subprocess.run(["cp", "-a", self.data, self.data.with_name("backup")], check=True)
        self.server.start()

    def restore(self):
        """To the backup; its write-ahead log goes on as a timeline of its own, as after any recovery."""
        self.server.stop()
        shutil.rmtree(self.data)
        self.data.with_name("backup").rename(self.data)
        (self.data / "recovery.signal").touch()
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("restore_command = 'false'\n")
        self.server.start()


@pytest.fixture
def restored(server, binaries, request, empty_template, pgtrail, wait_until):
    """A hub that had everything of a node until that was restored to an earlier time, and recorded other things since."""
    with ExitStack() as stack:
        hub = Hub(stack.enter_context(contextmanager(clone)(server, empty_template)))
        assert pgtrail("hub", "init", dsn=hub.dsn()).returncode == 0
        folder = stack.enter_context(prepared_folder(request.config, binaries))
        node = Restorable(folder, binaries, stack)
        with psycopg.connect(node.server.dsn(), autocommit=True) as connection:
            connection.execute("create database node template template_nemo")
        database = hub.nodes["eu1"] = Database(node.server, "node")
        stack.callback(hub.hang_up)
        stack.callback(hub.su.execute, "select audit.remove_node(name) from audit.node where subscription is not null")
        added = pgtrail("hub", "add", "eu1", *node.options(), dsn=hub.dsn())
        assert added.returncode == 0, added.stderr
        write(database, "before")
        wait_until(hub.follows_all)
        hub.hang_up()
        node.back_up()
        write(database, "lost")
        wait_until(hub.has_all)
        hub.hang_up()
        node.restore()
        with psycopg.connect(node.server.dsn("node"), autocommit=True) as connection:
            wait_until(lambda: not connection.execute("select pg_is_in_recovery()").fetchone()[0])
        write(database, "instead")
        yield hub, node


def write(database, slug):
    connection = database.connect()
    connection.execute("insert into nemo.organization (name, slug) values (%s, %s)", [slug, slug])
    sealed(database)
    database.close()


def test_a_node_that_was_restored_is_named_and_the_hub_has_what_it_lost(restored, pgtrail, wait_until):
    hub, node = restored
    # (Once what the restored node records lies behind what the hub had confirmed, it arrives.)
    wait_until(lambda: hub.rows("select state from audit_internal.node_state()") == [("streaming",)])
    done = pgtrail("status", "--json", dsn=hub.dsn())
    assert done.returncode == 1
    (seen,) = json.loads(done.stdout)["nodes"]
    told = "\n".join(seen["problems"])
    assert "it is on timeline 2, and was on 1: promoted, or restored from a backup" in told
    assert "differs there now" in told
    assert hub.one("select count(*) from audit.event where resource_label = 'lost'") == 1
    verified = pgtrail("verify", "--node", "eu1", dsn=hub.dsn())
    assert verified.returncode == 1
    assert "history was rewritten, or it was restored from a backup" in verified.stdout.replace(
        "or restored", "or it was restored"
    )

    # It is another database now, and gets another name.
    assert pgtrail("hub", "remove", "eu1", "--dsn", node.server.dsn("node"), dsn=hub.dsn()).returncode == 0
    again = pgtrail("hub", "add", "eu1", *node.options(), dsn=hub.dsn())
    assert again.returncode == 1
    assert "is added under a new name" in again.stderr
    other = pgtrail("hub", "add", "eu2", *node.options(), dsn=hub.dsn())
    assert other.returncode == 0, other.stderr
    hub.nodes = {"eu2": hub.nodes["eu1"]}
    wait_until(hub.follows_all)
    assert pgtrail("verify", "--node", "eu2", dsn=hub.dsn()).returncode == 0
    assert pgtrail("status", dsn=hub.dsn()).returncode == 0
