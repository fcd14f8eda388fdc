"""What it costs a hub to take an event in: the trigger, and each index, by the same rows inserted with and without.

In transactions that are rolled back, firing the triggers that fire for what is replicated.
"""

import random

import stage
from gathering.applying import record_many
from gathering.ground import Ground, Values
from growth import processor_seconds

EVENTS = 10_000
INDEXES = (
    "select indexrelid::regclass::text from pg_index where indrelid = 'audit.event'::regclass "
    "and not indisprimary order by 1"
)
WITH_ALL, NO_TRIGGER, NO_INDEXES = "as it is", "without the trigger", "without trigger and indexes"


def measure(ground: Ground, rounds: int) -> Values:
    """Microseconds of the backend's processor for an event."""
    name, node = next(iter(ground.connections.items()))
    record_many(node, EVENTS)
    ground.connection.execute("create table if not exists public.arriving as select * from audit.event limit 0")
    ground.connection.execute("truncate public.arriving")
    with (
        node.cursor().copy(f"copy (select * from audit.event order by id desc limit {EVENTS}) to stdout") as there,
        ground.connection.cursor().copy("copy public.arriving from stdin") as here,
    ):
        for data in there:
            here.write(data)
    indexes = [row[0] for row in ground.connection.execute(INDEXES)]
    without = {WITH_ALL: [], NO_TRIGGER: ["alter table audit.event disable trigger receive"]}
    without |= {f"without {index.removeprefix('audit.')}": [f"drop index {index}"] for index in indexes}
    without[NO_INDEXES] = without[NO_TRIGGER] + [f"drop index {index}" for index in indexes]
    values: Values = {("taking an event in", variant, "µs"): [] for variant in without}
    for _ in range(rounds):
        for variant in random.sample(list(without), len(without)):
            values["taking an event in", variant, "µs"].append(_insert(ground.connection, name, without[variant]))
    return values


def _insert(connection: stage.Connection, node: str, changes: list[str]) -> float:
    pid = connection.info.backend_pid
    with connection.transaction(force_rollback=True):
        for change in changes:
            connection.execute(change.encode())
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            "select set_config('pgtrail.node', %s, true), set_config('pgtrail.copies_above', '0', true), "
            "set_config('pgtrail.copies_to', '0', true)",
            [node],
        )
        before = processor_seconds(pid)
        connection.execute("insert into audit.event select * from public.arriving")
        return (processor_seconds(pid) - before) / EVENTS * 1e6
