"""The worker as a process of its own, against real receivers."""

import signal
import time

import pytest

pytestmark = pytest.mark.any_server


def create_team(connection, org, name):
    connection.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, name])


def test_an_event_arrives_signed_soon_after_its_commit(nemo, org, sink, add_destination, start_worker, wait_until):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute("select 1 from audit.cursor where lease_holder is not null").fetchone())
    create_team(nemo.connect("app"), org, "Search")
    wait_until(lambda: sink.accepted)
    (message,) = sink.accepted
    assert message["type"] == "team.created"
    assert message["data"]["after"]["name"] == "Search"
    assert message["data"]["connection"]["role"] == "app"


def test_without_notify_polling_finds_everything(nemo, org, sink, add_destination, start_worker, wait_until):
    su = nemo.connect()
    su.execute(f"alter database {nemo.name} set pgtrail.notify = off")
    add_destination(su, sink, categories=["teams"])
    start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    for number in range(3):
        create_team(app, org, f"team {number}")
    wait_until(lambda: len(sink.accepted) == 3)


def test_a_failing_receiver_gets_the_same_event_again_and_nothing_overtakes_it(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"], max_in_flight=1)
    sink.answer = lambda number: 500 if number == 1 else 204
    start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    for number in range(3):
        create_team(app, org, f"team {number}")
    wait_until(lambda: len(sink.requests) >= 2)
    status = wait_until(
        lambda: su.execute(
            "select last_error, failures, retry_at - now() from audit.destination_status where failures > 0"
        ).fetchone()
    )
    assert status[0] == "the receiver responded with HTTP 500"
    assert status[2].total_seconds() <= 6
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: len(sink.accepted) == 3)
    assert sink.ids == sorted(sink.ids)
    assert [webhook_id for webhook_id, _ in sink.requests].count(f"evt_{sink.ids[1]}") == 2
    assert sink.requests[1] == sink.requests[2], "the same bytes"


def test_a_dead_destination_holds_up_no_other(nemo, org, sink, another_sink, add_destination, start_worker, wait_until):
    su = nemo.connect()
    add_destination(su, sink, "dead", categories=["teams"])
    sink.close()
    add_destination(su, another_sink, "good", categories=["teams"])
    start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    for number in range(10):
        create_team(app, org, f"team {number}")
    wait_until(lambda: len(another_sink.accepted) == 10)
    status = "select events_behind, state from audit.destination_status where name = 'dead'"
    wait_until(lambda: su.execute(status).fetchone() == (10, "retrying"))


