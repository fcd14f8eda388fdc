"""A hub and its nodes: adds, removes and inspects nodes."""

import contextlib
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pgtrail.connection import Connection, check_obstacles, connect, open_connection
from pgtrail.errors import PgtrailError
from pgtrail.queries import load

QUERIES = load("pgtrail")

CONNECT_SECONDS = 5
NODE_ONLY = ("user", "password", "passfile", "application_name", "options", "service")
"""Parameters of the connection string that adds a node which the hub does not use."""
ADD_AGAIN = "pgtrail hub remove, then pgtrail hub add: what is here already is not copied again"


@dataclass(frozen=True, slots=True)
class Node:
    """The state of a node, from the hub and from the node itself.

    :param events, seconds: what has not arrived, counted to 100,000, and how long the oldest of it has waited;
        None: the node could not be reached.
    :param slot_bytes: write-ahead log that the node keeps for the hub.
    :param problems: what needs attention.
    """

    name: str
    state: str
    events: int | None
    seconds: float
    slot_bytes: int | None
    last_seal: int | None
    last_seal_at: datetime | None
    problems: tuple[str, ...]


def add(hub: Connection, node_dsn: str, name: str, from_hub: str) -> None:
    """Publish at the node and subscribe the hub. If the hub can't subscribe, nothing is left at the node.

    :param from_hub: connection parameters that differ when the hub connects.
    :raises PgtrailError: an obstacle was found.
    """
    check_obstacles(hub, "hub_problems", "the hub: ")
    with open_connection(node_dsn) as node:
        check_obstacles(node, "node_problems", f"{name}: ")
        seal = hub.call("audit_internal.last_received_seal", name)
        *identity, first_time, columns, hashes = node.fetch_one(QUERIES["node_identity"], {"seal": seal})
        hub.call("audit_internal.check_new_node", name, Jsonb(hashes), columns)
        role = hub.call("audit_internal.slot_name", name)
        password = secrets.token_urlsafe(32)
        hub.call("audit_internal.make_node_partitions", first_time)
        with _published(node, role, password), hub.transaction():
            hub.execute(QUERIES["log_no_password"])
            _subscribe(hub, name, _conninfo(node_dsn, from_hub, role, password), *identity)


def _subscribe(hub: Connection, name: str, *node: Any) -> None:
    try:
        hub.call("audit.add_node", name, *node)
    except psycopg.errors.ConnectionFailure as error:
        reason = (error.diag.message_primary or "").split("failed: ")[-1].removeprefix("FATAL:")
        raise PgtrailError(
            f"the hub can't connect to {name}: {' '.join(reason.split())}",
            "allow the role in the node's pg_hba.conf; if the hub reaches it by another address: --from-hub",
        ) from error


@contextlib.contextmanager
def _published(node: Connection, role: str, password: str) -> Iterator[None]:
    # A verifier, so that the node's server log never has the password.
    verifier = node.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    try:
        with node.transaction():
            node.call("audit.publish", role, verifier)
        node.call("pg_create_logical_replication_slot", role, "pgoutput")
    except psycopg.errors.DuplicateObject as error:
        raise PgtrailError(
            f"the node has a role or a slot {role} already: it was not removed there",
            f"drop them at the node: select audit.unpublish('{role}')",
        ) from error
    try:
        yield
    except BaseException:
        try:
            node.call("audit.unpublish", role)
        except psycopg.Error:
            sys.stderr.write(f"pgtrail: what was created at the node remains: select audit.unpublish('{role}')\n")
        raise


def _conninfo(node_dsn: str, from_hub: str, role: str, password: str) -> str:
    given = {key: value for key, value in conninfo_to_dict(node_dsn).items() if key not in NODE_ONLY}
    own: dict[str, Any] = {"user": role, "password": password}
    return make_conninfo(**{"connect_timeout": "10", **given, **conninfo_to_dict(from_hub), **own})


def remove(hub: Connection, node_dsn: str | None, name: str) -> str:
    """End the subscription and, where the node can be reached, drop its slot and role there.

    :returns: the name of the slot and the role.
    """
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(open_connection(node_dsn)) if node_dsn is not None else None
        role = str(hub.call("audit_internal.stop_node", name))
        if node is not None:
            # The slot of an unfinished copy waits for every transaction there, and dropping the subscription waits for
            # that slot: forever, if the hub is in the same cluster.
            node.execute(QUERIES["end_replication"], {"role": role})
        hub.call("audit.remove_node", name)
        if node is not None:
            node.call("audit.unpublish", role)
    return role


