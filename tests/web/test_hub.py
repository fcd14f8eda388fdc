"""The page of a hub: which database recorded an event, what the event is called, and whose it is."""

import csv
import io
import json
import re

import psycopg
import pytest
from playwright.sync_api import expect
from psycopg.types.json import Jsonb
from tests.conftest import clone
from tests.web.conftest import event_of, org_of, serving, without_the_time
from tests.web.test_http import export
from tests.web.test_large import BEGIN, FEW, MANY, MIDDLE, PAGE, ROLES, SCAN_LIMIT, Explained

pytestmark = pytest.mark.any_server

COPY = """
    do $$
    declare
        node_name text;
        -- (What comes with the event, and is no identity of it.)
        others text := (
            select string_agg(quote_ident(attname), ', ')
            from pg_attribute
            where attrelid = 'audit.event'::regclass
                and attnum > 0
                and not attisdropped
                and attname not in ('id', 'xid', 'node', 'node_id', 'node_xid')
        );
    begin
        foreach node_name in array array['eu1', 'us1']
        loop
            insert into audit.node (name, subscription, system_identifier, timeline, copies_above, copies_to, hub_system_identifier, hub_timeline)
            values (node_name, length(node_name || '') + ascii(node_name), 1, 1, 0, 0, 1, 1);
            execute format(
                'insert into audit.event (%1$s, node, node_id, node_xid) '
                'select %1$s, %2$L, id, xid from audit.event '
                'where node is null and category <> ''audit'' '
                'and (%2$L = ''eu1'' or org_id is distinct from %3$L) order by id',
                others, node_name, current_setting('test.acme')
            );
        end loop;
    end
    $$
"""
"""The day as two nodes recorded it, too: at us1 without the organization acme."""


@pytest.fixture(scope="module")
def day(day):
    """The database after the demo's day, made a hub."""
    su = day.connect()
    su.execute("select audit.init_hub()")
    su.execute("select set_config('test.acme', %s, false)", [org_of(day)])
    su.execute(COPY)
    su.execute("select audit.seal()")
    return day


@pytest.fixture(scope="module")
def client(served):
    with served.client() as inside:
        yield inside


@pytest.fixture
def rotated(day):
    """An event of node eu1: its id here and there, and that of the one which this database recorded itself."""
    own = day.connect().execute(
        "select min(id) from audit.event where action = 'key.rotated' and node is null"
    ).fetchone()[0]  # fmt: skip
    (here,) = day.connect().execute(
        "select id from audit.event where node = 'eu1' and node_id = %s", [own]
    ).fetchone()  # fmt: skip
    return here, own


def cells(text, kind):
    """What stands in a column."""
    return re.findall(rf'class="{kind}">([^<]*)<', text)


def options(text):
    """What the node filter offers."""
    return re.findall(r'<option value="([^"]*)"', text.partition('<select name="node">')[2].partition("</select>")[0])


def rows_of_csv(answer):
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_a_hub_shows_whose_each_event_is_and_offers_its_nodes(client):
    text = client.get("/?range=all&size=1000").text
    assert ">Node</th>" in text
    assert set(cells(text, "where")) == {"eu1", "us1", "this hub"}
    assert options(text) == ["", "eu1", "us1", "-"]


@pytest.mark.parametrize(("node", "shown"), [("eu1", "eu1"), ("-", "this hub"), ("nowhere", None)])
def test_a_node_is_a_filter_like_the_others(client, day, node, shown):
    text = client.get(f"/?range=all&size=1000&node={node}").text
    assert set(cells(text, "where")) == ({shown} if shown else set())
    assert f"Node <b>{shown or node}</b>" in text
    assert f'<option value="{node}" selected>' in text
    rows = rows_of_csv(export(client, format="csv", range="all", node=node))
    assert {row["node"] for row in rows} == ({node.strip("-")} if shown else set())
    # (The export that has just been made is in it: it is recorded first.)
    (stored,) = (
        day.connect().execute("select count(*) from audit.event where coalesce(node, '-') = %s", [node]).fetchone()
    )
    assert len(rows) == stored
    lines = export(client, format="ndjson", range="all", node=node, category="plan").text.splitlines()
    assert {json.loads(line).get("node", "-") for line in lines} == ({node} if shown else set())
    (recorded,) = day.connect().execute(
        "select after -> 'filters' -> 'nodes' from audit.event where action = 'audit.exported' order by id desc limit 1"
    ).fetchone()  # fmt: skip
    assert recorded == [node]


