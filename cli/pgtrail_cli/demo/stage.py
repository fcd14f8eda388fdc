"""The demo's database, with the reference application, and its processes and roles."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING

from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from pgtrail.connection import Connection, added_options, connect, open_connection
from pgtrail.errors import Undelivered
from pgtrail.server.parent_watchdog import ParentWatchdog
from pgtrail_cli.demo.reference import migrate_with_reference

if TYPE_CHECKING:
    from pgtrail_cli.demo.receiver import Receiver

DATABASE = "pgtrail_demo"
ARRIVAL_SECONDS = 30.0
ROLES = {
    "gateway": None,
    "demo_forwarder": "audit_forwarder",
    "demo_auditor": "audit_auditor",
    "demo_admin": "audit_admin, audit_forwarder",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """How many of the recorded events arrived, and how fast.

    :param missing: ids that did not arrive in time.
    :param latencies: milliseconds from commit to receipt, of each event's first arrival, by its id.
    """

    recorded: int
    duplicates: int
    missing: tuple[int, ...]
    latencies: dict[int, float]


def build(server_dsn: str) -> str:
    """A fresh database with pgtrail, the reference application and login roles. Returns its owner's dsn."""
    # Roles are kept from one demo to the next: no notices about those that exist.
    quiet = added_options({}, "-c client_min_messages=warning")
    with open_connection(server_dsn, options=quiet) as connection:
        name = sql.Identifier(DATABASE)
        connection.execute_as_given(sql.SQL("drop database if exists {} with (force)").format(name))
        connection.execute_as_given(sql.SQL("create database {}").format(name))
    dsn = make_conninfo(server_dsn, dbname=DATABASE)
    migrate_with_reference(dsn)
    with open_connection(dsn, options=quiet) as connection:
        for role, group in ROLES.items():
            connection.execute(
                sql.SQL("do $$ begin create role {} login; exception when duplicate_object then null; end $$").format(
                    sql.Identifier(role)
                )
            )
            if group:
                connection.execute(sql.SQL("grant {} to {}").format(sql.SQL(group), sql.Identifier(role)))
        connection.execute("grant usage on schema nemo to gateway")
        connection.execute("grant select, insert, update, delete on all tables in schema nemo to gateway")
    return dsn


def add_destination(dsn: str, receiver: "Receiver") -> None:
    """Forward to the receiver from now on."""
    with open_connection(dsn) as connection:
        options = Jsonb({"allow_http": True, "allowed_networks": ["127.0.0.0/8"]})
        receiver.secret = connection.call("audit.add_destination", "demo-siem", receiver.url, options=options)


@contextmanager
def _running(*arguments: str, stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A pgtrail command as a process of its own, ended with SIGTERM."""
    watchdog = ParentWatchdog()
    process = subprocess.Popen(
        [sys.executable, "-m", "pgtrail_cli", *arguments],
        stderr=stderr,
        text=True,
        # Ctrl-C is for the demo, which then ends the process.
        start_new_session=True,
    )
    watchdog.watch(process.pid)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        watchdog.dismiss()


@contextmanager
def running_worker(dsn: str) -> Iterator[None]:
    """`pgtrail forward`."""
    with _running("forward", "--dsn", make_conninfo(dsn, user="demo_forwarder")):
        yield


@contextmanager
def running_page(dsn: str) -> Iterator[str]:
    """`pgtrail page`: the address that authenticates once.

    :raises Undelivered: it does not start.
    """
    with _running("page", "--port", "0", "--dsn", dsn, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        found = re.search(r"http\S+", process.stderr.readline())
        if found is None:
            raise Undelivered("the page does not start", process.stderr.read().strip() or None)
        # The page prints the next address each time that one was used.
        threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True).start()
        yield found[0]


def _pass_on(lines: IO[str]) -> None:
    for line in lines:
        sys.stderr.write(line)


def wait_for_worker(dsn: str) -> None:
    """Wait until the worker serves the destination, so that its start is not measured.

    :raises Undelivered: it does not start.
    """
    deadline = time.monotonic() + ARRIVAL_SECONDS
    with open_connection(dsn) as connection:
        while time.monotonic() < deadline:
            if connection.execute("select from audit.cursor where lease_holder is not null").fetchone() is not None:
                return
            time.sleep(0.05)
    raise Undelivered("the worker does not start")


def wait_for_arrival(dsn: str, receiver: "Receiver") -> Arrival:
    """Wait until everything recorded since the destination was added has been received, or until a timeout."""
    with open_connection(dsn) as connection:
        rows = connection.execute(
            """
            select event.id, pg_xact_commit_timestamp(event.xid::xid)
            from audit.event
            where event.id > (select id from audit.event where action = 'audit.destination_added')
            """
        ).fetchall()
    committed: dict[int, datetime] = dict(rows)
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while not committed.keys() <= receiver.received_ids() and time.monotonic() < deadline:
        time.sleep(0.05)
    first: dict[int, datetime] = {}
    for receipt in receiver.receipts:
        first.setdefault(receipt.event_id, receipt.received_at)
    return Arrival(
        recorded=len(committed),
        duplicates=len(receiver.receipts) - len(first),
        missing=tuple(sorted(committed.keys() - first.keys())),
        latencies={
            event_id: (first[event_id] - moment).total_seconds() * 1000
            for event_id, moment in committed.items()
            if event_id in first
        },
    )


def connect_as(dsn: str, user: str) -> Connection:
    """A connection as one of the demo's roles."""
    return connect(make_conninfo(dsn, user=user))
