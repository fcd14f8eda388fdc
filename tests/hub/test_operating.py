"""Operating a hub: adding and removing nodes, what prevents it, and what needs attention."""

import json

import psycopg
import pytest
from tests.hub.conftest import sealed
from tests.verifying import node_problems

pytestmark = pytest.mark.any_server

ORG = "insert into nemo.organization (name, slug) values (%s, %s)"


def status(pgtrail, hub):
    done = pgtrail("status", "--json", dsn=hub.dsn())
    return done, {node["name"]: node for node in json.loads(done.stdout)["nodes"]}


def test_a_node_that_is_removed_and_added_again_has_every_event_once(hub, pgtrail, wait_until):
    node = hub.nodes["eu1"]
    connection = node.connect()
    connection.execute(ORG, ["Acme", "acme"])
    sealed(node)
    wait_until(hub.has_all)
    assert pgtrail("hub", "remove", "eu1", "--dsn", node.dsn(), dsn=hub.dsn()).returncode == 0
    assert hub.rows("select state from audit_internal.node_state() where name = 'eu1'") == [("removed",)]
    assert connection.execute(
        "select count(*) from pg_replication_slots where database = current_database()"
    ).fetchone() == (0,)
    assert connection.execute("select count(*) from pg_publication").fetchone() == (0,)
    connection.execute(ORG, ["Meanwhile", "meanwhile"])
    sealed(node)
    added = pgtrail("hub", "add", "eu1", "--dsn", node.dsn(), dsn=hub.dsn())
    assert added.returncode == 0, added.stderr
    connection.execute(ORG, ["After", "after"])
    wait_until(hub.follows_all)
    assert node_problems(hub.su, "eu1") == []
    assert pgtrail("verify", "--node", "eu1", dsn=hub.dsn("auditor")).returncode == 0
    actions = {
        row[0] for row in hub.rows("select action from audit.event where category = 'audit' and resource_id = 'eu1'")
    }
    assert actions == {"audit.node_added", "audit.node_removed"}


def test_another_database_can_not_take_the_name_of_one(hub, nemo, pgtrail, wait_until):
    node = hub.nodes["eu1"]
    sealed(node)
    wait_until(hub.has_all)
    taken = pgtrail("hub", "add", "eu1", "--dsn", nemo.dsn(), dsn=hub.dsn())
    assert (taken.returncode, taken.stderr.count("\n")) == (1, 1)
    assert 'there is a node "eu1" already' in taken.stderr
    hub.take_out("eu1")
    other = pgtrail("hub", "add", "eu1", "--dsn", nemo.dsn(), dsn=hub.dsn())
    assert other.returncode == 1
    assert "is added under a new name" in other.stderr
    # Nothing is left there.
    assert nemo.connect().execute("select count(*) from pg_publication").fetchone() == (0,)


@pytest.mark.parametrize("name", ["", "EU1", "1eu", "eu-1", "e" * 31, "eu1; drop", "é"])
def test_a_name_that_is_none_is_refused(shared_hub, pgtrail, name):
    done = pgtrail("hub", "add", name, "--dsn", shared_hub.nodes["us1"].dsn(), dsn=shared_hub.dsn())
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "invalid node name" in done.stderr


def test_what_stands_in_the_way_is_said_with_its_mend_and_leaves_nothing(shared_hub, db, bare_db, pgtrail):
    for options, dsn, message in (
        (("add", "x", "--dsn", shared_hub.dsn()), shared_hub.dsn(), "it is a hub itself"),
        (("add", "x", "--dsn", bare_db.dsn()), shared_hub.dsn(), "has no pgtrail"),
        (("add", "x", "--dsn", db.dsn("admin")), shared_hub.dsn(), "may not make publications"),
        (("add", "x", "--dsn", db.dsn()), db.dsn(), "is not a hub"),
        (
            ("add", "x", "--dsn", db.dsn(), "--from-hub", "host=/nowhere"),
            shared_hub.dsn(),
            "the hub can't connect to x",
        ),
        (("add", "x", "--dsn", "host=/nowhere"), shared_hub.dsn(), "no connection"),
        (("add", "x"), shared_hub.dsn(), "say which database"),
        (("remove", "mars"), shared_hub.dsn(), 'there is no node "mars"'),
        (("init",), db.dsn("reader"), "permission denied"),
    ):
        done = pgtrail("hub", *options, dsn=dsn)
        assert done.returncode in (1, 2), (options, done.stdout, done.stderr)
        assert message in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    left = db.connect()
    assert left.execute("select count(*) from pg_publication").fetchone() == (0,)
    assert left.execute("select count(*) from pg_replication_slots where database = current_database()").fetchone() == (
        0,
    )
    assert left.execute("select count(*) from pg_roles where rolname like 'pgtrail\\_x%'").fetchone() == (0,)


