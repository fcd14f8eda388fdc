"""A node can't rewrite what the hub has: whoever does it, there or here, is named."""

import json

import pytest
from tests import verifying
from tests.conftest import wait
from tests.hub.conftest import sealed
from tests.verifying import node_problems

pytestmark = pytest.mark.any_server

UPDATED = (
    "update audit.event set action = 'plan.kept' where id = (select max(id) from audit.event where category = 'plan')"
)


@pytest.fixture
def written(hub):
    """An organization at each node whose plan changed three times, in three seals."""
    fill(hub)
    return hub


def fill(hub):
    for node in hub.nodes.values():
        connection = node.connect()
        connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
        for tier in ("tier_2", "tier_3", "pay_as_you_go"):
            connection.execute("update nemo.organization set plan_tier = %s", [tier])
            sealed(node)
    wait(hub.has_all)


def problems(pgtrail, hub, *options):
    done = pgtrail("verify", "--json", *options, dsn=hub.dsn())
    found = [each for each in map(json.loads, done.stdout.splitlines()) if "problem" in each]
    assert done.returncode == (1 if found else 0), done.stderr
    return [(each["subject"], each["problem"]) for each in found]


def rewrite(node, first):
    """A superuser changes an event and makes the chain anew from a seal on, as audit.seal() would have."""
    su = node.connect()
    with su.transaction():
        su.execute("set local session_replication_role = replica")
        su.execute(UPDATED)
        su.execute("delete from audit.seal_leaves where number >= %s", [first])
        su.execute("create temp table was on commit drop as select * from audit.seal where number >= %s", [first])
        su.execute("delete from audit.seal where number >= %s", [first])
        for (number,) in su.execute("select number from was order by number").fetchall():
            su.execute(
                """
                do $$
                declare
                    seal audit.seal;
                    ids bigint[];
                    leaves bytea;
                    secret bytea := audit_internal.random_bytes();
                begin
                    select * into seal from was where number = %(number)s;
                    select array_agg(event_id order by event_id), string_agg(leaf, '' order by event_id)
                    into ids, leaves
                    from audit_internal.event_leaves(seal, secret);
                    seal.root := audit_internal.merkle_root(leaves);
                    seal.previous := coalesce((select before.hash from audit.seal as before where before.number = %(number)s - 1), seal.previous);
                    seal.hash := audit_internal.seal_hash(seal);
                    insert into audit.seal values (seal.*);
                    insert into audit.seal_leaves values (seal.number, ids, leaves, secret);
                    update audit.seal_head set hash = seal.hash;
                end
                $$
                """.replace("%(number)s", str(number))
            )


def test_a_node_that_makes_its_chain_anew_is_named(written, pgtrail, wait_until):
    node = written.nodes["eu1"]
    last = node.connect().execute("select max(number) from audit.seal").fetchone()[0]
    rewrite(node, last)
    assert pgtrail("verify", dsn=node.dsn("auditor")).returncode == 0, "by itself it looks whole"
    wait_until(lambda: written.one("select count(*) > %s from audit.node_seal where node = 'eu1'", last))
    found = problems(pgtrail, written)
    assert {subject for subject, _ in found} == {"node eu1", f"node eu1 seal {last}"}
    assert all("history was rewritten" in problem for _, problem in found)
    # By itself, as an event of the hub's own, which goes to the SIEM; and once.
    told = written.rows("select resource_id, node, after from audit.event where action = 'audit.node_rewritten'")
    assert told == [("eu1", None, {"seal": last})]
    assert "history was rewritten" in pgtrail("doctor", dsn=written.dsn()).stdout
    assert "history was rewritten" in pgtrail("status", dsn=written.dsn()).stderr
    assert node_problems(written.su, "us1") == []


def test_a_node_that_changes_its_chain_in_place_is_named_at_once(written, pgtrail, wait_until):
    node = written.nodes["eu1"]
    su = node.connect()
    with su.transaction():
        su.execute("set local session_replication_role = replica")
        su.execute(UPDATED)
        su.execute("update audit.seal set hash = sha256('x') where number = (select max(number) from audit.seal)")
    found = problems(pgtrail, written)
    assert [subject for subject, _ in found] == ["node eu1"]
    assert "differs there now" in found[0][1]
    # Its next seal follows another one than the hub has.
    su.execute("update audit.seal_head set hash = sha256('x')")
    su.execute("update nemo.organization set name = 'Other'")
    sealed(node)
    wait_until(lambda: written.one("select count(*) = 1 from audit.event where action = 'audit.node_rewritten'"))


def test_a_change_at_the_node_before_it_was_sealed_shows_here(hub, pgtrail, wait_until):
    """The event left when it was committed; what is sealed afterwards is another one."""
    node = hub.nodes["eu1"]
    su = node.connect()
    su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    su.execute("update nemo.organization set plan_tier = 'tier_2'")
    wait_until(hub.has_all)
    with su.transaction():
        su.execute("set local session_replication_role = replica")
        su.execute(UPDATED)
        su.execute("delete from audit.event where action = 'organization.created'")
    sealed(node)
    wait_until(lambda: hub.one("select exists (select from audit.node_seal where node = 'eu1')"))
    texts = [problem for subject, problem in problems(pgtrail, hub) if subject.startswith("event eu1:")]
    assert any("it was changed" in text for text in texts)
    assert any("it was inserted after its batch had been sealed" in text for text in texts)


@pytest.fixture(scope="module")
def kept(shared_hub):
    """The same for tests that take back what they do; the hub has sealed it."""
    fill(shared_hub)
    sealed(shared_hub.database)
    return shared_hub


