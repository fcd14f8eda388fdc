"""The worker seals and files, and what destinations hear of seals, exports and their own removal."""

import json
import signal
import time

import pytest
from tests import command
from tests.verifying import problems

# What is decided in SQL is tested on each server by tests/sql/test_seals.py.
pytestmark = pytest.mark.any_server


def create_team(connection, org, name):
    connection.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, name])


def unsealed(connection):
    return connection.execute("select audit_internal.count_unsealed()").fetchone()[0]


def test_the_worker_seals_also_without_destinations(nemo, org, start_worker, wait_until):
    su = nemo.connect()
    start_worker(nemo.dsn("forwarder"), "--seal-every", "0.2")
    for number in range(3):
        create_team(nemo.connect("app"), org, f"team {number}")
        wait_until(lambda: unsealed(su) == 0)
    assert su.execute("select count(*) from audit.seal").fetchone()[0] >= 3
    assert problems(su) == []


def test_it_seals_at_once_when_many_wait(nemo, org, start_worker, wait_until):
    su = nemo.connect()
    su.execute("select audit.seal()")
    start_worker(nemo.dsn("forwarder"), "--seal-every", "3600", "--seal-events", "10")
    create_team(su, org, "few")
    time.sleep(2.5)
    assert unsealed(su) == 1
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || n from generate_series(1, 10) as n", [org])
    wait_until(lambda: unsealed(su) == 0)


def test_it_files_events_by_actor_and_action(nemo, org, start_worker, wait_until):
    su = nemo.connect()
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || n from generate_series(1, 1000) as n", [org])
    assert su.execute("select count(*) from audit.search_index").fetchone() == (0,)
    start_worker(nemo.dsn("forwarder"))
    indexed = "select sum(cardinality(ids)) from audit.search_index where action = 'team.created'"
    wait_until(lambda: su.execute(indexed).fetchone() == (1000,))


def test_several_workers_that_are_killed_under_load_leave_one_chain_that_holds(nemo, org, start_worker, wait_until):
    su = nemo.connect()
    app = nemo.connect("app")
    for turn in range(6):
        workers = [start_worker(nemo.dsn("forwarder"), "--seal-every", "0.1", "--seal-events", "20") for _ in range(2)]
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            create_team(app, org, f"team {turn}")
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
    start_worker(nemo.dsn("forwarder"), "--seal-every", "0.1")
    wait_until(lambda: unsealed(su) == 0)
    ids = "select unnest(ids) from audit.seal_leaves"
    events, sealed, once = su.execute(
        f"select (select count(*) from audit.event), (select count(*) from ({ids}) as i), (select count(distinct i) from ({ids}) as i (i))"
    ).fetchone()
    assert events == sealed == once > 100
    assert problems(su) == []


@pytest.mark.parametrize("format", ["webhook", "ndjson", "cloudevents", "elastic", "datadog"])
def test_what_a_siem_receives_of_the_seals_is_an_anchor(
    nemo, org, sink, add_destination, start_worker, wait_until, tmp_path, format
):
    su = nemo.connect()
    bodies = []
    sink.parse = lambda _, body: bodies.append(body.decode()) or []
    extra = {"token": "T"} if format in ("elastic", "datadog") else {}
    add_destination(su, sink, actions=["no.thing"], seals=True, format=format, gzip=False, **extra)
    sink.answer = lambda _: 202 if format == "datadog" else 200
    start_worker(nemo.dsn("forwarder"), "--seal-every", "0.2")
    for number in range(3):
        create_team(su, org, f"team {number}")
        wait_until(lambda: unsealed(su) <= 1)
    wait_until(lambda: "".join(bodies).count("previous") >= 2)
    anchor = tmp_path / "anchor"
    anchor.write_text("\n".join(bodies))

    def verify():
        return command.run("verify", "--anchor", anchor, "--dsn", nemo.dsn("auditor"))

    done = verify()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with su.transaction():
        su.execute("set local session_replication_role = replica")
        su.execute("update audit.seal set root = sha256(root)")
        su.execute("update audit.seal set hash = audit_internal.seal_hash(seal)")
    assert verify().returncode == 1
    assert "it was rewritten" in verify().stdout


def test_a_destination_hears_of_its_own_removal_last_and_then_it_is_gone(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    removed = add_destination(su, sink, categories=["teams"], max_in_flight=1)
    for number in range(5):
        create_team(su, org, f"team {number}")
    su.execute("select audit.remove_destination('siem')")
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute("select 1 from audit.destination").fetchone() is None)
    types = [message["type"] for message in sink.accepted]
    assert types == ["team.created"] * 5 + ["audit.destination_removed"]
    assert sink.accepted[-1]["data"]["resource"]["id"] == str(removed)
    rows = su.execute("select action from audit.event where resource_type = 'destination' order by id").fetchall()
    assert rows == [("audit.destination_added",), ("audit.destination_removed",), ("audit.destination_gone",)]


def test_a_destination_that_is_down_is_removed_when_it_has_heard_of_it(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    up = False
    sink.answer = lambda _: 204 if up else 503
    start_worker(nemo.dsn("forwarder"))
    create_team(su, org, "one")
    su.execute("select audit.remove_destination('siem')")
    wait_until(lambda: su.execute("select 1 from audit.cursor where failures > 0").fetchone())
    assert su.execute("select state from audit.destination_status").fetchone() == ("retrying",)
    up = True
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: su.execute("select 1 from audit.destination").fetchone() is None)
    assert [message["type"] for message in sink.accepted] == ["team.created", "audit.destination_removed"]


def test_a_paused_destination_is_not_removed_behind_its_back(nemo, sink, add_destination):
    su = nemo.connect()
    add_destination(su, sink)
    su.execute("select audit.pause_destination('siem')")
    with pytest.raises(Exception, match="would not receive the event of its removal") as raised:
        su.execute("select audit.remove_destination('siem')")
    assert raised.value.sqlstate == "PT028"
    su.execute("select audit.remove_destination('siem', at_once => true)")
    assert su.execute("select count(*) from audit.destination").fetchone() == (0,)


def test_a_destination_does_not_hear_of_the_removal_of_another(
    nemo, sink, another_sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, another_sink, "other", categories=["teams"])
    add_destination(su, sink, "siem", categories=["teams"])
    su.execute("select audit.remove_destination('siem')")
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute("select 1 from audit.destination where name = 'siem'").fetchone() is None)
    assert [json.loads(body)["type"] for _, body in sink.requests] == ["audit.destination_removed"]
    assert another_sink.requests == []
