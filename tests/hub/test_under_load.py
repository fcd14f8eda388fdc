"""Kills and concurrency: a hub has what each node has recorded, once, in each resource's order, and every seal holds."""

import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from tests.conftest import EMPTY, NEMO, Database, started
from tests.forwarding.test_under_load import soak
from tests.hub.conftest import REPLICATES, Hub, sealed
from tests.hub.crashes import Writing, crash_server, create_teams, kill_server

pytestmark = pytest.mark.any_server

NODES = ("ap1", "eu1", "us1")
# What a large transaction writes is sent before it is committed.
SCATTERED = REPLICATES | {"logical_decoding_work_mem": "64kB"}
SEALING = ("--seal-every", "0.5")


@pytest.fixture
def scattered(binaries, request):
    """A hub without nodes, and three databases that could be, each on a server of its own."""
    with ExitStack() as stack:

        def start(_):
            return stack.enter_context(started(request.config, binaries, SCATTERED))

        with ThreadPoolExecutor(2) as pool:
            hub_server, *servers = pool.map(start, range(1 + len(NODES)))
        made = Hub(Database(hub_server, EMPTY))
        for name, server in zip(NODES, servers, strict=True):
            made.nodes[name] = Database(server, NEMO)
            create_teams(made.nodes[name])
        yield made
        for database in (made.database, *made.nodes.values()):
            database.close()


def ask(database, query, *parameters):
    """The rows; on a connection of its own, since those of before a crash are broken."""
    with database.connect() as connection:
        return connection.execute(query, parameters).fetchall()


def add(pgtrail, hub, name):
    added = pgtrail("hub", "add", name, "--dsn", hub.nodes[name].dsn(), "--hub", hub.dsn())
    assert added.returncode == 0, added.stderr


def remove(pgtrail, hub, name):
    removed = pgtrail("hub", "remove", name, "--dsn", hub.nodes[name].dsn(), "--hub", hub.dsn())
    assert removed.returncode == 0, removed.stderr


def assert_all_here_once(hub, name):
    there = ask(hub.nodes[name], "select id, event::text from audit.event order by id")
    here = ask(
        hub.database,
        "select node_id, (jsonb_populate_record(event, jsonb_build_object('id', node_id, 'xid', node_xid::text, 'node', null, 'node_id', null, 'node_xid', null)))::text from audit.event where node = %s order by node_id",
        name,
    )
    assert [row[0] for row in here] == [row[0] for row in there]
    assert here == there


def assert_counted(name, steps, exactly=True):
    """Each update of a team adds one under its row's lock: so they were committed in this order, and none is missing."""
    of_teams = defaultdict(list)
    for resource, rpm_limit in steps:
        of_teams[resource].append(rpm_limit)
    assert of_teams
    for resource, found in of_teams.items():
        assert found == (list(range(1, len(found) + 1)) if exactly else sorted(set(found))), f"{name}: {resource}"


def assert_order_is_that_of_the_commits(hub, name):
    steps = "select resource_id, (after ->> 'rpm_limit')::integer from audit.event where node = %s and action = 'team.updated' order by id"
    assert_counted(name, ask(hub.database, steps, name))


def assert_all_sent(hub, sink, wait_until):
    wanted = {
        f"evt_{node}_{node_id}"
        for node, node_id in ask(
            hub.database, "select node, node_id from audit.event where node is not null and category = 'teams'"
        )
    }
    wait_until(lambda: wanted <= {uid for uid, _ in sink.requests}, seconds=300)
    wait_until(lambda: wanted <= {message["data"]["id"] for message in sink.accepted})
    assert {uid for uid, _ in sink.requests} == {message["data"]["id"] for message in sink.accepted} == wanted
    arrived = {}
    for message in sink.accepted:
        arrived.setdefault(message["data"]["id"], message["data"])
    for name in hub.nodes:
        updates = [
            (data["resource"]["id"], data["after"]["rpm_limit"])
            for uid, data in arrived.items()
            if uid.startswith(f"evt_{name}_") and data["action"] == "team.updated"
        ]
        assert_counted(name, updates)
    return len(wanted), len(sink.accepted) - len(wanted)


def seal_all(hub, wait_until):
    """Everything that was recorded anywhere is sealed, and here."""
    for node in hub.nodes.values():
        sealed(node)
    seals = "select coalesce(max(number), 0), count(*) from audit.seal"
    of_node = "select coalesce(max(number), 0), count(distinct number) from audit.node_seal where node = %s"
    events = "select count(*) from audit.event"
    for name, node in hub.nodes.items():
        wait_until(lambda name=name, node=node: ask(hub.database, of_node, name) == ask(node, seals), seconds=120)
        wait_until(
            lambda name=name, node=node: (
                ask(hub.database, f"{events} where node = %s", name)[0][0] >= ask(node, events)[0][0]
            )
        )
    sealed(hub.database)


