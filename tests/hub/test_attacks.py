"""What a node's superuser may try so that the hub does not tell: each is named."""

import json

import pytest
from tests.hub.conftest import sealed
from tests.verifying import node_problems

pytestmark = pytest.mark.any_server

AS_SUPERUSER = "set local session_replication_role = replica"


@pytest.fixture
def recorded(hub, wait_until):
    """An organization at eu1, sealed and here; then a change of its plan, which is here and not sealed yet."""
    su = hub.nodes["eu1"].connect()
    su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    sealed(hub.nodes["eu1"])
    with su.transaction():
        su.execute("select audit.set_actor('ann', 'ann@acme.com', 'user')")
        su.execute("update nemo.organization set plan_tier = 'tier_2'")
    su.execute("update nemo.organization set name = 'Other'")
    wait_until(hub.has_all)
    return hub


def meddle(hub, *statements):
    """A superuser of the node does something that no trigger of pgtrail's sees; the node seals."""
    su = hub.nodes["eu1"].connect()
    with su.transaction():
        su.execute(AS_SUPERUSER)
        for statement in statements:
            su.execute(statement)


def told(hub, pgtrail, wait_until):
    sealed(hub.nodes["eu1"])
    last = "select coalesce(max(number), 0) from audit."
    wait_until(
        lambda: (
            hub.one(f"{last}node_seal where node = 'eu1'") >= hub.there("eu1", f"{last}seal")
            or not hub.there("eu1", "select exists (select from pg_publication_tables where tablename = 'seal')")
        )
    )
    done = pgtrail("verify", "--json", dsn=hub.dsn())
    return [
        (each["subject"], each["problem"]) for each in map(json.loads, done.stdout.splitlines()) if "problem" in each
    ]


PLAN = "(select id from audit.event where category = 'plan')"


def test_an_invented_erasure_excuses_no_event_that_was_removed(recorded, pgtrail, wait_until):
    number = recorded.there("eu1", PLAN)
    meddle(
        recorded,
        f"delete from audit.event where id = {number}",
        "alter table audit.erased_part alter commitment drop not null, drop constraint if exists digests_are_sha256",
        "alter table audit.erased_part drop constraint erased_part_erasure_id_fkey",
        f"insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted) values ({number}, 'actor', 1, null, sha256('x'))",
    )
    assert any(f"eu1:{number}" in subject for subject, _ in told(recorded, pgtrail, wait_until))


def test_an_invented_erasure_excuses_no_event_that_was_changed(recorded, pgtrail, wait_until):
    number = recorded.there("eu1", PLAN)
    redacted = recorded.one(
        "select encode(audit_internal.commitment(null, audit_internal.actor_part(event)), 'hex') from audit.event where node_id = %s and node = 'eu1'",
        number,
    )
    meddle(recorded, f"update audit.event set actor_label = 'bob@acme.com' where id = {number}")
    sealed(recorded.nodes["eu1"])
    meddle(
        recorded,
        "alter table audit.erased_part drop constraint erased_part_erasure_id_fkey",
        "insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted) "
        "select event.id, 'actor', 1, audit_internal.commitment(salt.salt, audit_internal.actor_part(event)), "
        f"decode('{redacted}', 'hex') from audit.event join audit.salt on salt.id = event.actor_id where event.id = {number}",
    )
    wait_until(lambda: recorded.one("select exists (select from audit.node_erased_part)"))
    assert (f"event eu1:{number}", "it was changed") in [
        (subject, problem.split(" (")[0]) for subject, problem in told(recorded, pgtrail, wait_until)
    ]


def test_a_forged_epoch_leaves_no_event_out_of_the_chain(recorded, pgtrail, wait_until):
    number = recorded.there("eu1", PLAN)
    meddle(
        recorded,
        f"delete from audit.event where id = {number}",
        f"update audit.seal_head set epoch = {number}, above_id = {number}, from_snapshot = '1:1:', system_identifier = 7",
    )
    meddle(recorded, "update audit.seal_head set system_identifier = audit_internal.system_identifier()")
    assert any(f"eu1:{number}" in subject for subject, _ in told(recorded, pgtrail, wait_until))


def test_an_event_inserted_where_no_seal_looks_is_named(recorded, pgtrail, wait_until):
    meddle(
        recorded,
        "insert into audit.event (id, xid, category, action, resource_type, actor_type) values (-5, '3', 'plan', 'plan.changed', 'organization', 'user')",
    )
    wait_until(lambda: recorded.one("select exists (select from audit.event where node_id = -5)"))
    assert any("eu1:-5" in subject for subject, _ in told(recorded, pgtrail, wait_until))


def test_invented_leaves_cover_no_event(recorded, pgtrail, wait_until):
    meddle(
        recorded,
        "insert into audit.event (id, xid, category, action, resource_type, actor_type) values (-5, '3', 'plan', 'plan.changed', 'organization', 'user')",
        "alter table audit.seal_leaves drop constraint seal_leaves_pkey",
        "insert into audit.seal_leaves select number, -5 || ids[2:], leaves, secret from audit.seal_leaves where number = 1",
        "insert into audit.seal_leaves values (1, '{-5}', sha256('x'), sha256('y'))",
    )
    wait_until(
        lambda: recorded.one("select count(*) >= 3 from audit.node_seal_leaves where node = 'eu1' and number = 1")
    )
    assert any("eu1:-5" in subject for subject, _ in told(recorded, pgtrail, wait_until))