def test_an_event_is_found_by_all_that_it_is_called(client, rotated):
    here, there = rotated
    by_id = client.get(f"/events/{here}").text
    assert f"event eu1:{there}</title>" in by_id
    assert f">eu1:{there}</a>" in by_id
    assert "<dt>Node</dt>" in by_id
    for name in (f"eu1:{there}", f"eu1%3A{there}", f"evt_eu1_{there}", f"evt_{here}"):
        assert without_the_time(client.get(f"/events/{name}").text) == without_the_time(by_id)
        assert client.get(f"/events/{name}/json").json()["id"] == f"evt_eu1_{there}"
    own = client.get(f"/events/{there}").text
    assert f"event {there}</title>" in own
    assert "this hub</a></dd>" in own
    assert "its seal are unchanged" in client.get(f"/events/eu1:{there}?verify=now").text


@pytest.mark.parametrize(
    "name",
    ["eu1:", "eu1", "EU1:42", "eu1:42:1", "eu1:-1", "eu1:" + "9" * 30, "' or 1=1", "eu1:4%002", "%C3%A4:1", "evt_"],
)
def test_what_no_event_is_called_is_said_so(client, name):
    answer = client.get(f"/events/{name}")
    assert answer.status_code == 404
    assert "is not an event id." in answer.text
    assert "Event names look like 42, or on a hub eu1:42." in answer.text


@pytest.mark.parametrize("name", ["eu1:9999999", "nowhere:1", "evt_us2_1"])
def test_an_event_that_is_not_there_is_not_there_by_its_name_either(client, name):
    answer = client.get(f"/events/{name}")
    assert answer.status_code == 404
    assert "There is no such event." in answer.text


def test_one_organization_has_its_events_from_all_nodes_and_no_others(day):
    acme, su = org_of(day), day.connect()
    su.execute("select audit.grant_org('reader', %s)", [acme])
    (theirs,) = su.execute(
        "select node_id from audit.event where node = 'us1' and org_id <> %s order by id limit 1", [acme]
    ).fetchone()  # fmt: skip
    for arguments in ({"user": "reader"}, {"user": "admin", "org": acme}):
        command_line = ("--org", arguments["org"]) if "org" in arguments else ()
        with serving(day, *command_line, user=arguments["user"]) as running, running.client() as client:
            text = client.get("/?range=all&size=1000").text
            assert set(cells(text, "where")) == {"eu1", "this hub"}
            # Not even that there is one.
            assert options(text) == ["", "eu1", "-"]
            assert "us1" not in text
            rows = rows_of_csv(export(client, format="csv", range="all"))
            assert {row["node"] for row in rows} == {"eu1", ""}
            assert {row["org_id"] for row in rows} == {acme}
            assert rows_of_csv(export(client, format="csv", range="all", node="us1")) == []
            not_there = client.get(f"/events/us1:{theirs}")
            assert (not_there.status_code, not_there.text) == (404, client.get("/events/nowhere:1").text)
            mine = event_of(day, "key.rotated")
            assert client.get(f"/events/{mine}").status_code == 200


def test_a_resource_is_one_of_its_node_and_an_actor_may_be_at_many(client, day, rotated):
    here, there = rotated
    page = client.get(f"/events/{here}").text
    (previous,) = re.findall(r'rel="prev" href="[^"]*/events/(\d+)"', page)
    assert day.connect().execute("select node, action from audit.event where id = %s", [previous]).fetchone() == (
        "eu1", "key.updated",
    )  # fmt: skip
    assert 'rel="next"' not in page
    for event, node in ((here, "eu1"), (there, "this hub")):
        page = client.get(f"/events/{event}").text
        history = re.search(r'href="[^"?]*/(\?[^"]*resource_id=[^"]*)"', page)[1].replace("&amp;", "&")
        text = client.get(f"/{history}").text
        assert cells(text, "where") == [node] * 3
        assert f" at {node}</p>" in text
        activity = re.search(r'href="[^"?]*/(\?[^"]*actor_id=[^"]*)"', page)[1].replace("&amp;", "&")
        assert {"eu1", "this hub"} <= set(cells(client.get(f"/{activity}").text, "where"))
        # The same from the table.
        assert history in client.get("/?action=key.rotated").text.replace("&amp;", "&")


