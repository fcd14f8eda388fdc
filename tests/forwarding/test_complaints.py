"""What users of other forwarders complain of. (What a receiver's answers do is in test_faults, where requests may go in
test_addresses, who takes over in test_many_workers, and what is found wrong in tests/sql/test_doctor.)"""

import json
import re
import time
import urllib.request

import pytest
from standardwebhooks.webhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from pgtrail.install import migrate
from pgtrail.project_files import sql_files

pytestmark = pytest.mark.any_server


def create_team(connection, org, name):
    connection.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, name])


def test_an_update_of_pgtrail_leaves_filters_cursors_and_what_was_delivered_as_they_were(
    nemo, org, sink, add_destination, start_worker, wait_until, tmp_path
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"], actions=["team.d*"], orgs=[str(org)])
    app = nemo.connect("app")
    create_team(app, org, "one")
    app.execute("delete from nemo.team")
    worker = start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: len(sink.accepted) == 1)
    extra = tmp_path / "99_extra.sql"
    extra.write_text("select 1;")
    assert migrate(nemo.dsn(), behaviour=[*sql_files(), extra]).replaced
    create_team(app, org, "two")
    app.execute("delete from nemo.team")
    app.execute("insert into nemo.organization (name, slug) values ('Other', 'other')")
    wait_until(lambda: len(sink.accepted) == 2)
    assert {message["type"] for message in sink.accepted} == {"team.deleted"}
    assert len(set(sink.ids)) == 2
    assert worker.poll() is None


def test_a_destination_whose_cursor_is_from_another_cluster_stops_no_other_and_begins_anew_where_it_is_told(
    nemo, org, sink, another_sink, add_destination, start_worker, wait_until, pgtrail
):
    su = nemo.connect()
    restored = add_destination(su, sink, "restored", categories=["teams"])
    add_destination(su, another_sink, "other", categories=["teams"])
    # As after a restore: events of transactions that this cluster has not come to yet.
    su.execute("alter table audit.event disable trigger user")
    create_team(su, org, "before the restore")
    su.execute("update audit.event set xid = '9000000000' where category = 'teams'")
    su.execute("alter table audit.event enable trigger user")
    su.execute("update audit.cursor set system_identifier = 1 where destination_id = %s", [restored])
    start_worker(nemo.dsn("forwarder"))
    create_team(su, org, "after it")
    wait_until(lambda: another_sink.accepted)
    assert sink.accepted == []
    done = pgtrail("destination", "rebase", "restored", "--since", "1h", "--yes", dsn=nemo.dsn("admin"))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(sink.accepted) == 2)
    create_team(su, org, "later")
    wait_until(lambda: (len(sink.accepted), len(another_sink.accepted)) == (3, 2))
    assert [message["data"]["after"]["name"] for message in sink.accepted] == [
        "before the restore",
        "after it",
        "later",
    ]
    assert [message["data"]["after"]["name"] for message in another_sink.accepted] == ["after it", "later"]


def lines(_headers, body):
    return [{"data": json.loads(line)} for line in body.decode().splitlines()]


def test_a_replay_of_more_than_ten_thousand_events_is_whole_and_new_events_do_not_wait_for_it(
    nemo, org, sink, start_worker, wait_until
):
    su = nemo.connect()
    sink.parse = lines
    su.execute(
        "insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 12000) as i", [org]
    )
    su.execute(
        'select audit.add_destination(\'siem\', %s, \'ndjson\', \'{"gzip": false, "categories": ["teams"], '
        '"allow_http": true, "allowed_networks": ["127.0.0.0/8"]}\')',
        [sink.url],
    )
    sink.answer = lambda _: time.sleep(0.2) or 200
    su.execute("select audit.replay_events('siem', 'index lost', since => now() - interval '1 hour')")
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: len(sink.accepted) >= 1000)
    create_team(su, org, "new")
    new = su.execute("select max(id) from audit.event where category = 'teams'").fetchone()[0]
    wait_until(lambda: new in sink.ids, seconds=10)
    assert len(sink.accepted) < 12_001, "the replay is not through yet"
    wait_until(lambda: len(sink.accepted) >= 12_001)
    wait_until(lambda: su.execute("select finished_at is not null from audit.replay").fetchone() == (True,))
    assert len(set(sink.ids)) == len(sink.ids) == 12_001
    replayed = [event_id for event_id in sink.ids if event_id != new]
    assert replayed == sorted(replayed)
    assert su.execute("select count(*) from audit.cursor").fetchone() == (1,)


