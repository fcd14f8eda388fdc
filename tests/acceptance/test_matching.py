"""What filters match is said where they are stored, and that they match nothing."""

import socket

import httpx
import psycopg
import pytest
from tests import command

pytestmark = pytest.mark.any_server


@pytest.fixture
def acme(nemo):
    su = nemo.connect()
    su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    su.execute("insert into nemo.team (org_id, name) select id, 'one' from nemo.organization")
    (nemo.org,) = su.execute("select id::text from nemo.organization").fetchone()
    return nemo


def told(done):
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_a_hold_says_how_much_it_holds(acme, pgtrail):
    dsn = acme.dsn("admin")
    assert told(pgtrail("retention", "hold", "h", "--org", acme.org, "--reason", "r", dsn=dsn)) == [
        "pgtrail: the hold h matches 2 events of the log"
    ]
    nothing = told(pgtrail("retention", "hold", "i", "--org", acme.org[:-1] + "x", "--reason", "r", dsn=dsn))
    assert nothing[0] == "pgtrail: warning: the hold i matches 0 events of the log"
    assert nothing[1].startswith('pgtrail: warning: no event has the organization "')
    assert f"did you mean {acme.org}?" in nothing[1]
    (line,) = told(pgtrail("retention", "hold", "j", "--until", "2001-01-01", "--reason", "r", dsn=dsn))
    assert line == "pgtrail: warning: the hold j matches 0 events of the log"
    (line,) = told(pgtrail("retention", "hold", "k", "--since", "1d", "--reason", "r", dsn=dsn))
    assert "warning" not in line


def test_a_destination_says_how_much_passes_its_filters(acme, pgtrail):
    def add(name, *filters):
        lines = told(pgtrail("destination", "add", name, "--url", "https://x.example", *filters, dsn=acme.dsn("admin")))
        return [line for line in lines if "signing secret" not in line]

    assert add("a", "--org", acme.org, "--action", "team.*") == ["pgtrail: a matches 1 event of the last 30 days"]
    nothing = add("b", "--action", "taem.created", "--action", "team.created", "--org", "nobody")
    assert nothing[0] == "pgtrail: warning: b matches 0 events of the last 30 days"
    assert nothing[1] == f'pgtrail: warning: no event has the organization "nobody" (there are: {acme.org})'
    assert nothing[2].startswith('pgtrail: warning: no event has the action "taem.created" (did you mean team.created')
    assert len(nothing) == 3
    assert add("c", "--category", "guardrails") == ["pgtrail: warning: c matches 0 events of the last 30 days"]


def test_a_log_without_events_names_what_no_event_has(acme, pgtrail, tmp_path):
    for arguments in (["log"], ["export", str(tmp_path / "out.csv")]):
        done = pgtrail(*arguments, "--action", "orgnization.created", dsn=acme.dsn("auditor"))
        assert "did you mean organization.created" in done.stderr
    # Who sees nothing of it is told that, and of nothing that is there.
    done = pgtrail("log", "--org", "x", dsn=acme.dsn("reader"))
    why, none = done.stderr.splitlines()
    assert "may see no organization's events" in why
    assert none == "pgtrail: no events match"


def test_a_log_says_how_far_it_has_looked_where_no_index_leads(acme, pgtrail):
    su = acme.connect()
    su.execute(
        """
        insert into audit.event (occurred_at, org_id, category, action, resource_type, actor_type, actor_label)
        select '2026-05-01Z'::timestamptz + n * interval '1 minute', 'x', 'teams', 'a', 't', 'user', case when n = 7 then 'Ann' else 'Bob' end
        from generate_series(1, 3000) as n
        """
    )
    dsn = acme.dsn("auditor")
    done = pgtrail("log", "--actor", "ann", "--until", "2026-06-01", dsn=dsn)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "pgtrail: looked at 1,500 events, back to 2026-05-02 01:00:00; to look further back, say how far: --since",
        "pgtrail: no events match among these",
    ]
    done = pgtrail("log", "--actor", "ann", "--since", "2026-05-01", "--until", "2026-06-01", "--json", dsn=dsn)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
    # There are as many as asked for, or all of the log was looked at: nothing to say.
    for arguments in (["--actor", "bob", "--limit", "5"], ["--action", "a", "--until", "2026-05-01 00:03Z"]):
        done = pgtrail("log", *arguments, "--json", dsn=dsn)
        assert (len(done.stdout.splitlines()), done.stderr) == (5 if "bob" in arguments else 2, "")


TIMES = ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC", "9999-12-31 23:59+00"]


