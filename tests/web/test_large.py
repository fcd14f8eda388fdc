"""The page on a log that is large enough for the planner to have a choice, and for an export to take a while."""

import contextlib
import json
import signal
import socket
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from psycopg.types.json import Jsonb
from tests.conftest import clone
from tests.web.conftest import memory, serving, terminate_pages

from pgtrail_web.database import MAX_CONNECTIONS, query
from pgtrail_web.database import MAX_PER_VIEWER as MAX_CONNECTIONS_PER_VIEWER
from pgtrail_web.running_exports import MAX_AT_ONCE, MAX_PER_VIEWER

pytestmark = pytest.mark.any_server

EVENTS = 60_000
PAGE = 51
SCAN_LIMIT = 2000
FEW = 5 * PAGE
"""Of each index, and of the view that shows what they found."""
MANY = 2 * SCAN_LIMIT + FEW
"""Where the look ends, and all that lies before."""
BEGIN = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
"""There are partitions from this month on."""
MIDDLE = BEGIN + timedelta(days=40)

FILTERS = {
    "nothing": ({}, FEW),
    "a rare category": ({"categories": ["plan"]}, FEW),
    "a rare action": ({"actions": ["plan.changed"]}, FEW),
    "actions by pattern": ({"actions": ["*.changed"]}, FEW),
    "an organization": ({"orgs": ["org_7"]}, FEW),
    "one resource": ({"resource_type": "key", "resource_id": "res_77"}, FEW),
    "a resource of one event": ({"resource_type": "key", "resource_id": "once"}, FEW),
    "a resource of many events": ({"resource_type": "key", "resource_id": "often"}, FEW),
    "one actor": ({"actor_type": "user", "actor_id": "usr_77"}, FEW),
    "days": ({"since": str(BEGIN + timedelta(days=2)), "until": str(BEGIN + timedelta(days=3))}, FEW),
    "a name that is nowhere": ({"resources": ["*nobody*"]}, MANY),
    "a text that is nowhere": ({"words": "needle"}, MANY),
}
"""Filters, and how many events the first page of each may touch."""


@pytest.fixture(scope="module")
def large(server, nemo_template):
    """Events of 50 organizations in three months, with two rare kinds among them."""
    for database in clone(server, nemo_template):
        su = database.connect()
        su.execute(
            """
            insert into audit.event (
                occurred_at, org_id, category, action, operation, table_name, resource_type, resource_id, resource_label,
                actor_type, actor_id, before, after, changed, xid, resource_hash
            )
            select
                %(begin)s + n * interval '2 minutes', 'org_' || n %% 50,
                case when n %% 5000 = 3 then 'plan' else 'api_keys' end,
                case when n %% 5000 = 3 then 'plan.changed' else 'key.updated' end,
                'UPDATE', 'nemo.api_key', 'key',
                case when n = 30000 then 'once' when n %% 3 = 0 then 'often' else 'res_' || n %% 997 end, 'name ' || n %% 997, 'user', 'usr_' || n %% 499,
                jsonb_build_object('n', n), jsonb_build_object('n', n + 1), '{n}',
                (3 + n %% 700)::text::xid8,
                hashtextextended(
                    case when n = 30000 then 'once' when n %% 3 = 0 then 'often' else 'res_' || n %% 997 end, 0
                )
            from generate_series(1, %(events)s) as n
            """,
            {"begin": BEGIN, "events": EVENTS},
        )
        su.execute("select audit.grant_org('reader', 'org_' || n) from generate_series(1, 25) as n")
        su.execute("select audit_internal.index_events()")
        su.execute("vacuum analyze audit.event")
        yield database