def test_what_was_delivered_or_refused_is_called_by_its_name(day, rotated):
    here, there = rotated
    su = day.connect()
    su.execute("select audit.add_destination('picky', 'https://picky.example/hooks')")
    su.execute(
        "insert into audit.dead_letter (destination_id, event_id, status, error, attempts) "
        "select audit_internal.destination_id('picky'), id, 422, 'no', 3 from unnest(array[%s, 999999999]) as id",
        [here],
    )
    su.execute(
        "insert into audit.attempt (destination_id, attempted_at, delivered, first_event_id, last_event_id, dead_letters, worker) "
        "values (audit_internal.destination_id('picky'), now(), 2, %s, %s, 0, 'w')",
        [there, here],
    )
    with serving(day) as running, running.client() as client:
        text = client.get("/destinations/picky").text
    assert f'/events/{here}">eu1:{there}</a>' in text
    # (Dropped by retention, it has no other name.)
    assert ">999999999</a>" in text
    assert f"{there} to eu1:{there}" in text
    su.execute("select audit.remove_destination('picky', true)")


def test_what_arrives_from_a_node_is_told_to_who_looks_at_that_node(visit, day):
    page = visit("/?node=eu1")
    day.connect().execute(
        """
        insert into audit.event (category, action, resource_type, resource_id, actor_type, node, node_id, node_xid)
        values ('teams', 'team.created', 'team', '1', 'user', 'us1', 900001, '5'), ('teams', 'team.created', 'team', '1', 'user', 'eu1', 900001, '5');
        notify pgtrail
        """
    )
    expect(page.locator("#arrived a")).to_have_text("1 new event")
    page.locator("#arrived a").click()
    expect(page.locator("#events tr").first).to_contain_text("eu1")
    assert page.url.endswith("?node=eu1")


def test_a_node_is_chosen_by_mouse_and_by_keyboard_and_without_a_script(visit, day):
    page = visit("/?range=all")
    # (As a mouse does: a list that drops down is no part of the page.)
    page.locator("select[name=node]").dispatch_event("pointerdown")
    page.get_by_label("Node").select_option("eu1")
    page.wait_for_url(re.compile(r"\?range=all&node=eu1$"))
    expect(page.locator("#events .where").first).to_have_text("eu1")
    page.get_by_role("link", name="Remove the filter Node eu1").click()
    page.wait_for_url(re.compile(r"\?range=all$"))
    url = page.url
    page.get_by_label("Node").focus()
    page.keyboard.press("u")
    expect(page.get_by_label("Node")).to_have_value("us1")
    assert page.url == url
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Apply").press("Enter")
    page.wait_for_url(re.compile(r"\?range=all&node=us1$"))
    plain = visit("/?range=all", java_script_enabled=False)
    plain.get_by_label("Node").select_option("this hub")
    plain.get_by_role("button", name="Apply").click()
    assert set(plain.locator("#events .where").all_inner_texts()) == {"this hub"}
    with plain.expect_download() as download:
        plain.get_by_role("button", name="Export CSV").click()
    rows = csv.DictReader(io.StringIO(download.value.path().read_text(), newline=""))
    assert {row["node"] for row in rows} == {""}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_on_a_hub_and_nothing_sticks_out(visit, rotated, axe, scheme, width):
    page = visit("/?range=all", color_scheme=scheme, viewport={"width": width, "height": 800})
    for path in (
        "/?range=all",
        "/?range=all&node=eu1",
        "/?range=all&node=-&resource_type=key&resource_id=x",
        f"/events/eu1:{rotated[1]}",
        "/events/eu1:x",
    ):
        page.goto(page.url.partition("/audit")[0] + "/audit" + path)
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found] == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


EVENTS = 60_000
FILTERS = {
    "a node of many events": {"nodes": ["eu1"]},
    "a node of few events": {"nodes": ["ap1"]},
    "a node of none": {"nodes": ["zz1"]},
    "the hub itself": {"nodes": ["-"]},
    "an organization at a node": {"orgs": ["org_7"], "nodes": ["eu1"]},
    "a category at a node": {"categories": ["plan"], "nodes": ["eu1"]},
    "one resource": {"resource_type": "key", "resource_id": "res_77", "nodes": ["eu1"]},
    "a resource of many events at other nodes": {"resource_type": "key", "resource_id": "often", "nodes": ["ap1"]},
    "one actor": {"actor_type": "user", "actor_id": "usr_77", "nodes": ["eu1"]},
}