@pytest.mark.parametrize("moment", TIMES)
def test_no_time_beyond_a_calendar_is_stored_or_looked_for(acme, pgtrail, moment):
    su = acme.connect()
    for arguments in (
        ["retention", "hold", "h", "--reason", "r"], ["destination", "add", "x", "--url", "https://x.example"], ["log"],
    ):  # fmt: skip
        done = pgtrail(*arguments, f"--since={moment}", dsn=acme.dsn())
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "invalid time" in line
        assert "between the years 1 and 9999" in line
    su.execute("select audit.add_destination('y', 'https://x.example')")
    for call in (
        "audit.place_hold('h', 'r', p_since => %s)",
        "audit.place_hold('h', 'r', p_until => %s)",
        "audit.add_destination('x', 'https://x.example', options => jsonb_build_object('since', %s::text))",
        "audit.rebase_destination('y', %s)",
        "audit.replay_events('y', 'r', %s)",
    ):
        with pytest.raises(psycopg.errors.DatabaseError, match="invalid time") as raised:
            su.execute(f"select {call}", [moment])
        assert raised.value.sqlstate == "PT009"
    for statement in (
        "insert into audit.legal_hold (name, reason, since) values ('h', 'r', %s)",
        "insert into audit.legal_hold (name, reason, until) values ('h', 'r', %s)",
        "update audit.destination set since = %s",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            su.execute(statement, [moment])


def test_what_would_hold_nothing_is_no_hold(acme, pgtrail):
    for arguments in (["--since", "2026-02-01", "--until", "2026-01-01"], ["--org", ""]):
        done = pgtrail("retention", "hold", "h", "--reason", "r", *arguments, dsn=acme.dsn())
        assert done.returncode == 1
        assert "would cover nothing" in done.stderr
    done = pgtrail("retention", "set", "290000 years", dsn=acme.dsn())
    assert done.returncode == 1
    assert "at most a thousand years" in done.stderr


STORED = ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"]
ZONES = ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"]


@pytest.mark.parametrize("moment", STORED)
def test_a_time_that_was_stored_all_the_same_is_shown(acme, pgtrail, moment):
    su = acme.connect()
    su.execute("select audit.add_destination('x', 'https://x.example')")
    su.execute("alter table audit.legal_hold drop constraint times_are_of_the_calendar")
    su.execute("alter table audit.destination drop constraint since_is_of_the_calendar")
    su.execute("insert into audit.legal_hold (name, reason, since, until) values ('h', 'r', %s, %s)", [moment] * 2)
    su.execute("update audit.destination set since = %s, created_at = %s", [moment] * 2)
    su.execute("update audit.cursor set retry_at = %s, last_success_at = %s", [moment] * 2)
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, resource_id, actor_type, actor_id) "
        "values (%s, 'teams', 'team.created', 'team', '1', 'user', 'ann')", [moment],
    )  # fmt: skip
    (event_id,) = su.execute("select max(id) from audit.event").fetchone()
    commands = (
        ["destination", "show"], ["destination", "show", "x"], ["destination", "show", "--json"],
        ["destination", "show", "x", "--json"], ["log"], ["log", "--json"], ["show", str(event_id)], ["export", "-"],
        ["export", "-", "--fields"], ["status"], ["doctor"], ["seal"], ["proof", "make", str(event_id)], ["verify"],
    )  # fmt: skip
    # Each command in each zone, but not for each time.
    for number, arguments in enumerate(commands, STORED.index(moment)):
        done = pgtrail(*arguments, dsn=acme.dsn(), TZ=ZONES[number % len(ZONES)])
        assert "Traceback" not in done.stderr, (arguments, done.stderr)
        assert done.returncode == 0 or arguments in (["doctor"], ["verify"]), (arguments, done.stderr)


@pytest.mark.parametrize("address", ["::1", "[::1]", "127.0.0.1", "localhost"])
def test_metrics_are_served_on_any_address(acme, wait_until, tmp_path, address):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind(("::1" if ":" in address else "127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        worker = command.start(
            "forward", "--dsn", acme.dsn("forwarder"), "--metrics-address", address, "--metrics-port", str(port), stderr=log
        )  # fmt: skip
    try:
        url = wait_until(lambda: (tmp_path / "log").read_text().partition("metrics on ")[2].strip())
        assert httpx.get(url).status_code == 200
        assert url == f"http://{'[::1]' if ':' in address else address}:{port}/metrics"
    finally:
        worker.terminate()
        worker.wait(20)