def test_the_hubs_role_reads_what_is_published_and_nothing_else(shared_hub):
    node = shared_hub.nodes["eu1"]
    role = shared_hub.one("select audit_internal.slot_name('eu1')")
    connection = node.connect(role)
    connection.execute("select 1 from audit.event, audit.salt limit 1")
    for statement in (
        "select * from nemo.organization",
        "select * from audit.destination_secret",
        "insert into audit.event (category) values ('x')",
        "delete from audit.salt",
        "select audit.track('nemo.organization')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_a_password_stands_in_no_event_and_for_no_auditor(shared_hub):
    assert shared_hub.one("select count(*) from audit.event where event::text like %s", "%password=%") == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shared_hub.database.connect("auditor").execute("select subconninfo from pg_subscription")


def test_the_status_tells_of_each_node_and_of_what_is_wrong(hub, pgtrail, wait_until):
    node = hub.nodes["us1"]
    sealed(node)
    wait_until(hub.has_all)
    done, nodes = status(pgtrail, hub)
    assert done.returncode == 0, done.stderr
    assert {name: each["state"] for name, each in nodes.items()} == {"eu1": "streaming", "us1": "streaming"}
    assert nodes["us1"]["events"] == 0
    assert nodes["us1"]["last_seal"] == 1
    table = pgtrail("status", dsn=hub.dsn()).stdout
    assert "streaming" in table
    assert "eu1" in table

    # It does not follow: what waits is counted, and the doctor says so at both ends.
    hub.su.execute("alter subscription pgtrail_us1 disable")
    node.connect().execute(ORG, ["Acme", "acme"])
    wait_until(lambda: status(pgtrail, hub)[1]["us1"]["events"] == 1)
    done, nodes = status(pgtrail, hub)
    assert done.returncode == 1
    assert "its subscription is disabled" in done.stderr
    assert "its subscription is disabled" in pgtrail("doctor", dsn=hub.dsn()).stdout
    wait_until(lambda: "nobody reads its slot" in pgtrail("doctor", dsn=node.dsn()).stdout)
    hub.su.execute("alter subscription pgtrail_us1 enable")
    wait_until(hub.has_all)

    # It is not what it was.
    su = node.connect()
    with su.transaction():
        su.execute("set local session_replication_role = replica")
        su.execute("delete from audit.event where id = (select max(id) from audit.event)")
        su.execute("update audit.seal set hash = sha256('x')")
    hub.su.execute("set session_replication_role = replica")
    hub.su.execute("update audit.node set timeline = 7 where name = 'eu1'")
    hub.su.execute("update audit.node set system_identifier = 7 where name = 'us1'")
    hub.su.execute("set session_replication_role = origin")
    done, nodes = status(pgtrail, hub)
    assert done.returncode == 1
    assert any("it is on timeline 1, and was on 7" in each for each in nodes["eu1"]["problems"])
    told = "\n".join(nodes["us1"]["problems"])
    for part in ("in another cluster", "it lost what it had recorded", "its history was rewritten"):
        assert part in told


def test_a_slot_that_is_gone_is_named_and_the_node_added_again(hub, pgtrail, wait_until):
    node = hub.nodes["eu1"]
    role = hub.one("select audit_internal.slot_name('eu1')")
    hub.su.execute("alter subscription pgtrail_eu1 disable")
    su = node.connect()
    wait_until(
        lambda: su.execute("select not active from pg_replication_slots where slot_name = %s", [role]).fetchone()[0]
    )
    su.execute("select pg_drop_replication_slot(%s)", [role])
    su.execute(ORG, ["Acme", "acme"])
    done, _ = status(pgtrail, hub)
    assert done.returncode == 1
    assert "its slot is gone" in done.stderr
    assert pgtrail("hub", "remove", "eu1", "--dsn", node.dsn(), dsn=hub.dsn()).returncode == 0
    assert pgtrail("hub", "add", "eu1", "--dsn", node.dsn(), dsn=hub.dsn()).returncode == 0
    wait_until(hub.follows_all)
    assert pgtrail("verify", "--node", "eu1", dsn=hub.dsn("auditor")).returncode == 0


def test_what_is_replicated_from_no_node_stops_and_is_not_taken_for_the_hubs_own(hub, nemo, wait_until):
    """Somebody subscribes to a database by hand: its events would pass for the hub's."""
    su = nemo.connect()
    su.execute(
        "create publication pgtrail for table audit.event with (publish = 'insert', publish_via_partition_root = true)"
    )
    su.execute("select pg_create_logical_replication_slot('by_hand', 'pgoutput')")
    before = hub.one("select count(*) from audit.event where node is null")
    hub.su.execute(
        f"create subscription by_hand connection '{nemo.dsn()}' publication pgtrail with (create_slot = false, copy_data = false)"
    )
    try:
        su.execute(ORG, ["Acme", "acme"])
        wait_until(
            lambda: hub.one("select apply_error_count > 0 from pg_stat_subscription_stats where subname = 'by_hand'")
        )
        assert hub.one("select count(*) from audit.event where node is null") == before
    finally:
        hub.su.execute("alter subscription by_hand disable")
        hub.su.execute("alter subscription by_hand set (slot_name = none)")
        hub.su.execute("drop subscription by_hand")
        su.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'by_hand'")
        wait_until(
            lambda: not su.execute("select active from pg_replication_slots where slot_name = 'by_hand'").fetchone()[0]
        )
        su.execute("select pg_drop_replication_slot('by_hand')")


def test_a_node_with_a_later_version_waits_for_the_hub(shared_hub, nemo, pgtrail):
    nemo.connect().execute("alter table audit.event add column later text")
    done = pgtrail("hub", "add", "ap1", "--dsn", nemo.dsn(), dsn=shared_hub.dsn())
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "this hub has no audit.event.later (Upgrade the hub first" in done.stderr


def test_a_hub_that_was_upgraded_first_follows_nodes_that_were_not(hub, wait_until):
    hub.su.execute("alter table audit.event add column later text")
    hub.nodes["eu1"].connect().execute(ORG, ["Acme", "acme"])
    wait_until(hub.has_all)


def test_neither_a_hub_nor_a_node_loses_pgtrail_while_they_are_tied(shared_hub, pgtrail):
    for database in (shared_hub.database, shared_hub.nodes["eu1"]):
        done = pgtrail("uninstall", "--yes", "--no-export", dsn=database.dsn())
        assert done.returncode != 0
        assert "pgtrail can't be removed" in done.stderr, done.stderr


def test_history_of_months_that_the_hub_has_not_gets_their_partitions(hub, nemo, pgtrail, wait_until, request):
    su = nemo.connect()
    su.execute("set role audit_owner")
    su.execute(
        "select audit_internal.make_missing_partitions(array(select generate_series(now() - interval '3 months', now(), '1 month')))"
    )
    su.execute("reset role")
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type) "
        "select now() - n * interval '1 month', 'teams', 'team.created', 'team', 'user' from generate_series(1, 3) as n"
    )
    hub.nodes["old"] = nemo
    assert pgtrail("hub", "add", "old", "--dsn", nemo.dsn(), dsn=hub.dsn()).returncode == 0
    request.addfinalizer(lambda: hub.take_out("old"))
    wait_until(hub.has_all)
    assert hub.one("select count(*) from audit.event_default") == 0
    assert hub.one("select count(*) from audit_internal.partition_bounds() where ends <= now()") >= 3