@pytest.fixture
def meddle(kept):
    """What every check says after a superuser did something to the hub: its own, and the nodes'."""

    def problems(statement):
        with kept.su.transaction(force_rollback=True):
            kept.su.execute("set local session_replication_role = replica")
            kept.su.execute(statement)
            own = [problem for number, _, problem in verifying.problems(kept.su) if number is not None]
            nodes = [
                (node, event, f"{subject} {problem}" if subject else problem)
                for node in ("eu1", "us1")
                for subject, event, problem in node_problems(kept.su, node)
            ]
        return own, nodes

    assert problems("select 1") == ([], [])
    return problems


@pytest.mark.parametrize(
    ("meddling", "problem"),
    [
        ("update audit.event set action = 'plan.kept' where node = 'us1' and category = 'plan'", "it was changed"),
        ("delete from audit.event where node = 'us1' and category = 'plan'", "it was deleted"),
        ("update audit.event set node = 'eu1' where node = 'us1' and category = 'plan'", "it was deleted"),
        (
            "update audit.event set node_id = node_id + 5000000 where node = 'us1' and category = 'plan'",
            "it was deleted",
        ),
    ],
)
def test_what_is_changed_on_the_hub_shows_in_the_nodes_chain_and_in_its_own(meddle, meddling, problem):
    own, nodes = meddle(meddling)
    assert own
    assert any(node == "us1" and problem in text for node, event_id, text in nodes if event_id), nodes


@pytest.mark.parametrize(
    ("meddling", "problem"),
    [
        ("delete from audit.node_seal where node = 'us1' and number = 2", "seal 2 it is missing"),
        ("update audit.node_seal set root = sha256('x') where node = 'us1' and number = 2", "its hash differs"),
        (
            "update audit.node_seal_leaves set leaves = sha256('x') where node = 'us1' and number = 2",
            "a different root",
        ),
        ("delete from audit.node_salt where node = 'us1'", "it was changed"),
        (
            "insert into audit.node_dropped values ('us1', 'audit.event_2020_01', false, '{[1,9999)}')",
            "the event of its removal",
        ),
        (
            (
                # (As who writes, not as who replicates.)
                "set local session_replication_role = origin; "
                "insert into audit.event (occurred_at, category, action, resource_type, actor_type, node, node_id, node_xid, resource_hash) "
                "select occurred_at, category, action, resource_type, actor_type, node, node_id, node_xid, resource_hash "
                "from audit.event where node = 'us1' and category = 'plan'"
            ),
            "there are two of them",
        ),
    ],
)
def test_a_nodes_chain_that_is_changed_on_the_hub_is_named(meddle, meddling, problem):
    _, nodes = meddle(meddling)
    assert {node for node, _, _ in nodes} == {"us1"}
    assert any(problem in text for _, _, text in nodes), nodes


def test_what_arrived_can_not_be_changed_here_by_anybody_else(kept):
    for statement in (
        "update audit.event set action = 'x.y' where node = 'us1'",
        "delete from audit.node_seal",
        "update audit.node_seal_leaves set leaves = ''",
        "truncate audit.node_seal cascade",
    ):
        with pytest.raises(Exception, match="append-only"):
            kept.su.execute(statement)


def test_a_person_is_erased_on_the_hub_and_every_chain_holds(hub, pgtrail, wait_until):
    for node in hub.nodes.values():
        connection = node.connect()
        with connection.transaction():
            connection.execute("select audit.set_actor('ann@acme.com', 'Ann Example', 'user')")
            connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
            connection.execute(
                "insert into nemo.profile (org_id, email, full_name) select id, 'ann@acme.com', 'Ann Example' from nemo.organization"
            )
        connection.execute("update nemo.profile set timezone = 'Europe/Vienna'")
        sealed(node)
    wait_until(hub.has_all)
    sealed(hub.database)
    assert "profile" in hub.one("select personal from audit.seal order by number desc limit 1")
    hub.su.execute("select audit.erase_actor('ann@acme.com', 'ticket 7')")
    assert hub.one("select count(*) from audit.event where event::text like '%%Ann Example%%'") == 0
    assert hub.one("select count(*) from audit.node_salt where id = 'ann@acme.com'") == 0
    assert problems(pgtrail, hub) == []
    # Not yet sealed there when it is erased here: the hub's own seals tell of it.
    node = hub.nodes["eu1"]
    connection = node.connect()
    with connection.transaction():
        connection.execute("select audit.set_actor('bob@acme.com', 'Bob Example', 'user')")
        connection.execute("update nemo.organization set name = 'Other'")
    wait_until(hub.has_all)
    hub.su.execute("select audit.erase_actor('bob@acme.com', 'ticket 8')")
    sealed(node)
    sealed(hub.database)
    wait_until(hub.has_all)
    assert problems(pgtrail, hub) == []


def test_a_person_erased_at_the_node_before_it_was_added_leaves_its_chain_whole(
    hub, nemo, pgtrail, wait_until, request
):
    connection = nemo.connect()
    with connection.transaction():
        connection.execute("select audit.set_actor('ann@acme.com', 'Ann Example', 'user')")
        connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    sealed(nemo)
    connection.execute("select audit.erase_actor('ann@acme.com', 'ticket 7')")
    sealed(nemo)
    hub.nodes["ap1"] = nemo
    assert pgtrail("hub", "add", "ap1", "--dsn", nemo.dsn(), dsn=hub.dsn()).returncode == 0
    request.addfinalizer(lambda: hub.take_out("ap1"))
    wait_until(hub.follows_all)
    assert problems(pgtrail, hub, "--node", "ap1") == []
