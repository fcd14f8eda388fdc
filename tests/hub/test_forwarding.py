"""What a hub forwards of its nodes: everything, under their names, in their order."""

import json

import pytest
from tests.hub.conftest import sealed

pytestmark = pytest.mark.any_server


ORGS = "insert into nemo.organization (name, slug) select 'Org ' || n, 'org-' || n from generate_series(1, 5) as n"


def test_a_destination_of_the_hub_gets_every_nodes_events_under_their_names(
    hub, sink, add_destination, start_worker, wait_until, pgtrail
):
    add_destination(hub.su, sink)
    start_worker(hub.dsn("forwarder"))
    for node in hub.nodes.values():
        connection = node.connect()
        connection.execute(ORGS)
        connection.execute("update nemo.organization set name = name || ' Ltd'")
        sealed(node)
    wait_until(hub.has_all)
    expected = {
        row[0]
        for row in hub.rows(
            "select audit_internal.event_uid(event) from audit.event where node is not null and category = 'organization'"
        )
    }
    assert len(expected) == 20
    wait_until(lambda: expected <= {message_id for message_id, _ in sink.requests})
    order: dict[tuple[str, str], list[int]] = {}
    for message_id, body in list(sink.requests):
        event = json.loads(body)["data"]
        assert message_id == event["id"]
        if event["category"] == "organization":
            order.setdefault((event["node"], event["resource"]["id"]), []).append(int(event["id"].rsplit("_", 1)[1]))
    assert len(order) == 10
    assert all(ids == sorted(ids) for ids in order.values())
    # The hub's worker seals what came from its nodes.
    wait_until(lambda: hub.one("select audit_internal.count_unsealed() = 0"))
    assert pgtrail("verify", dsn=hub.dsn("auditor")).returncode == 0


def test_an_event_of_a_node_is_sent_again_by_its_name(hub, sink, add_destination, start_worker, wait_until, pgtrail):
    add_destination(hub.su, sink, categories=["organization"])
    start_worker(hub.dsn("forwarder"))
    hub.nodes["eu1"].connect().execute(ORGS)
    wait_until(lambda: len(sink.requests) == 5)
    (uid, name) = hub.rows(
        "select audit_internal.event_uid(event), audit_internal.event_reference(event) from audit.event where category = 'organization' order by id limit 1"
    )[0]
    shown = pgtrail("destination", "test", "siem", "--event", name, "--dry-run", dsn=hub.dsn("forwarder"))
    assert uid in shown.stdout, shown.stderr
    again = pgtrail("destination", "replay", "siem", "--event", name, "--reason", "lost", dsn=hub.dsn("admin"))
    assert again.returncode == 0, again.stderr
    wait_until(lambda: len(sink.requests) == 6)
    assert [message_id for message_id, _ in sink.requests].count(uid) == 2