def inspect_nodes(hub: Connection) -> Iterator[Node]:
    """The state of every node, by name."""
    with hub.cursor(row_factory=dict_row) as cursor:
        states = cursor.execute(QUERIES["node_state"]).fetchall()
    for state in states:
        problems: list[str] = []
        seen = _inspect(hub, state, problems) if state["state"] != "removed" else None
        if seen is not None:
            problems += _changed(state, seen)
        if state["broken_seal"] is not None and state["state"] != "removed":
            problems.append(
                f"seal {state['broken_seal']} does not follow what had arrived: its history was rewritten, or it was "
                "restored from a backup"
            )
        if state["state"] not in ("copying", "streaming", "removed"):
            problems.append(f"its subscription is {state['state']}: the hub's server log says why")
        yield Node(
            state["name"],
            state["state"],
            seen["events"] if seen else None,
            seen["seconds"] or 0.0 if seen else 0.0,
            seen["slot_bytes"] if seen else None,
            state["last_seal"],
            state["last_seal_at"],
            tuple(problems),
        )


def _inspect(hub: Connection, state: dict[str, Any], problems: list[str]) -> dict[str, Any] | None:
    try:
        row = hub.execute(QUERIES["node_conninfo"], {"name": state["name"]}).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        problems.append("it was not inspected: only a superuser of the hub may read its connection string")
        return None
    if row is None:
        return None
    try:
        with connect(str(row[0]), connect_timeout=CONNECT_SECONDS) as node, node.cursor(row_factory=dict_row) as cursor:
            asked = {"seal": state["last_seal"], "last_id": state["last_id"], "slot": state["slot_name"]}
            return cursor.execute(QUERIES["inspect_node"], asked).fetchone()
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1].rsplit("failed: ", 1)[-1].removeprefix("FATAL:").strip()
        problems.append(f"it can't be reached: {reason}")
        return None


def _changed(state: dict[str, Any], seen: dict[str, Any]) -> Iterator[str]:
    """Why it is not the database that was added, or why its events do not arrive."""
    if seen["system_identifier"] != state["system_identifier"]:
        yield "it is in another cluster than when it was added: upgraded, or restored from a dump"
    elif seen["timeline"] is not None and seen["timeline"] != state["timeline"]:
        was = f"it is on timeline {seen['timeline']}, and was on {state['timeline']}"
        yield f"{was}: promoted, or restored from a backup"
    if state["hub_changed"]:
        yield f"this hub was restored or promoted since: what the hub had confirmed may be missing here ({ADD_AGAIN})"
    if sorted(seen["published"] or ()) != sorted(state["published"]):
        yield f"its publication was changed, and not everything that it records arrives ({ADD_AGAIN})"
    if state["last_seal"] is not None and seen["seal_hash"] != state["last_seal_hash"]:
        yield rewritten(state["last_seal"])
    elif state["state"] == "streaming" and not seen["events"] and (seen["last_seal"] or 0) > (state["last_seal"] or 0):
        yield withheld(seen["last_seal"])
    if (seen["last_id"] or 0) < (state["last_id"] or 0):
        yield f"its last event is {seen['last_id']}, and {state['last_id']} is here: it lost what it had recorded"
    if seen["wal_status"] is None:
        yield f"its slot is gone, and what it records does not arrive ({ADD_AGAIN})"
    elif seen["wal_status"] == "lost":
        yield f"its slot was invalidated by max_slot_wal_keep_size ({ADD_AGAIN})"
    elif seen["wal_status"] == "unreserved":
        yield "its slot is about to be invalidated by max_slot_wal_keep_size: find out why the hub does not read"


def rewritten(seal: int) -> str:
    """The problem of a node whose seal is not the one that it had sent."""
    return f"seal {seal} differs there now: its history was rewritten, or it was restored from a backup"


def withheld(seal: int) -> str:
    """The problem of a node whose events arrive, and whose seals do not."""
    return f"seal {seal} has not arrived, though all its events have"


def changed_nodes(hub: Connection, states: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The problems of those nodes that can be reached and have changed since they were added."""
    for state in states:
        seen = _inspect(hub, state, []) if state["state"] != "removed" else None
        if seen is not None:
            yield from ((state["name"], problem) for problem in _changed(state, seen))
