"""Listening, on a real Postgres."""

import asyncio

import pytest

from pgtrail_worker import listener
from pgtrail_worker.listener import listen

pytestmark = pytest.mark.any_server


@pytest.fixture
async def woken(db):
    """Listens; how often it was woken so far."""
    wakes = []
    task = asyncio.create_task(listen(db.dsn("forwarder"), lambda: wakes.append(1)))
    yield wakes
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_it_wakes_when_it_is_connected_at_each_notification_and_after_a_connection_that_was_lost(db, woken):
    await until(lambda: len(woken) == 1)
    su = db.connect()
    su.execute("notify pgtrail")
    await until(lambda: len(woken) == 2)
    su.execute("select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen pgtrail'")
    await until(lambda: len(woken) == 3)
    su.execute("notify pgtrail")
    await until(lambda: len(woken) == 4)


HUSHED = """
select exists (
    select from pg_locks
    join pg_stat_activity using (pid)
    where locktype = 'advisory' and pid <> pg_backend_pid() and pg_stat_activity.datname = current_database()
)
"""


@pytest.fixture
async def hushed(db, woken):
    """A superuser's connection, after as many notifications as make the worker hush the writers."""
    await until(lambda: len(woken) == 1)
    su = db.connect()
    su.execute("set pgtrail.notify = 'on'")

    def notified_until_hushed():
        su.execute("notify pgtrail")
        return su.execute(HUSHED).fetchone()[0]

    async with asyncio.timeout(20):
        while not notified_until_hushed():
            await asyncio.sleep(0)
    return su


async def test_notifications_that_come_thick_and_fast_are_held_back_for_a_while(hushed):
    with hushed.transaction():
        assert hushed.execute("select audit_internal.should_notify()").fetchone() == (False,)
    # (Each try is a transaction of its own, which gives the lock back.)
    await until(lambda: hushed.execute("select audit_internal.should_notify()").fetchone()[0])


async def test_who_writes_in_a_hush_wakes_the_worker_and_whoever_else_listens(db, woken, hushed):
    other = db.connect()
    other.execute("listen pgtrail")
    pids = set()

    def heard():
        hushed.execute("select pg_current_xact_id()")
        pids.update(each.pid for each in other.notifies(timeout=0))
        return pids - {hushed.info.backend_pid}

    before = len(woken)
    await until(heard)
    await until(lambda: len(woken) > before)
    await until(lambda: not hushed.execute(HUSHED).fetchone()[0])


async def test_a_worker_that_falls_silent_in_a_hush_does_not_keep_the_wake_up(monkeypatch, db, wait_until):
    monkeypatch.setattr(listener, "SILENT_SECONDS", 1)
    async with asyncio.timeout(30):
        task = asyncio.create_task(listen(db.dsn("forwarder"), lambda: None))
        su = db.connect()
        while not su.execute(HUSHED).fetchone()[0]:
            su.execute("notify pgtrail")
            await asyncio.sleep(0)
    # Nothing gives it its turn from here on.
    wait_until(lambda: not su.execute(HUSHED).fetchone()[0])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


PINGED = """
select exists (select from pg_stat_activity where query = 'select 1' and datname = current_database())
"""


async def test_who_hears_often_gives_signs_of_life_all_the_same(monkeypatch, db):
    monkeypatch.setattr(listener, "IDLE_SECONDS", 1.0)
    su = db.connect()
    task = asyncio.create_task(listen(db.dsn("forwarder"), lambda: None))

    def pinged():
        su.execute("notify pgtrail")
        return su.execute(PINGED).fetchone()[0]

    await until(pinged)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