class Explained:
    """A superuser's connection that goes on as a reader, and knows the plan of each statement, also inside functions."""

    def __init__(self, database, role="audit_auditor"):
        self.connection = database.connect()
        self.plans = []
        self.connection.add_notice_handler(self._hear)
        self.connection.execute(
            """
            load 'auto_explain';
            set auto_explain.log_min_duration = 0;
            set auto_explain.log_nested_statements = on;
            set auto_explain.log_analyze = on;
            set auto_explain.log_timing = off;
            set auto_explain.log_format = 'json';
            set client_min_messages = log;
            select set_config('pgtrail.org', 'org_7', false)
            """
        )
        self.connection.execute(f"set role {role}")

    def _hear(self, notice):
        _, found, plan = (notice.message_primary or "").partition("plan:\n")
        if found:
            self.plans.append(json.loads(plan)["Plan"])

    def touched(self, name, **parameters):
        """How many events a statement of the page has touched, by the nodes that touched them; and its rows."""
        self.plans.clear()
        rows = self.connection.execute(query(name), parameters).fetchall()
        nodes = [node for plan in self.plans for node in walk(plan) if is_of_events(node)]
        assert [node["Node Type"] for node in nodes if "Seq Scan" in node["Node Type"] and rows_of(node) > 0] == [], (
            name
        )
        return sum(map(rows_of, nodes)), rows


def walk(node):
    yield node
    for child in node.get("Plans", []):
        yield from walk(child)


def is_of_events(node):
    return node.get("Relation Name", "").startswith("event")


def rows_of(node):
    """Also those that were looked at and thrown away."""
    thrown_away = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return (node["Actual Rows"] + thrown_away) * node["Actual Loops"]


ROLES = pytest.mark.parametrize("role", ["audit_auditor", "audit_org_reader", "reader"])
"""Of every organization, of the one that the session names, and of the half of them that are granted."""


@ROLES
@pytest.mark.parametrize("name", FILTERS)
def test_the_first_page_of_a_filter_and_the_ones_after_it_touch_few_events(large, name, role):
    fields, most = FILTERS[name]
    if role != "audit_auditor" and fields.get("resource_id") not in ("res_77", "once"):
        # Organization by organization; and of the many events of a resource or actor, those of other ones are in between.
        most = MANY
    explained = Explained(large, role)
    look = {"scan_limit": SCAN_LIMIT, "limit": PAGE, "max_chars": 61}
    touched, rows = explained.touched("search", **look, filter=Jsonb(fields))
    assert touched <= most
    if role == "audit_auditor":
        assert (len(rows) > 1) == ("nowhere" not in name)
    before = {"before_time": MIDDLE.isoformat(), "before_id": 1}
    touched, _ = explained.touched("search", **look, filter=Jsonb(fields | before))
    assert touched <= most


@ROLES
@pytest.mark.parametrize("name", FILTERS)
def test_what_is_counted_is_bounded(large, name, role):
    explained = Explained(large, role)
    touched, _ = explained.touched("counted", filter=Jsonb(FILTERS[name][0]), unit="day", max_events=SCAN_LIMIT)
    # (A resource leads to its events, also where every third event is of it, in each organization: twice, for how far back, too.)
    assert touched <= (2 * MANY if role == "audit_auditor" or name != "a resource of many events" else 2 * EVENTS / 3)


@ROLES
def test_an_event_and_its_neighbours_are_found_by_indexes(large, role):
    explained = Explained(large, role)
    (middle,) = (
        large.connect().execute("select percentile_disc(0.5) within group (order by id) from audit.event").fetchone()
    )
    touched, _ = explained.touched("event", id=middle)
    assert touched <= 5
    for resource in ("res_77", "once", "often"):
        touched, (neighbours,) = explained.touched(
            "neighbours", id=middle, node=None, resource_id=resource, resource_type="key", utc_time=MIDDLE
        )
        # (Those of other organizations are in between.)
        assert touched <= FEW
        if role == "audit_auditor":
            assert all(neighbours) == (resource != "once")


def test_what_has_arrived_is_found_by_transaction(large):
    su = large.connect()
    (snapshot,) = su.execute("select pg_current_snapshot()::text").fetchone()
    su.execute("insert into nemo.organization (name, slug) values ('new', 'new')")
    explained = Explained(large)
    touched, ((_, _, events),) = explained.touched("arrived", snapshot=snapshot, filter=Jsonb({}))
    assert 0 < events <= touched <= 10


def for_everything(client):
    """A form that asks for all events as CSV."""
    token = client.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]
    return {"csrf": token, "format": "csv", "range": "all"}