def test_a_chain_whose_seals_are_withheld_is_named(recorded, pgtrail, wait_until):
    meddle(recorded, "alter publication pgtrail drop table audit.seal, audit.seal_leaves")
    problems = told(recorded, pgtrail, wait_until)
    assert any(subject == "node eu1" and "its publication was changed" in problem for subject, problem in problems)
    assert "its publication was changed" in pgtrail("status", dsn=recorded.dsn()).stderr


def test_a_chain_that_stops_is_named_by_the_hub_alone_after_a_day(recorded):
    assert node_problems(recorded.su, "eu1") == []
    with recorded.su.transaction():
        recorded.su.execute(AS_SUPERUSER)
        recorded.su.execute("update audit.node set added_at = now() - interval '2 days'")
        # (It may be another month, and so an insert.)
        recorded.su.execute("alter table audit.event disable trigger receive")
        recorded.su.execute("update audit.event set occurred_at = occurred_at - interval '25 hours' where node = 'eu1'")
        recorded.su.execute("alter table audit.event enable replica trigger receive")
    assert any("it has not arrived" in problem for _, _, problem in node_problems(recorded.su, "eu1"))


def test_an_invented_removal_excuses_nothing(recorded, pgtrail, wait_until):
    number = recorded.there("eu1", PLAN)
    recorded.take_out("eu1")
    meddle(
        recorded,
        "insert into audit.dropped_partition (name, begins, ends, events, ids, event_id) values "
        "('audit.event_2020_01', '2020-01-01Z', '2020-02-01Z', 1, '{[1,100000)}', 1), "
        "('zzz', '2020-01-01Z', '2020-02-01Z', 1, '{[1,100000)}', 1)",
    )
    assert pgtrail("hub", "add", "eu1", "--dsn", recorded.nodes["eu1"].dsn(), dsn=recorded.dsn()).returncode == 0
    wait_until(recorded.follows_all)
    problems = node_problems(recorded.su, "eu1")
    assert {subject for subject, _, problem in problems if "removal" in problem} == {
        "node eu1 partition audit.event_2020_01",
        "node eu1 partition zzz",
    }
    assert number


def test_settings_of_the_database_name_no_node(hub, wait_until):
    name = hub.database.name
    for setting, value in (("node", "us1"), ("copies_to", "0")):
        hub.su.execute(f"alter database {name} set pgtrail.{setting} = '{value}'")
    hub.su.execute("alter subscription pgtrail_eu1 disable")
    hub.su.execute("alter subscription pgtrail_eu1 enable")
    hub.nodes["eu1"].connect().execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    wait_until(hub.has_all)
    assert hub.rows("select node from audit.event where resource_label = 'Acme'") == [("eu1",)]


def test_who_was_erased_here_stays_so_when_the_node_is_copied_again(recorded, pgtrail, wait_until):
    sealed(recorded.nodes["eu1"])
    wait_until(recorded.has_all)
    recorded.su.execute("select audit.erase_actor('ann', 'ticket 7')")
    assert recorded.one("select count(*) from audit.node_salt where id = 'ann'") == 0
    recorded.take_out("eu1")
    assert pgtrail("hub", "add", "eu1", "--dsn", recorded.nodes["eu1"].dsn(), dsn=recorded.dsn()).returncode == 0
    wait_until(recorded.follows_all)
    assert recorded.one("select count(*) from audit.node_salt where id = 'ann'") == 0
    assert recorded.one("select count(*) from audit.event where event::text like '%%ann@acme.com%%'") == 0
    assert pgtrail("verify", "--node", "eu1", dsn=recorded.dsn()).returncode == 0


def test_a_person_who_was_erased_at_the_node_and_came_back_breaks_no_chain(recorded, pgtrail, wait_until):
    node = recorded.nodes["eu1"]
    sealed(node)
    su = node.connect()
    su.execute("select audit.erase_actor('ann', 'ticket 7')")
    with su.transaction():
        su.execute("select audit.set_actor('ann', 'ann@acme.com', 'user')")
        su.execute("update nemo.organization set plan_tier = 'tier_3'")
    sealed(node)
    wait_until(recorded.has_all)
    assert recorded.one("select count(*) from audit.node_salt where id = 'ann' and kind = 'actor'") == 2
    assert pgtrail("verify", "--node", "eu1", dsn=recorded.dsn()).returncode == 0


def test_a_hub_that_was_restored_says_so(hub, pgtrail):
    with hub.su.transaction():
        hub.su.execute(AS_SUPERUSER)
        hub.su.execute("update audit.node set hub_timeline = 7 where name = 'us1'")
    assert "this hub was restored or promoted" in pgtrail("status", dsn=hub.dsn()).stderr
    assert "this hub was restored or promoted" in " ".join(pgtrail("doctor", dsn=hub.dsn()).stdout.split())


def test_a_password_that_did_not_serve_is_in_no_message_and_no_log(hub, db, pgtrail):
    done = pgtrail("hub", "add", "x", "--dsn", db.dsn(), "--from-hub", "host=/nowhere", dsn=hub.dsn())
    assert done.returncode == 1
    log = hub.database.server.log_file.read_text()
    assert "password=" not in done.stderr + log.replace("SCRAM-SHA-256", "")