def test_a_replay_sends_what_was_chosen_and_what_the_filters_let_through(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    for name in ("one", "two", "three"):
        create_team(su, org, name)
    ids = [row[0] for row in su.execute("select id from audit.event where category = 'teams' order by id")]
    add_destination(su, sink, categories=["teams"])
    su.execute("insert into nemo.budget (org_id, name, max_spend) values (%s, 'b', 1)", [org])
    everything = [row[0] for row in su.execute("select id from audit.event")]
    su.execute(
        "select audit.replay_events('siem', 'x', event_ids => %s)",
        [[event_id for event_id in everything if event_id != ids[1]]],
    )
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute("select finished_at is not null from audit.replay").fetchone() == (True,))
    assert sorted(sink.ids) == [ids[0], ids[2]]


@pytest.mark.parametrize("library", [Webhook, SvixWebhook])
def test_a_secret_is_rotated_without_a_moment_in_which_a_receiver_must_refuse(
    nemo, org, sink, add_destination, start_worker, wait_until, library
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    old = sink.secret
    new = su.execute("select audit.rotate_secret('siem')").fetchone()[0]

    def with_both(headers, body):
        library(old).verify(body, headers)
        return [library(new).verify(body, headers)]

    def with_the_new_one_alone(headers, body):
        with pytest.raises(Exception, match="signature"):
            library(old).verify(body, headers)
        return [library(new).verify(body, headers)]

    sink.parse = with_both
    start_worker(nemo.dsn("forwarder"))
    create_team(su, org, "during the overlap")
    wait_until(lambda: len(sink.accepted) == 1)
    su.execute("update audit.destination_secret set previous_until = now()")
    time.sleep(1.5)
    sink.parse = with_the_new_one_alone
    create_team(su, org, "after it")
    wait_until(lambda: len(sink.accepted) == 2)


def test_a_changed_setting_of_a_destination_is_an_event_and_no_secret_is_in_it(nemo):
    su = nemo.connect()
    secret = su.execute("select audit.add_destination('siem', 'https://x.example')").fetchone()[0]
    for statement in (
        "select audit.rotate_secret('siem')",
        "select audit.pause_destination('siem')",
        "select audit.pause_destination('siem', false)",
        "select audit.set_token('siem', 'T0KEN')",
        "select audit.replay_events('siem', 'because', event_ids => '{1}')",
        "update audit.destination set url = 'https://y.example'",
        "select audit.remove_destination('siem', at_once => true)",
    ):
        su.execute(statement)
    events = su.execute(
        "select action, event::text from audit.event where category = 'audit' and resource_type <> all (%s) order by id",
        [["tracked_table", "rule"]],
    ).fetchall()
    assert [action.removeprefix("audit.") for action, _ in events] == [
        "destination_added", "destination_secret_set", "destination_secret_rotated", "destination_paused",
        "destination_resumed", "destination_secret_set", "replay_requested", "destination_changed", "destination_removed",
        "destination_secret_removed", "destination_secret_removed", "replay_removed",
    ]  # fmt: skip
    assert not any(secret in text or "T0KEN" in text for _, text in events)


def test_metrics_and_health_are_served_and_show_a_destination_that_stands_still(
    nemo, org, sink, add_destination, start_worker, wait_until, tmp_path
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    sink.answer = lambda _: 401
    create_team(su, org, "one")
    start_worker(nemo.dsn("forwarder"), "--metrics-port", "0")
    log = tmp_path / "worker.log"
    found = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))

    def get(path):
        with urllib.request.urlopen(found[0] + path, timeout=5) as answer:  # noqa: S310 - our own port
            return answer.read().decode()

    wait_until(lambda: 'pgtrail_requests_total{destination="siem",outcome="attention"} 1.0' in get("/metrics"))
    wait_until(lambda: 'pgtrail_destination_state{destination="siem",state="needs_attention"} 1.0' in get("/metrics"))
    text = get("/metrics")
    assert 'pgtrail_lag_events{destination="siem"} 1.0' in text
    assert float(re.search(r'pgtrail_lag_seconds\{destination="siem"\} (\S+)', text)[1]) > 0
    assert get("/healthz") == '{"healthy": true}\n'