@contextlib.contextmanager
def leaving(client, *request, **options):
    """A connection on which a request is sent, until its reader leaves."""
    built = client.build_request(*(("GET", *request) if len(request) == 1 else request), **options)
    head = "".join(f"{name}: {value}\r\n" for name, value in built.headers.items())
    with socket.create_connection((client.base_url.host, client.base_url.port)) as reader:
        reader.sendall(f"{built.method} {built.url.raw_path.decode()} HTTP/1.1\r\n{head}\r\n".encode() + built.read())
        yield reader


@contextlib.contextmanager
def asking(client, *request, **options):
    """The same, with the status of the answer; no more of it is read."""
    with leaving(client, *request, **options) as reader:
        yield reader.recv(12).decode().removeprefix("HTTP/1.1 ")


def under_way(su):
    """Connections of the page that are in a transaction."""
    return su.execute(
        "select count(*) from pg_stat_activity where application_name = 'pgtrail page' and state <> 'idle' and datname = current_database()"
    ).fetchone()[0]


def test_exports_that_nobody_takes_leave_the_page_to_the_others_and_end_with_their_readers(large, wait_until):
    su = large.connect()
    with contextlib.ExitStack() as clients, serving(large, "--trusted-header", "X-Remote-User") as running:
        url = running.url().rstrip("/")
        names = [f"viewer {number}" for number in range(MAX_AT_ONCE // MAX_PER_VIEWER + 1)]
        several = [
            clients.enter_context(httpx.Client(base_url=url, headers={"x-remote-user": name}, timeout=30))
            for name in names
        ]
        forms = [for_everything(client) for client in several]
        with contextlib.ExitStack() as stack:
            for client, form in zip(several[:-1], forms, strict=False):
                for _ in range(MAX_PER_VIEWER):
                    assert stack.enter_context(asking(client, "POST", "/export", data=form)) == "200"
                refused = client.post("/export", data=form)
                assert (refused.status_code, "of your exports are running" in refused.text) == (503, True)
            wait_until(lambda: under_way(su) == MAX_AT_ONCE)
            assert several[0].get("/").status_code == 200
            refused = several[-1].post("/export", data=forms[-1])
            assert (refused.status_code, "exports are running" in refused.text) == (503, True)
        wait_until(lambda: under_way(su) == 0)
        assert several[-1].post("/export", data=forms[-1]).text.count("\n") > EVENTS


def test_pages_that_nobody_waits_for_any_more_hold_nothing(large, wait_until):
    su, locking = large.connect(), large.connect()
    with serving(large) as running, running.client() as client:
        with locking.transaction():
            locking.execute("lock table audit.event")
            with contextlib.ExitStack() as stack:
                for _ in range(MAX_CONNECTIONS):
                    stack.enter_context(leaving(client, "/"))
                wait_until(lambda: under_way(su) == MAX_CONNECTIONS_PER_VIEWER)
            wait_until(lambda: under_way(su) == 0)
        assert client.get("/").status_code == 200


def test_an_export_whose_database_goes_away_is_no_whole_file(large, wait_until):
    su = large.connect()
    with serving(large) as running, running.client() as client:
        with client.stream("POST", "/export", data=for_everything(client)) as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            wait_until(lambda: under_way(su) == 1)
            terminate_pages(su, large)
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)
        assert client.get("/").status_code == 200


def test_the_page_ends_at_once_though_streams_are_open(large):
    with (
        serving(large) as running,
        running.client() as client,
        asking(client, "POST", "/export", data=for_everything(client)) as export,
        asking(client, "GET", "/live", params={"after": "1:1:/0"}) as live,
    ):
        assert (export, live) == ("200", "200")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0


def test_an_export_takes_no_memory_however_large_it_is(large):
    with serving(large) as running, running.client() as client:
        form = for_everything(client)
        before, size = memory(running.process.pid), 0
        for kind in ("csv", "ndjson"):
            with client.stream("POST", "/export", data={**form, "format": kind}) as answer:
                size += sum(map(len, answer.iter_bytes()))
        assert size > 30_000_000
        assert memory(running.process.pid) - before < 12_000_000