def test_what_retention_drops_on_the_hub_leaves_each_nodes_chain_whole(hub, nemo, pgtrail, wait_until, request):
    su = nemo.connect()
    su.execute("set role audit_owner")
    su.execute(
        "select audit_internal.make_missing_partitions(array(select generate_series(now() - interval '6 months', now(), '1 month')))"
    )
    su.execute("reset role")
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type, imported_from) "
        "select now() - interval '5 months', 'teams', 'team.created', 'team', 'user', 'test' from generate_series(1, 3) as n"
    )
    sealed(nemo)
    hub.nodes["old"] = nemo
    assert pgtrail("hub", "add", "old", "--dsn", nemo.dsn(), dsn=hub.dsn()).returncode == 0
    request.addfinalizer(lambda: hub.take_out("old"))
    wait_until(hub.follows_all)
    sealed(hub.database)
    assert pgtrail("retention", "set", "60d", dsn=hub.dsn("admin")).returncode == 0
    ran = pgtrail("retention", "run", "--without-archive", dsn=hub.dsn("admin"))
    assert ran.returncode == 0, ran.stderr
    assert hub.one("select count(*) from audit.event where imported_from = 'test'") == 0
    done = pgtrail("verify", dsn=hub.dsn("auditor"))
    assert done.returncode == 0, done.stdout
    assert {line.split(" ")[0] for line in done.stdout.splitlines()} == {"removal"}


def test_what_retention_dropped_at_the_node_is_missed_by_nobody(hub, nemo, pgtrail, wait_until, request):
    su = nemo.connect()
    su.execute("set role audit_owner")
    su.execute(
        "select audit_internal.make_missing_partitions(array(select generate_series(now() - interval '6 months', now(), '1 month')))"
    )
    su.execute("reset role")
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type, imported_from) "
        "select now() - interval '5 months', 'teams', 'team.created', 'team', 'user', 'test' from generate_series(1, 3) as n"
    )
    sealed(nemo)
    assert pgtrail("retention", "set", "60d", dsn=nemo.dsn("admin")).returncode == 0
    assert pgtrail("retention", "run", "--without-archive", dsn=nemo.dsn("admin")).returncode == 0
    sealed(nemo)
    hub.nodes["old"] = nemo
    assert pgtrail("hub", "add", "old", "--dsn", nemo.dsn(), dsn=hub.dsn()).returncode == 0
    request.addfinalizer(lambda: hub.take_out("old"))
    wait_until(hub.follows_all)
    done = pgtrail("verify", "--node", "old", dsn=hub.dsn("auditor"))
    assert done.returncode == 0, done.stdout
    assert {line.split(":")[0] for line in done.stdout.splitlines()} == {"removal old"}
