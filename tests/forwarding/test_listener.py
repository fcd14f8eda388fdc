"""Listening, on a real Postgres."""

import asyncio

import pytest

from pgtrail_worker.listener import listen


@pytest.fixture
async def woken(db):
    """Listens; how often it was woken so far."""
    wakes = []
    task = asyncio.create_task(listen(db.dsn(), lambda: wakes.append(1)))
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
