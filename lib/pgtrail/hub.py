"""A hub and its nodes: how one is added, taken out, and asked how it fares."""

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

from pgtrail.connection import Connection, connect, open_connection
from pgtrail.errors import PgtrailError
from pgtrail.queries import load

QUERIES = load("pgtrail")

LOOK_SECONDS = 5
NOT_THE_HUBS = ("user", "password", "passfile", "application_name", "options", "service")
"""What in the connection string of whoever adds a node is not for the hub."""
AGAIN = "pgtrail hub remove, then pgtrail hub add: what is here already is not copied again"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the hub sees it, and as it shows itself.

    :param events, seconds: what has not arrived, counted to 100,000, and for how long the oldest of it waits; None: the
        node could not be asked.
    :param slot_bytes: of the write-ahead log that the node keeps for the hub.
    :param problems: what somebody should see to.
    """

    name: str
    state: str
    events: int | None
    seconds: float
    slot_bytes: int | None
    last_seal: int | None
    last_seal_at: datetime | None
    problems: tuple[str, ...]


def check(connection: Connection, query: str, where: str) -> None:
    """Nothing stands in the way.

    :raises PgtrailError: something does; the first, with its hint.
    """
    for problem, hint in connection.execute(QUERIES[query]):
        raise PgtrailError(f"{where}: {problem}", hint)


def add(hub: Connection, node_dsn: str, name: str, from_hub: str) -> None:
    """Publish at the node and subscribe the hub. Nothing is left at the node if the hub can't.

    :param from_hub: parameters that differ where the hub connects from.
    :raises PgtrailError: something stands in the way.
    """
    check(hub, "hub_problems", "the hub")
    with open_connection(node_dsn) as node:
        check(node, "node_problems", name)
        seal = _value(hub, "last_received_seal", name=name)
        system_identifier, timeline, last_id, first_time, columns, hashes = _row(node, "node_identity", seal=seal)
        _row(hub, "check_new_node", name=name, hashes=Jsonb(hashes), columns=columns)
        role = _value(hub, "slot_name", name=name)
        password = secrets.token_urlsafe(32)
        _row(hub, "make_node_partitions", first_time=first_time)
        with _published(node, role, password), hub.transaction():
            hub.execute(QUERIES["log_no_password"])
            _subscribe(
                hub,
                name=name,
                conninfo=_conninfo(node_dsn, from_hub, role, password),
                system_identifier=system_identifier,
                timeline=timeline,
                last_id=last_id,
            )


def _subscribe(hub: Connection, name: str, **node: Any) -> None:
    try:
        hub.execute(QUERIES["add_node"], {"name": name, **node})
    except psycopg.errors.ConnectionFailure as error:
        reason = (error.diag.message_primary or "").split("failed: ")[-1].removeprefix("FATAL:")
        raise PgtrailError(
            f"the hub can't connect to {name}: {' '.join(reason.split())}",
            "let the role in in the node's pg_hba.conf; where the hub reaches it by another address: --from-hub",
        ) from error


@contextlib.contextmanager
def _published(node: Connection, role: str, password: str) -> Iterator[None]:
    # A verifier, so that no log of the node's has the password.
    verifier = node.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    try:
        with node.transaction():
            _row(node, "publish", role=role, password=verifier)
        _row(node, "create_slot", slot=role)
    except psycopg.errors.DuplicateObject as error:
        raise PgtrailError(
            f"the node has a role or a slot {role} already: it was not taken out there",
            f"drop them at the node: select audit.unpublish('{role}')",
        ) from error
    try:
        yield
    except BaseException:
        try:
            _row(node, "unpublish", role=role)
        except psycopg.Error:
            sys.stderr.write(f"pgtrail: what was created at the node is left there: select audit.unpublish('{role}')\n")
        raise


def _conninfo(node_dsn: str, from_hub: str, role: str, password: str) -> str:
    given = {key: value for key, value in conninfo_to_dict(node_dsn).items() if key not in NOT_THE_HUBS}
    patience = {"connect_timeout": "10"}
    parameters: dict[str, Any] = {
        **patience,
        **given,
        **conninfo_to_dict(from_hub),
        "user": role,
        "password": password,
    }
    return make_conninfo(**parameters)


def remove(hub: Connection, node_dsn: str | None, name: str) -> str:
    """End the subscription and, where the node can be reached, drop its slot and role there.

    :returns: the name of both.
    """
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(open_connection(node_dsn)) if node_dsn is not None else None
        role = str(_value(hub, "stop_node", name=name))
        if node is not None:
            # A slot for the copy that is still being made waits for every transaction there. Dropping the subscription
            # waits for that slot: forever, where the hub is of the same cluster.
            _row(node, "end_replication", role=role)
        with hub.transaction():
            _row(hub, "remove_node", name=name)
        if node is not None:
            _row(node, "unpublish", role=role)
    return role


def look(hub: Connection) -> Iterator[Node]:
    """Every node of the hub, by name."""
    with hub.cursor(row_factory=dict_row) as cursor:
        states = cursor.execute(QUERIES["node_state"]).fetchall()
    for state in states:
        problems: list[str] = []
        seen = _ask(hub, state, problems) if state["state"] != "removed" else None
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


def _ask(hub: Connection, state: dict[str, Any], problems: list[str]) -> dict[str, Any] | None:
    try:
        conninfo = _value(hub, "node_conninfo", name=state["name"])
    except psycopg.errors.InsufficientPrivilege:
        problems.append("it was not asked: only a superuser of the hub may read how it is reached")
        return None
    if conninfo is None:
        return None
    try:
        with connect(str(conninfo), connect_timeout=LOOK_SECONDS) as node, node.cursor(row_factory=dict_row) as cursor:
            asked = {"seal": state["last_seal"], "last_id": state["last_id"], "slot": state["slot_name"]}
            return cursor.execute(QUERIES["node_look"], asked).fetchone()
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1].rsplit("failed: ", 1)[-1].removeprefix("FATAL:").strip()
        problems.append(f"it does not answer: {reason}")
        return None


def _changed(state: dict[str, Any], seen: dict[str, Any]) -> Iterator[str]:
    """What makes it another database than the one that was added, or keeps its events from arriving."""
    if seen["system_identifier"] != state["system_identifier"]:
        yield "it is in another cluster than when it was added: upgraded, or restored from a dump"
    elif seen["timeline"] is not None and seen["timeline"] != state["timeline"]:
        was = f"it is on timeline {seen['timeline']}, and was on {state['timeline']}"
        yield f"{was}: promoted, or restored from a backup"
    if state["hub_changed"]:
        yield f"this hub was restored or promoted since: what it had confirmed to it may be missing here ({AGAIN})"
    if sorted(seen["published"] or ()) != sorted(state["published"]):
        yield f"its publication was changed, and not all that it records arrives ({AGAIN})"
    if state["last_seal"] is not None and seen["seal_hash"] != state["last_seal_hash"]:
        yield rewritten(state["last_seal"])
    elif state["state"] == "streaming" and not seen["events"] and (seen["last_seal"] or 0) > (state["last_seal"] or 0):
        yield withheld(seen["last_seal"])
    if (seen["last_id"] or 0) < (state["last_id"] or 0):
        yield f"its last event is {seen['last_id']}, and {state['last_id']} is here: it lost what it had recorded"
    if seen["wal_status"] is None:
        yield f"its slot is gone, and what it records does not arrive ({AGAIN})"
    elif seen["wal_status"] == "lost":
        yield f"its slot was given up for max_slot_wal_keep_size ({AGAIN})"
    elif seen["wal_status"] == "unreserved":
        yield "its slot is about to be given up for max_slot_wal_keep_size: fix what keeps the hub from reading"


def rewritten(seal: int) -> str:
    """A node that no longer has the seal that it had sent."""
    return f"seal {seal} is another there now: its history was rewritten, or it was restored from a backup"


def withheld(seal: int) -> str:
    """A node whose events arrive, and whose seals do not."""
    return f"seal {seal} has not arrived, though all its events have"


def changed_nodes(hub: Connection, states: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The nodes that can be asked, and are not what they were when they were added; what is wrong."""
    for state in states:
        seen = _ask(hub, state, []) if state["state"] != "removed" else None
        if seen is not None:
            yield from ((state["name"], problem) for problem in _changed(state, seen))


def _row(connection: Connection, query: str, **parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(QUERIES[query], parameters).fetchone()
    return row or (None,)


def _value(connection: Connection, query: str, **parameters: Any) -> Any:
    return _row(connection, query, **parameters)[0]
