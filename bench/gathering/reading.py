"""Reading one organization on a hub, beside the same on the node that recorded it; and recomputing a node's seals."""

import asyncio
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

import history
import reads
import stage
from exports import by_command
from gathering.ground import NAMES, Ground, Values
from pgtrail.connection import open_connection
from pgtrail.verify.chain import Finding
from pgtrail.verify.evidence import Evidence
from pgtrail.verify.log import Log
from pgtrail.verify.verify_chains import Chain
from pgtrail_web.filters import parse
from pgtrail_web.viewer import Viewer
from reads_clock import TimedAsyncCursor

HERE, THERE = "on the hub", "on the node"
LARGEST = 5
"""Organizations that are read of: those with the most events."""


def fill(ground: Ground, events: int) -> None:
    """Give each node a history of its own, which the hub copies."""
    for name, server in ground.nodes.items():
        history.fill(ground.connections[name], server.dsn(), events, prefix=f"{name}_")
        ground.add(name)
    ground.wait_for(ground.all_recorded())
    ground.follow(False)
    ground.connection.execute("vacuum analyze audit.event")


def measure(ground: Ground, rounds: int) -> Values:
    """Milliseconds of the first page and of a resource's history, as a reader of an organization; events/s of an export."""
    for connection in (ground.connection, *ground.connections.values()):
        reads.become_ready(connection)
    values: Values = defaultdict(list)
    choose = random.Random(1)
    # (The first round fills the caches.)
    for number in range(rounds + 1):
        name = choose.choice(NAMES)
        org, resource = _chosen(ground.connections[name], name, choose)
        sites = [(HERE, ground.hub), (THERE, ground.nodes[name])]
        for variant, server in sites if number % 2 else reversed(sites):
            dsn = server.dsn(user=reads.READER)
            took = asyncio.run(_pages(dsn, org, {"first page": [("range", "all")], "a resource's history": resource}))
            exported = _export(dsn, org)
            if number:
                for work, milliseconds in took.items():
                    values[work, variant, "ms"].append(milliseconds)
                values["export of an organization", variant, "events/s"].append(exported)
    return values


def _chosen(connection: Any, name: str, choose: random.Random) -> tuple[str, list[tuple[str, str]]]:
    """One of the large organizations, and a resource of its."""
    org = f"{name}_org_{choose.randint(1, LARGEST)}"
    found = connection.execute(
        "select resource_type, resource_id from audit.event where org_id = %s order by id offset %s limit 1",
        [org, choose.randrange(100)],
    ).fetchone()
    assert found is not None
    return org, [("resource_type", found[0]), ("resource_id", found[1]), ("range", "all")]


async def _pages(dsn: str, org: str, asked: dict[str, list[tuple[str, str]]]) -> dict[str, float]:
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, "row_factory": dict_row}
    connection = await psycopg.AsyncConnection.connect(dsn, **options, cursor_factory=TimedAsyncCursor)
    async with connection:
        taken = {}
        for work, pairs in asked.items():
            for _ in range(2):
                # The first one reads the catalogue, which a page's connection has read long since.
                taken[work] = (await reads._page(connection, Viewer(org=org), parse(pairs)))["table"].clock
    return taken


def _export(dsn: str, org: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file, started = Path(folder) / "export.csv", time.perf_counter()
        by_command(dsn, file, "--org", org)
        seconds = time.perf_counter() - started
        with file.open(encoding="utf-8") as lines:
            return (sum(1 for _ in lines) - 1) / seconds


def verifying(ground: Ground, rounds: int) -> Values:
    """How many events of a node's seals are checked a second, on one connection, there and here."""
    values: Values = defaultdict(list)
    name = NAMES[0]
    rows = (
        ground.connections[name]
        .execute("select number, events from audit.seal order by number desc limit 5")
        .fetchall()
    )
    numbers, events = [row[0] for row in rows], sum(row[1] for row in rows)
    with open_connection(ground.hub.dsn()) as here, open_connection(ground.nodes[name].dsn()) as there:
        works: dict[str, Callable[[], list[Finding]]] = {
            HERE: lambda: Chain(name, {}).check(here, list(numbers), Log((), Evidence())),
            THERE: lambda: Chain(None, {}).check(there, list(numbers), Log((), Evidence())),
        }
        for number in range(rounds + 1):
            for variant in works if number % 2 else reversed(works):
                started = time.perf_counter()
                assert works[variant]() == []
                if number:
                    rate = events / (time.perf_counter() - started)
                    values["verifying a node's seals", variant, "events/s"].append(rate)
    return values


def seal(ground: Ground) -> None:
    """Seal the events of each node, which the hub receives."""
    for connection in ground.connections.values():
        while connection.execute("select number from audit.seal() where number is not null").fetchone():
            pass
    ground.wait_for(ground.all_recorded())
    last = [
        connection.execute("select max(number) from audit.seal").fetchone()
        for connection in ground.connections.values()
    ]
    arrived = "select max(number) from audit.node_seal_leaves group by node order by node"
    stage.wait_until(lambda: ground.connection.execute(arrived).fetchall() == last)