def test_a_paused_destination_gets_nothing_and_goes_on_where_it_was(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    su.execute("select audit.pause_destination('siem')")
    worker = start_worker(nemo.dsn("forwarder"))
    app = nemo.connect("app")
    create_team(app, org, "while paused")
    add_destination(su, sink_two := sink, "probe", categories=["teams"])
    create_team(app, org, "seen by the probe")
    wait_until(lambda: len(sink_two.requests) >= 1)
    assert su.execute("select events_behind from audit.destination_status where name = 'siem'").fetchone() == (2,)
    assert worker.poll() is None
    lease = "select lease_holder from audit.cursor where destination_id = 1"
    wait_until(lambda: su.execute(lease).fetchone() == (None,))
    secret = su.execute(
        "select secret from audit.destination_secret join audit.destination on id = destination_id where name = 'siem'"
    ).fetchone()[0]
    su.execute("select audit.remove_destination('probe')")
    sink.accepted.clear()
    sink.secret = secret
    su.execute("select audit.pause_destination('siem', false)")
    wait_until(lambda: len(sink.accepted) == 2)


def test_a_pause_in_the_middle_of_a_batch_sends_nothing_twice(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    su.execute("insert into nemo.team (org_id, name) select %s, 'team ' || i from generate_series(1, 300) as i", [org])
    sink.answer = lambda _: time.sleep(0.01) or 204
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: len(sink.accepted) > 20)
    su.execute("select audit.pause_destination('siem')")
    wait_until(lambda: su.execute("select lease_holder from audit.cursor").fetchone() == (None,))
    assert len(sink.accepted) < 300
    su.execute("select audit.pause_destination('siem', false)")
    wait_until(lambda: len(sink.accepted) >= 300)
    assert len(set(sink.ids)) == len(sink.ids) == 300


def test_a_statement_that_holds_up_one_destination_holds_up_no_other(
    nemo, org, sink, another_sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    held = add_destination(su, sink, "held", categories=["teams"])
    add_destination(su, another_sink, "free", categories=["teams"])
    holder = nemo.connect(autocommit=False)
    holder.execute("select from audit.cursor where destination_id = %s for update", [held])
    worker = start_worker(nemo.dsn("forwarder"))
    create_team(nemo.connect("app"), org, "Search")
    wait_until(lambda: another_sink.accepted)
    assert sink.accepted == []
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, "nor the end of the worker"
    holder.rollback()


def test_the_worker_makes_the_months_ahead(nemo, start_worker, wait_until):
    su = nemo.connect()
    months = "select count(*) from audit_internal.partition_bounds()"
    made = su.execute(months).fetchone()
    su.execute(
        "do $$ begin execute (select format('drop table %s', partition) from audit_internal.partition_bounds() order by begins desc limit 1); end $$"
    )
    start_worker(nemo.dsn("forwarder"))
    wait_until(lambda: su.execute(months).fetchone() == made)


def test_sigterm_ends_it_with_status_0_and_gives_the_lease_back(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    worker = start_worker(nemo.dsn("forwarder"))
    create_team(nemo.connect("app"), org, "Search")
    wait_until(lambda: sink.accepted)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert su.execute("select lease_holder from audit.cursor").fetchone() == (None,)
    assert su.execute("select events_behind from audit.destination_status").fetchone() == (0,)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_it_survives_a_restart_of_postgres(nemo, org, sink, add_destination, start_worker, wait_until, how):
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    worker = start_worker(nemo.dsn("forwarder"))
    create_team(su, org, "before")
    wait_until(lambda: sink.accepted)
    nemo.server.restart(how)
    create_team(nemo.connect("app"), org, "after")
    wait_until(lambda: len(set(sink.ids)) == 2)
    assert worker.poll() is None


def test_no_secret_is_in_a_body_or_in_the_workers_log(
    nemo, org, sink, add_destination, start_worker, wait_until, tmp_path
):
    su = nemo.connect()
    add_destination(su, sink, max_in_flight=1)
    sink.answer = lambda number: 500 if number == 0 else 204
    app = nemo.connect("app")
    app.execute(
        "insert into nemo.api_key (org_id, name, key_prefix, key_hash) values (%s, 'ci', 'sk-1', 'TOP-SECRET-HASH')",
        [org],
    )
    app.execute("insert into nemo.profile (org_id, email, password_hash) values (%s, 'a@b.c', 'TOP-SECRET-PW')", [org])
    start_worker(nemo.dsn("forwarder"))
    # (Not as soon as it is asked: the worker has yet to note that it failed, and when it tries again.)
    wait_until(lambda: su.execute("select 1 from audit.cursor where failures > 0").fetchone())
    su.execute("update audit.cursor set retry_at = now()")
    wait_until(lambda: len(sink.accepted) >= 3)
    log = (tmp_path / "worker.log").read_bytes()
    assert b"delivery.failed" in log
    for secret in (b"TOP-SECRET", sink.secret.encode(), sink.secret.removeprefix("whsec_").encode()):
        assert secret not in log
        assert not any(secret in body for _, body in sink.requests)


def test_the_worker_calls_no_function_of_a_schema_in_the_path(
    nemo, org, sink, add_destination, start_worker, wait_until
):
    """Such as one that is given signing secrets."""
    su = nemo.connect()
    add_destination(su, sink, categories=["teams"])
    su.execute("create table public.stolen (secret text); grant insert on public.stolen to public")
    su.execute(
        "create function public.array_remove(text[], text) returns text[] language sql as "
        "'insert into public.stolen select pg_catalog.unnest($1); select pg_catalog.array_remove($1, $2)'"
    )
    start_worker(nemo.dsn("forwarder"))
    create_team(su, org, "Search")
    wait_until(lambda: sink.accepted)
    assert su.execute("select * from public.stolen").fetchall() == []
