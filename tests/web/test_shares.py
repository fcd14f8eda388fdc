"""What one viewer takes of the page is not taken from the others."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.conftest import clone
from tests.web.conftest import played, serving

from pgtrail_web.database import MAX_CONNECTIONS, MAX_PER_VIEWER
from pgtrail_web.errors import Busy
from pgtrail_web.running_exports import MAX_AT_ONCE, RunningExports
from pgtrail_web.running_exports import MAX_PER_VIEWER as MAX_EXPORTS_PER_VIEWER
from pgtrail_web.shares import Shares
from pgtrail_web.viewer import Viewer

pytestmark = pytest.mark.any_server

EVE, ANN = {"x-remote-user": "eve"}, {"x-remote-user": "ann"}
SLOW_SECONDS = 7
SLOW_PATTERN = """
    create or replace function audit_internal.check_patterns(patterns text[]) returns void language plpgsql as $$
    begin
        if 'slow*' = any (patterns) then
            perform pg_catalog.pg_sleep({seconds});
        end if;
    end $$
"""


@pytest.fixture
def slow(server, nemo_template):
    """A page with one filter that takes long."""
    for database in clone(server, nemo_template):
        played(database)
        database.connect().execute(SLOW_PATTERN.format(seconds=SLOW_SECONDS))
        with serving(database, "--trusted-header", "X-Remote-User") as running:
            yield running.url()


def test_one_viewer_s_slow_filters_leave_the_page_to_the_others(slow):
    def ask(_):
        return httpx.get(slow, params={"actor": "slow*"}, headers=EVE, timeout=60)

    with ThreadPoolExecutor(2 * MAX_CONNECTIONS) as eve:
        asked = [eve.submit(ask, number) for number in range(2 * MAX_CONNECTIONS)]
        time.sleep(1)
        for _ in range(3):
            assert httpx.get(slow, headers=ANN, timeout=60).status_code == 200
        answers = [each.result() for each in asked]
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == MAX_PER_VIEWER
    refused = [answer.text for answer in answers if answer.status_code == 503]
    assert len(refused) == len(answers) - MAX_PER_VIEWER
    assert all("Too many of your own requests" in text for text in refused)
    assert httpx.get(slow, headers=EVE, timeout=60).status_code == 200


async def test_a_share_comes_back_whatever_ends_it_and_nothing_is_kept():
    shares, eve = Shares(2, 0.05), Viewer(actor="eve")
    async with shares.share(eve), shares.share(eve):
        with pytest.raises(Busy):
            async with shares.share(eve):
                pass
        async with shares.share(Viewer(actor="ann")), shares.share(Viewer(org="a", actor="eve")):
            pass
        waiting = asyncio.create_task(shares.share(eve).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    with pytest.raises(RuntimeError):
        async with shares.share(eve):
            raise RuntimeError
    assert shares._viewers == {}


async def test_who_waits_gets_a_share_that_comes_back():
    shares, eve = Shares(1, 5), Viewer(actor="eve")
    order = []

    async def take(number):
        async with shares.share(eve):
            order.append(number)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(take(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_viewers_without_a_name_are_told_apart_by_their_addresses():
    shares = Shares(1, 0.05)
    async with shares.share(Viewer(ip="192.0.2.1")), shares.share(Viewer(ip="192.0.2.2")):
        with pytest.raises(Busy):
            async with shares.share(Viewer(ip="192.0.2.1")):
                pass
    async with shares.share(Viewer(actor="eve", ip="192.0.2.1")):
        with pytest.raises(Busy):
            async with shares.share(Viewer(actor="eve", ip="192.0.2.2")):
                pass


def test_one_viewer_s_exports_leave_room_for_another_s():
    running, eve = RunningExports(), Viewer(actor="eve")
    places = [running.slot(eve) for _ in range(MAX_EXPORTS_PER_VIEWER)]
    for place in places:
        place.__enter__()
    with pytest.raises(Busy, match="of your exports"), running.slot(eve):
        pass
    with running.slot(Viewer(actor="ann")):
        pass
    for place in places:
        place.__exit__(None, None, None)
    assert MAX_EXPORTS_PER_VIEWER < MAX_AT_ONCE
    with running.slot(eve):
        pass
    assert not running._running
