"""How fast a hub takes in what its nodes record: while they are written to, what has piled up, and the first copy."""

import time
from collections import defaultdict

import stage
from gathering.ground import NAMES, Ground, Values, apart, timed
from growth import processor_seconds

APPLYING = "select pid from pg_stat_subscription where relid is null and pid is not null and subname = any (%s)"
FOLLOWED = "select bool_and(srsubstate = 'r') from pg_subscription_rel"
SENDING = "select pid from pg_stat_replication"


def while_written(ground: Ground, rounds: int, seconds: int, clients: int) -> Values:
    """The nodes' rate with and without a hub that follows, and the hub's, each on cores of its own."""
    values: Values = defaultdict(list)
    with apart(ground):
        for number in range(rounds):
            for follows in (number % 2 == 0, number % 2 != 0):
                ground.follow(follows)
                if follows:
                    ground.wait_for(ground.all_recorded())
                before, busy, started = ground.received(), _busy(ground, NAMES), time.perf_counter()
                rate = ground.write(seconds, clients)
                events, busy_since = ground.received() - before, _busy(ground, NAMES)
                applied = timed(started, events)
                variant = "followed by a hub" if follows else "by themselves"
                values["three nodes are written to", variant, "events/s"].append(rate)
                if follows:
                    values["the hub applies meanwhile", "hub", "events/s"].append(applied)
                    behind = ground.all_recorded() - ground.received()
                    values["it is behind in the end", "hub", "events"].append(behind)
                    for who, now, then in zip(("of the hub", "of the nodes"), busy_since, busy, strict=True):
                        work = f"the hub applies meanwhile: processor {who}"
                        values[work, "hub", "µs"].append((now - then) / events * 1e6)
            ground.follow(True)
            ground.wait_for(ground.all_recorded())
    return values


def backlog(ground: Ground, rounds: int, seconds: int, clients: int) -> Values:
    """How fast what nodes have recorded meanwhile is caught up with, of one, two and three nodes at once."""
    values: Values = defaultdict(list)
    for _ in range(rounds):
        for count in range(1, len(NAMES) + 1):
            names = NAMES[:count]
            ground.follow(False, names)
            ground.write(seconds, clients, names)
            _keep(values, "what has piled up", f"of {count}", *_catch_up(ground, names))
    return values


def large_transactions(ground: Ground, rounds: int, rows: int) -> Values:
    """The same of one node, where all of it is one transaction."""
    values: Values = defaultdict(list)
    for _ in range(rounds):
        ground.follow(False, NAMES[:1])
        record_many(ground.connections[NAMES[0]], rows)
        _keep(values, "one large transaction", "of 1", *_catch_up(ground, NAMES[:1]))
    return values


def first_copy(ground: Ground, rounds: int, rows: int) -> Values:
    """How fast is copied what nodes hold, of one and of three nodes at once, until it is followed."""
    values: Values = defaultdict(list)
    for name in NAMES:
        record_many(ground.connections[name], rows)
    for _ in range(rounds):
        for names in (NAMES[:1], NAMES):
            forget(ground)
            wanted, started = ground.all_recorded(names), time.perf_counter()
            for name in names:
                ground.add(name)
            ground.wait_for(wanted, names)
            values["the first copy", f"of {len(names)}", "events/s"].append(timed(started, wanted))
            if len(names) == 1:
                values["copied again, and here already", "of 1", "events/s"].append(_copy_again(ground, names[0]))
    return values


def _copy_again(ground: Ground, name: str) -> float:
    ground.remove(name)
    wanted, started = ground.received([name]), time.perf_counter()
    ground.add(name)
    stage.wait_until(lambda: ground.connection.execute(FOLLOWED).fetchall() == [(True,)])
    return timed(started, wanted)


def forget(ground: Ground) -> None:
    """The hub knows no node and none of their events."""
    for (name,) in ground.connection.execute("select name from audit.node where subscription is not null").fetchall():
        ground.remove(name)
    with ground.connection.transaction():
        ground.connection.execute("set local session_replication_role = replica")
        ground.connection.execute(
            "truncate audit.event, audit.node_seal, audit.node_seal_leaves, audit.node_salt, audit.node_erased_part, "
            "audit.node_dropped, audit.node"
        )
    ground.connection.execute("vacuum analyze audit.event")


def _keep(values: Values, work: str, variant: str, rate: float, applying: float, sending: float) -> None:
    values[work, variant, "events/s"].append(rate)
    values[f"{work}: processor of the hub", variant, "µs"].append(applying)
    values[f"{work}: processor of the nodes", variant, "µs"].append(sending)


def record_many(connection: stage.Connection, rows: int) -> None:
    with connection.transaction():
        for _ in range(rows // 1000):
            connection.execute("update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1")


def _catch_up(ground: Ground, names: tuple[str, ...]) -> tuple[float, float, float]:
    """Events a second; for each, microseconds of the processor of those that apply here, and that send there."""
    wanted, before, started = ground.all_recorded(names), ground.received(names), time.perf_counter()
    ground.follow(True, names)
    ground.wait_for(wanted, names)
    rate = timed(started, wanted - before)
    # (They have begun when it was enabled.)
    applying, sending = _busy(ground, names)
    return rate, applying / (wanted - before) * 1e6, sending / (wanted - before) * 1e6


def _busy(ground: Ground, names: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of the processor of those that apply here, and that send there, since they began."""
    applying = [row[0] for row in ground.connection.execute(APPLYING, [[f"pgtrail_{name}" for name in names]])]
    sending = [row[0] for name in names for row in ground.connections[name].execute(SENDING)]
    return sum(map(processor_seconds, applying)), sum(map(processor_seconds, sending))