def assert_verified(pgtrail, hub):
    for database in (hub.database, *hub.nodes.values()):
        done = pgtrail("verify", dsn=database.dsn())
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


class Victims:
    """Whom to kill: the servers, the hub's worker and the nodes', each of them started again."""

    def __init__(self, hub, start_worker, wait_until):
        self.hub, self.start_worker, self.wait_until = hub, start_worker, wait_until
        self.databases = {"hub": hub.database, **hub.nodes}
        self.workers = {}
        for name in self.databases:
            self.work(name)
        for name in self.databases:
            self.wait_for_worker(name)

    def work(self, name):
        self.workers[name] = self.start_worker(self.databases[name].dsn("forwarder"), *SEALING)

    def wait_for_worker(self, name):
        # Its first connection is tried once.
        known = "select from audit.worker where name like %s"
        self.wait_until(lambda: ask(self.databases[name], known, f"%:{self.workers[name].pid}:%"))

    def kill_worker(self, name):
        self.workers[name].kill()
        self.workers[name].wait()
        # The lease of the dead ends by itself; here it is over at once, and the dead have no share.
        ask(
            self.databases[name],
            "with dead as (delete from audit.worker) update audit.cursor set lease_until = now() returning 1",
        )
        self.work(name)
        self.wait_for_worker(name)

    def kill_one_of_each(self, chance):
        """In an order drawn anew: what is killed, each time when the one before has been overcome."""
        kinds = [
            ("the hub's server", lambda: kill_server(self.hub.database.server, self.wait_until)),
            ("the hub's server, crashed", lambda: crash_server(self.hub.database.server, self.wait_until)),
            ("the hub's worker", lambda: self.kill_worker("hub")),
            ("a node's server", lambda: kill_server(self.hub.nodes[chance.choice(NODES)].server, self.wait_until)),
            ("a node's worker", lambda: self.kill_worker(chance.choice(NODES))),
        ]
        return chance.sample(kinds, len(kinds))


@pytest.mark.parametrize("rounds", [1, soak(25)])
def test_kills_of_servers_and_workers_lose_nothing_double_nothing_and_keep_order_and_seals(
    scattered, sink, add_destination, start_worker, wait_until, pgtrail, rounds
):
    hub = scattered
    assert pgtrail("hub", "init", dsn=hub.dsn()).returncode == 0
    with hub.database.connect() as connection:
        add_destination(connection, sink, categories=["teams"])
    chance = random.Random(rounds)
    with ExitStack() as stack:
        for number, node in enumerate(hub.nodes.values()):
            stack.enter_context(Writing(node, writers=2, seed=10 * number))
        for name in hub.nodes:
            add(pgtrail, hub, name)
        # While they are copied.
        kill_server(hub.database.server, wait_until)
        victims = Victims(hub, start_worker, wait_until)
        for _ in range(rounds):
            for _, kill in victims.kill_one_of_each(chance):
                seen = {name: count_sent(sink, name) for name in hub.nodes}
                wait_until(lambda seen=seen: all(count_sent(sink, name) > seen[name] for name in seen))
                kill()
    assert all(worker.poll() is None for worker in victims.workers.values())
    seal_all(hub, wait_until)
    for name in hub.nodes:
        assert_all_here_once(hub, name)
        assert_order_is_that_of_the_commits(hub, name)
    events, twice = assert_all_sent(hub, sink, wait_until)
    assert_verified(pgtrail, hub)
    print(f"{5 * rounds + 1} kills, {events:,} events of {len(NODES)} nodes, {twice:,} of them sent twice, none lost")


def count_sent(sink, name):
    return sum(uid.startswith(f"evt_{name}_") for uid, _ in list(sink.requests))


@pytest.mark.parametrize("times", [3, soak(40)])
def test_a_node_that_is_taken_out_and_added_again_while_it_is_written_to_is_here_once(hub, wait_until, pgtrail, times):
    node = hub.nodes["eu1"]
    create_teams(node)
    chance = random.Random(times)
    events = "select count(*) from audit.event where node = 'eu1'"

    def more_arrives():
        seen = hub.one(events)
        wait_until(lambda: hub.one(events) > seen)

    def more_is_recorded():
        seen = ask(node, "select max(id) from audit.event")
        wait_until(lambda: ask(node, "select max(id) from audit.event") > seen)

    with Writing(node, writers=2, seed=times):
        for number in range(times):
            # Also in the middle of the copy.
            more_arrives() if number % 2 or chance.random() < 0.5 else more_is_recorded()
            remove(pgtrail, hub, "eu1")
            more_is_recorded()
            add(pgtrail, hub, "eu1")
        more_arrives()
    wait_until(lambda: hub.rows("select distinct state from audit_internal.node_state()") == [("streaming",)])
    seal_all(hub, wait_until)
    assert_all_here_once(hub, "eu1")
    assert_order_is_that_of_the_commits(hub, "eu1")
    assert_verified(pgtrail, hub)