@pytest.fixture(scope="module")
def large_hub(server, nemo_template):
    """Events of two nodes, some of the hub's own, and a few of a third node in the middle."""
    for database in clone(server, nemo_template):
        su = database.connect()
        su.execute("select audit.init_hub()")
        su.execute(
            """
            insert into audit.node (name, subscription, system_identifier, timeline, copies_above, copies_to, hub_system_identifier, hub_timeline)
            select name, row_number() over (), 1, 1, 0, 0, 1, 1 from unnest('{ap1,eu1,us1}'::text[]) as name
            """
        )
        su.execute(
            """
            insert into audit.event (
                occurred_at, org_id, category, action, operation, resource_type, resource_id, actor_type, actor_id,
                before, after, changed, xid, resource_hash, node, node_id, node_xid
            )
            select
                %(begin)s + n * interval '2 minutes', 'org_' || n %% 50,
                case when n %% 5000 = 3 then 'plan' else 'api_keys' end, 'key.updated',
                'UPDATE', 'key', resource, 'user', 'usr_' || n %% 499,
                jsonb_build_object('n', n), jsonb_build_object('n', n + 1), '{n}', (3 + n %% 700)::text::xid8,
                hashtextextended(resource, 0),
                node, case when node is not null then n end, case when node is not null then '5'::xid8 end
            from generate_series(1, %(events)s) as n
            cross join lateral (
                select
                    case when n %% 20 = 7 then 'often' else 'res_' || n %% 997 end,
                    case when n between 29990 and 30010 then 'ap1' when n %% 7 = 0 then null when n %% 7 = 1 then 'us1' else 'eu1' end
            ) as its (resource, node)
            """,
            {"begin": BEGIN, "events": EVENTS},
        )
        su.execute("select audit.grant_org('reader', 'org_' || n) from generate_series(1, 25) as n")
        su.execute("select audit_internal.index_events()")
        su.execute("vacuum analyze audit.event")
        yield database


@ROLES
@pytest.mark.parametrize("name", FILTERS)
def test_a_node_filter_touches_few_events(large_hub, name, role):
    # (Of the events of a resource at all nodes, who sees some organizations reads those of other organizations, too.)
    most = MANY if role == "audit_auditor" else 2 * MANY
    explained = Explained(large_hub, role)
    look = {"scan_limit": SCAN_LIMIT, "limit": PAGE, "max_chars": 61}
    for before in ({}, {"before_time": MIDDLE.isoformat(), "before_id": 1}):
        touched, _ = explained.touched("search", **look, filter=Jsonb(FILTERS[name] | before))
        assert touched <= most
    touched, _ = explained.touched("counted", filter=Jsonb(FILTERS[name]), unit="day", max_events=SCAN_LIMIT)
    assert touched <= 2 * MANY


@ROLES
def test_an_event_of_a_node_and_its_neighbours_are_found_by_indexes(large_hub, role):
    explained = Explained(large_hub, role)
    (here, there, moment) = large_hub.connect().execute(
        "select id, node_id, occurred_at from audit.event where node = 'eu1' and org_id = 'org_7' and resource_id = 'often' and node_id > 14000 order by id limit 1"
    ).fetchone()  # fmt: skip
    touched, found = explained.touched("event_id", event_name=f"eu1:{there}")
    assert (touched, found) == (1, [(here,)])
    touched, ((previous, following),) = explained.touched(
        "neighbours", id=here, node="eu1", resource_id="often", resource_type="key", utc_time=moment
    )
    assert previous < here < following
    assert touched <= FEW


@ROLES
def test_the_nodes_that_can_be_chosen_are_found_among_few_events(large_hub, role):
    explained = Explained(large_hub, role)
    touched, found = explained.touched("nodes", scan_limit=SCAN_LIMIT)
    if role == "audit_auditor":
        assert (touched, found) == (0, [("ap1",), ("eu1",), ("us1",), ("-",)])
    else:
        # (One more of each organization is read, to find the first.)
        assert touched <= 1.1 * SCAN_LIMIT
        assert {name for (name,) in found} >= {"eu1", "us1", "-"}


def test_a_name_is_not_looked_for_where_there_are_no_nodes(large_hub):
    su = large_hub.connect()
    with su.transaction(force_rollback=True):
        su.execute("set local session_replication_role = replica")
        su.execute("delete from audit.node")
        assert su.execute("select audit_internal.find_event_id('eu1:14002')").fetchone() == (None,)
        with pytest.raises(psycopg.Error, match="is not an event id"), su.transaction():
            su.execute("select audit_internal.find_event_id('eu1:')")
