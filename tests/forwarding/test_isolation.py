"""A destination that can't be loaded, parsed, rendered, evaluated or reached costs no other destination anything."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

pytestmark = pytest.mark.any_server

BAD_ROWS = {
    "a network that is null": "allowed_networks = array[null]::cidr[]",
    "networks within networks": "allowed_networks = '{{127.0.0.0/8,10.0.0.0/8}}'",
    "a format whose headers are no texts": "format = 'odd'",
    "a format that can't be rendered": "format = 'raising'",
    "filters that raise": "actions = array[repeat('*a', 40000)]",
    "an authority that is not there": "ca_file = 'nowhere.pem', url = replace(url, 'http:', 'https:')",
    "a name that does not resolve": "url = 'https://nowhere.invalid/'",
    "an address that is not allowed": "allowed_networks = '{}'",
    "a token that is not there": "token_file = 'nowhere'",
}
PREPARE = """
    alter table audit.destination
        drop constraint allowed_networks_are_a_list, drop constraint actions_are_a_list;
    insert into audit.format (name, content_type, max_events, headers)
        values ('odd', 'text/plain', 10, '{"x-odd": null, "x-list": [1]}');
    create function audit.render_odd(event audit.event) returns text language sql stable as $$ select 'odd' $$;
    insert into audit.format (name, content_type, max_events) values ('raising', 'text/plain', 10);
    create function audit.render_raising(event audit.event) returns text language plpgsql stable
        as $$ begin raise exception 'secret row: %', event.after; end $$;
    grant execute on function audit.render_raising(audit.event) to audit_forwarder, audit_owner;
"""


@pytest.fixture
def prepared(nemo, org):
    su = nemo.connect()
    su.execute(PREPARE)
    return su


def insert_team(su, org, name="team"):
    return su.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, name])


def state(su, name):
    return su.execute("select state, last_error from audit.destination_status where name = %s", [name]).fetchone()


@pytest.mark.parametrize("broken", BAD_ROWS.values(), ids=BAD_ROWS)
def test_one_that_is_broken_costs_the_others_nothing_and_recovers_by_itself(
    prepared, nemo, org, sink, another_sink, add_destination, start_worker, wait_until, worker_log, broken
):
    su = prepared
    add_destination(su, another_sink, "bad", categories=["teams"])
    add_destination(su, sink, "good", categories=["teams"])
    whole = su.execute("select to_jsonb(destination) from audit.destination where name = 'bad'").fetchone()[0]
    su.execute(f"update audit.destination set {broken} where name = 'bad'")
    worker = start_worker(nemo.dsn("forwarder"), "--secrets-dir", "/nowhere")
    for count in (1, 2, 3):
        insert_team(su, org, f"team {count}")
        wait_until(lambda count=count: len(sink.accepted) == count)
    wait_until(lambda: state(su, "bad")[0] in ("needs_attention", "retrying"))
    # What is read of all destinations is read all the same.
    assert state(su, "good") == ("active", None)
    assert "bad" in {row[1] for row in su.execute("select problem, subject from audit.doctor()")} or "resolve" in str(
        state(su, "bad")[1]
    )
    assert "secret row" not in str(state(su, "bad"))
    assert worker.poll() is None
    su.execute(
        "update audit.destination set allowed_networks = '{127.0.0.0/8}', format = 'webhook', actions = null, ca_file = null, "
        "token_file = null, url = %s where name = 'bad'",
        [whole["url"]],
    )
    wait_until(
        lambda: (
            su.execute("update audit.cursor set retry_at = null where retry_at is not null")
            and len(another_sink.accepted) == 3
        )
    )
    wait_until(lambda: state(su, "bad") == ("active", None))
    named = [
        (line["action"], line.get("error"))
        for line in worker_log()
        if line.get("destination") == "bad" and line["level"] in ("ERROR", "WARNING")
    ]
    assert named
    broken = [each for each in named if each[0] in ("delivery.statement_failed", "worker.destination_broken")]
    assert len(broken) <= 1, broken
    assert "secret row" not in str(worker_log())


def test_one_whose_row_can_t_even_be_read_costs_the_others_nothing(
    prepared, nemo, org, sink, another_sink, add_destination, start_worker, wait_until
):
    su = prepared
    add_destination(su, another_sink, "bad", categories=["teams"])
    add_destination(su, sink, "good", categories=["teams"])
    # A list of headers nested so deep that Python can't parse it.
    su.execute("set max_stack_depth = '6MB'")
    su.execute("update audit.format set headers = (repeat('[', 5000) || repeat(']', 5000))::jsonb where name = 'odd'")
    su.execute("update audit.destination set format = 'odd' where name = 'bad'")
    start_worker(nemo.dsn("forwarder"))
    insert_team(su, org)
    wait_until(lambda: len(sink.accepted) == 1)
    wait_until(lambda: state(su, "bad")[0] == "needs_attention")
    su.execute("update audit.destination set format = 'webhook' where name = 'bad'")
    wait_until(lambda: len(another_sink.accepted) == 1)


def test_an_administrator_is_told_at_once_what_no_worker_could_use(nemo):
    admin = nemo.connect("admin")
    for options in ({"allowed_networks": [None]}, {"allowed_networks": "10.0.0.0/8"}, {"allowed_networks": ["nowhere"]},
                    {"actions": ["key.*", None]}, {"categories": [None]}, {"orgs": [7]}, {"orgs": [["a"], ["b"]]},
                    {"max_in_flight": 0}, {"max_in_flight": 65}, {"max_in_flight": 1.5}, {"max_in_flight": "1"},
                    {"seals": "yes"}, {"ca_file": "../x"}, {"ca_file": ""}, {"client_cert_file": "a\nb"}, [], "x"):  # fmt: skip
        with pytest.raises(psycopg.Error) as raised:
            admin.execute("select audit.add_destination('x', 'https://x.example', options => %s)", [Jsonb(options)])
        assert raised.value.sqlstate == "PT009", options


@pytest.mark.parametrize("unknown", ["colour", "name", "paused", "id", "leaving"])
def test_an_option_that_there_is_not_is_refused_with_those_that_there_are(nemo, unknown):
    with pytest.raises(psycopg.Error, match=f'no option "{unknown}"') as raised:
        nemo.connect("admin").execute(
            "select audit.add_destination('x', 'https://x.example', options => %s)", [Jsonb({unknown: "s3cret"})]
        )
    assert raised.value.sqlstate == "PT009"
    assert "actions, allow_http, allowed_networks" in raised.value.diag.message_hint
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("column", ["allowed_networks", "categories", "actions", "orgs"])
def test_whoever_writes_the_table_itself_can_t_store_a_null_in_a_list(nemo, column):
    su = nemo.connect()
    su.execute("select audit.add_destination('x', 'https://x.example')")
    for value in ("array[null]", "'{{10.0.0.0/8},{10.0.0.0/8}}'"):
        kind = "cidr[]" if column == "allowed_networks" else "text[]"
        with pytest.raises(psycopg.errors.CheckViolation):
            su.execute(f"update audit.destination set {column} = {value}::{kind}")
