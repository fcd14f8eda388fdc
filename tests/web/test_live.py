"""The ear of the page: one LISTEN that wakes every page that is open."""

import asyncio
import contextlib

import pytest

from pgtrail_web.listener import Listener

pytestmark = pytest.mark.any_server


async def test_a_notification_wakes_all_who_wait_and_nobody_else_holds_a_connection(day):
    su = day.connect()
    listener = Listener(day.dsn("auditor"))
    with listener.notified() as one, listener.notified() as other:
        for _ in range(100):
            su.execute("notify pgtrail")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await one.wait()
                break
        assert one.is_set()
        assert other.is_set()
        listening = "select count(*) from pg_stat_activity where application_name = 'pgtrail page (listening)' and datname = current_database()"
        assert su.execute(listening).fetchone() == (1,)
    await listener.close()
