"""One log over two databases: what a hub has of its nodes, and what it is called."""

import json

import pytest
from tests.conftest import wait
from tests.hub.conftest import sealed

pytestmark = pytest.mark.any_server

ORGS = "insert into nemo.organization (name, slug) select 'Org ' || n, 'org-' || n from generate_series(1, %s) as n"


@pytest.fixture(scope="module")
def written(shared_hub):
    """Three organizations at eu1 and two at us1, one of which changed its plan twice; sealed, and all here."""
    hub = shared_hub
    for name, number in (("eu1", 3), ("us1", 2)):
        node = hub.nodes[name].connect()
        node.execute(ORGS, [number])
        node.execute("update nemo.organization set plan_tier = 'tier_2' where slug = 'org-1'")
        node.execute("update nemo.organization set plan_tier = 'tier_3' where slug = 'org-1'")
        sealed(hub.nodes[name])
    wait(hub.has_all)
    return hub


def test_a_hub_has_every_event_of_its_nodes_as_it_was_there(written):
    for name, node in written.nodes.items():
        there = node.connect().execute("select event from audit.event order by id").fetchall()
        here = written.rows(
            "select jsonb_populate_record(event, jsonb_build_object('id', node_id, 'xid', node_xid::text, 'node', null, 'node_id', null, 'node_xid', null)) from audit.event where node = %s order by node_id",
            name,
        )
        assert here == there
        # In the order in which they were committed, which is that of each resource's events.
        ordered = written.rows("select node_id from audit.event where node = %s order by id", name)
        assert [row[0] for row in ordered] == sorted(row[0] for row in ordered)


def test_every_seal_holds_the_nodes_and_the_hubs_own(written, pgtrail):
    sealed(written.database)
    done = pgtrail("verify", dsn=written.dsn("auditor"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "node eu1 " in done.stderr
    assert "node us1 " in done.stderr
    assert pgtrail("verify", "--node", "eu1", dsn=written.dsn("auditor")).returncode == 0
    nobody = pgtrail("verify", "--node", "mars", dsn=written.dsn("auditor"))
    assert (nobody.returncode, nobody.stderr) == (2, 'pgtrail: there is no node "mars" (the nodes are: eu1, us1)\n')


def test_an_event_is_called_by_its_node_everywhere(written, pgtrail):
    (node_id,) = written.rows("select max(node_id) from audit.event where node = 'us1' and category = 'plan'")[0]
    name = f"us1:{node_id}"
    table = pgtrail("log", "--node", "us1", "--category", "plan", dsn=written.dsn("auditor")).stdout
    assert name in table
    assert "eu1:" not in table
    shown = pgtrail("show", name, dsn=written.dsn("auditor"))
    assert shown.returncode == 0, shown.stderr
    assert "tier_3" in shown.stdout
    assert (
        json.loads(pgtrail("show", f"evt_us1_{node_id}", "--json", dsn=written.dsn("auditor")).stdout)["node"] == "us1"
    )
    sealed(written.database)
    proof = pgtrail("proof", "make", name, dsn=written.dsn("auditor")).stdout
    checked = pgtrail("proof", "check", "-", input=proof)
    assert checked.returncode == 0, checked.stderr
    assert "us1" in checked.stdout


@pytest.mark.parametrize(
    ("name", "status"),
    [("mars:1", 1), ("us1:999999999", 1), ("us1:", 2), (":1", 2), ("1:us1", 2), ("99999999999999999999", 2)],
)
def test_what_is_no_event_is_said_in_one_line(written, pgtrail, name, status):
    done = pgtrail("show", name, dsn=written.dsn("auditor"))
    assert done.returncode == status
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_the_hubs_own_events_are_of_no_node(written, pgtrail):
    own = pgtrail("log", "--node", "-", "--json", dsn=written.dsn("auditor")).stdout.splitlines()
    assert {json.loads(line)["action"] for line in own} >= {"audit.hub_made", "audit.node_added"}
    assert not any("node" in json.loads(line) for line in own)


def test_a_reader_sees_their_organization_at_every_node_and_no_other(written):
    org = written.one("select org_id from audit.event where node = 'eu1' and category = 'plan' limit 1")
    written.su.execute("select audit.grant_org('reader', %s)", [org])
    rows = written.database.connect("reader").execute("select distinct org_id, node from audit.log").fetchall()
    # (The grant is an event of the hub's own.)
    assert sorted(rows, key=str) == [(org, "eu1"), (org, None)]


def test_a_csv_names_the_node(written, pgtrail, tmp_path):
    assert pgtrail("export", str(tmp_path / "a.csv"), "--node", "eu1", dsn=written.dsn("auditor")).returncode == 0
    header, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert header.endswith(",node,node_id")
    assert rows
    assert all(",eu1," in row for row in rows)
