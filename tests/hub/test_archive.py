"""Months of a hub in an archive: under the nodes' names, and every chain still whole."""

import json

import pytest
from tests.hub.conftest import sealed

pytestmark = pytest.mark.any_server


@pytest.fixture
def aged(hub, nemo, pgtrail, wait_until):
    """A hub with the node `old`, five of whose events are of five months ago; everything is sealed."""
    su = nemo.connect()
    su.execute("set role audit_owner")
    su.execute(
        "select audit_internal.make_missing_partitions(array(select generate_series(now() - interval '6 months', now(), '1 month')))"
    )
    su.execute("reset role")
    su.execute(
        "insert into audit.event (occurred_at, org_id, category, action, resource_type, resource_id, resource_hash, actor_type, after, imported_from) "
        "select now() - interval '5 months', 'acme', 'teams', 'team.created', 'team', n::text, hashtextextended(n::text, 0), 'user', "
        "jsonb_build_object('name', 'é ' || n), 'test' from generate_series(1, 5) as n"
    )
    sealed(nemo)
    hub.nodes["old"] = nemo
    added = pgtrail("hub", "add", "old", "--dsn", nemo.dsn(), dsn=hub.dsn())
    assert added.returncode == 0, added.stderr
    wait_until(hub.follows_all)
    sealed(hub.database)
    yield hub
    hub.take_out("old")


def test_a_month_of_a_hub_is_read_back_under_the_nodes_names(aged, pgtrail, tmp_path):
    (tmp_path / "place").mkdir()
    place = str(tmp_path / "place")
    before = pgtrail("log", "--category", "teams", "--json", dsn=aged.dsn("auditor")).stdout
    csv = pgtrail("export", "-", "--category", "teams", dsn=aged.dsn("auditor")).stdout
    assert before.count("evt_old_") == 5
    moved = pgtrail("archive", place, "--before", "60d", dsn=aged.dsn("admin"))
    assert moved.returncode == 0, moved.stderr
    assert pgtrail("log", "--category", "teams", "--json", dsn=aged.dsn("auditor")).stdout == ""
    after = pgtrail("log", "--archive", place, "--node", "old", "--json")
    assert [json.loads(line) for line in after.stdout.splitlines()] == [
        json.loads(line) for line in before.splitlines()
    ]
    assert pgtrail("export", "-", "--archive", place).stdout == csv
    assert "old:" in pgtrail("log", "--archive", place).stdout
    assert pgtrail("log", "--archive", place, "--node", "-").stdout == ""
    checked = pgtrail("verify", "--archive", place)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
    verified = pgtrail("verify", dsn=aged.dsn("auditor"))
    assert verified.returncode == 0, verified.stderr
    assert {line.split(" audit.")[0] for line in verified.stdout.splitlines()} == {"removal"}
