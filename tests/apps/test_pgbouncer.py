"""Actors behind a real PgBouncer in transaction mode: many clients on two server connections."""

import itertools
import random
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import asyncpg
import psycopg
import pytest
from tests.apps.conftest import ADD_TEAM, ANN, APPS, BOB, event
from tests.conftest import roomy_folder
from tests.documents import blocks, python_of
from tests.pgbouncer import PgBouncer

pytestmark = pytest.mark.any_server

page = python_of(APPS / "psycopg.md")
apg = python_of(APPS / "asyncpg.md")

ADD = ADD_TEAM.format("%s")
CLIENTS = 8
TRANSACTIONS = 20
FOLLOWS_PREPARED = (1, 24)
"""The first version of PgBouncer that follows prepared statements without being told to."""


@pytest.fixture(scope="module")
def bouncer(app_db):
    """As the document has it, but with two server connections."""
    (settings,) = blocks(APPS / "pgbouncer.md", "ini")
    few = settings.replace("default_pool_size = 20", "default_pool_size = 2")
    assert few != settings
    with roomy_folder() as folder, PgBouncer(folder, app_db, "app", few) as running:
        yield running


def test_the_actor_of_one_client_is_not_the_next_ones(bouncer, recorded, check):
    with (
        psycopg.connect(bouncer.dsn, autocommit=True) as one,
        psycopg.connect(bouncer.dsn, autocommit=True) as other,
    ):
        with page.acting(one, **BOB):
            one.execute(ADD, ["of Bob"])
        other.execute(ADD, ["of nobody"])
        # Outside a transaction block it has no effect, on nobody.
        one.execute(page.SET_ACTOR, list(BOB.values()))
        other.execute(ADD, ["of nobody still"])
        with page.acting(other, **ANN):
            other.execute(ADD, ["of Ann"])
    assert recorded() == [
        event("of Bob", BOB),
        event("of nobody"),
        event("of nobody still"),
        event("of Ann", ANN),
    ]
    check("pgbouncer.md")


class Act(NamedTuple):
    """One transaction of the storm. Its team's name says who it is by; nobody's say so."""

    actor: str | None
    writes: int
    ending: str

    @classmethod
    def drawn(cls, dice, actor):
        return cls(
            actor if dice.random() < 0.75 else None,
            dice.randint(1, 3),
            dice.choice(["commit", "commit", "rollback", "error", "savepoint"]),
        )


class Storm:
    """Clients, each with actors of its own, at once; and who was on which server connection in which order."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.expected = []
        self.served = defaultdict(list)
        self.lock = threading.Lock()

    def run(self):
        with ThreadPoolExecutor(CLIENTS) as clients:
            for done in [clients.submit(self.client, number) for number in range(CLIENTS)]:
                done.result()

    def client(self, number):
        dice = random.Random(number)
        with psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None) as connection:
            for turn in range(TRANSACTIONS):
                self.act(connection, number, Act.drawn(dice, f"usr_{number}_{turn}"))

    def act(self, connection, number, act):
        connection.execute("begin")
        if act.actor:
            connection.execute(page.SET_ACTOR, [act.actor, None, None])
        (server,) = connection.execute("select pg_backend_pid()").fetchone()
        for _ in range(act.writes):
            connection.execute(ADD, [act.actor or "nobody"])
        if act.ending == "savepoint":
            connection.execute("savepoint here")
            connection.execute(page.SET_ACTOR, ["usr_never", None, None])
            connection.execute("rollback to here")
            connection.execute(ADD, [act.actor or "nobody"])
        if act.ending == "error":
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute("select 1 / 0")
        kept = act.ending in ("commit", "savepoint")
        connection.execute("commit" if kept else "rollback")
        with self.lock:
            self.served[server].append(number)
            if kept:
                self.expected += [act.actor or "nobody"] * (act.writes + (act.ending == "savepoint"))


def test_in_a_storm_of_transactions_each_event_has_its_own_actor(bouncer, recorded):
    storm = Storm(bouncer.dsn)
    storm.run()
    events = recorded()
    assert [(name, actor) for name, actor, *_ in events if actor != ("app" if name == "nobody" else name)] == []
    assert sorted(name for name, *_ in events) == sorted(storm.expected)
    assert len(storm.served) <= 2
    for clients in storm.served.values():
        changes = sum(one != next_one for one, next_one in itertools.pairwise(clients))
        assert changes > CLIENTS, "the clients took turns on each server connection"


async def test_asyncpg_without_its_cache_of_statements_works_behind_it(bouncer, recorded):
    settings = {"host": "127.0.0.1", "port": bouncer.port, "user": "app", "statement_cache_size": 0}
    async with asyncpg.create_pool(**settings, database=bouncer.dsn.split("dbname=")[1].split()[0]) as pool:
        for person in (BOB, ANN):
            async with apg.acting(pool, **person) as connection:
                await connection.execute(ADD_TEAM.format("$1"), "by asyncpg")
    assert recorded() == [event("by asyncpg", BOB), event("by asyncpg", ANN)]


def test_prepared_statements_work_from_the_version_that_follows_them(bouncer, recorded):
    def act(threshold):
        for person in (ANN, BOB):
            connect = psycopg.connect(bouncer.dsn, prepare_threshold=threshold)
            with connect as connection, page.acting(connection, **person):
                connection.execute(ADD, ["prepared"])

    act(None)
    if bouncer.version >= FOLLOWS_PREPARED:
        act(0)
        assert len(recorded()) == 4
    else:
        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            act(0)
        assert recorded()[:2] == [event("prepared", ANN), event("prepared", BOB)]
