"""Tracking, destinations, status, help, and the demo."""

import inspect
import json
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pytest
from standardwebhooks.webhooks import Webhook

from pgtrail.server.binaries import find_binaries
from pgtrail_cli.lazy import every_command
from pgtrail_cli.main import main

# What the commands ask the database for is tested in SQL, on each server.
pytestmark = pytest.mark.any_server


def test_track_tables_untrack(db, pgtrail):
    su = db.connect()
    su.execute('create table public."Api Key" (id int primary key, "Name" text, api_token text, hits int)')
    done = pgtrail(
        "track",
        'public."Api Key"',
        "--resource",
        "key",
        "--category",
        "api_keys",
        "--label",
        "Name",
        "--ignore",
        "hits",
        dsn=db.dsn(),
    )
    assert done.returncode == 0
    assert "redacted by their names: api_token" in done.stderr
    row = next(line for line in pgtrail("status", dsn=db.dsn()).stdout.splitlines() if "Api Key" in line)
    assert all(word in row for word in ("key", "api_keys", "Name", "hits", "api_token"))
    su.execute("""insert into public."Api Key" values (1, 'ci', 'S3CRET', 0)""")
    log = pgtrail("log", "--category", "api_keys", dsn=db.dsn()).stdout
    assert "key.created" in log
    assert "S3CRET" not in log
    assert pgtrail("untrack", 'public."Api Key"', dsn=db.dsn()).returncode == 0
    assert "Api Key" not in pgtrail("status", dsn=db.dsn()).stdout
    assert "key.created" in pgtrail("log", "--category", "api_keys", dsn=db.dsn()).stdout


LOOPBACK = ("--allow-http", "--allow-network", "127.0.0.0/8")


def test_a_destination_from_its_cradle_to_its_grave(nemo, pgtrail):
    dsn = nemo.dsn("admin")
    added = pgtrail(
        "destination",
        "add",
        "siem",
        "--url",
        "https://x.example/h",
        "--category",
        "plan",
        "--action",
        "plan.*",
        dsn=dsn,
    )
    assert added.returncode == 0, added.stderr
    secret = added.stdout.strip()
    assert secret.startswith("whsec_")
    assert secret not in added.stderr
    for command, state in (("show", "active"), ("pause", "paused"), ("resume", "active")):
        done = pgtrail("destination", command, "siem", dsn=dsn)
        assert done.returncode == 0
        listed = pgtrail("destination", "show", dsn=dsn).stdout
        assert re.search(rf"siem\s+webhook\s+{state}", listed)
        assert secret not in listed
    assert pgtrail("destination", "remove", "siem", "--yes", dsn=dsn).returncode == 0
    assert re.search(r"siem\s+webhook\s+leaving", pgtrail("destination", "show", dsn=dsn).stdout)
    assert pgtrail("destination", "remove", "siem", "--now", "--yes", dsn=dsn).returncode == 0
    assert pgtrail("destination", "show", dsn=dsn).stdout == ""
    su = nemo.connect()
    actions = [
        row[0] for row in su.execute("select action from audit.event where resource_type = 'destination' order by id")
    ]
    assert actions == [f"audit.destination_{what}" for what in ("added", "paused", "resumed", "removed", "gone")]
    assert not any(secret in row[0] for row in su.execute("select event::text from audit.event"))


def test_removing_asks_first(nemo, pgtrail):
    pgtrail("destination", "add", "siem", "--url", "https://x.example", dsn=nemo.dsn())
    assert pgtrail("destination", "remove", "siem", dsn=nemo.dsn()).returncode == 1
    assert "siem" in pgtrail("destination", "show", dsn=nemo.dsn()).stdout


@pytest.fixture
def answering():
    """A server on loopback that answers with a status and keeps what came."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(int(self.path.strip("/")))
            self.send_header("location", "https://elsewhere.example/")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "exit_status", "says"),
    [
        (204, 0, "took it: HTTP 204"),
        (404, 1, "check the URL"),
        (401, 1, "token"),
        (302, 1, "redirects are not followed"),
    ],
)
def test_testing_a_destination_sends_a_signed_ping_and_explains_the_answer(
    nemo, pgtrail, answering, status, exit_status, says
):
    url, got = answering
    added = pgtrail("destination", "add", "siem", "--url", f"{url}/{status}", *LOOPBACK, dsn=nemo.dsn())
    done = pgtrail("destination", "test", "siem", dsn=nemo.dsn())
    assert done.returncode == exit_status
    assert says in done.stderr
    ((headers, body),) = got
    message = Webhook(added.stdout.strip()).verify(body, {name.lower(): value for name, value in headers.items()})
    assert message["type"] == "audit.ping"


def test_testing_a_destination_where_nothing_listens_says_so(nemo, pgtrail):
    pgtrail("destination", "add", "siem", "--url", "http://127.0.0.1:1/", *LOOPBACK, dsn=nemo.dsn())
    done = pgtrail("destination", "test", "siem", dsn=nemo.dsn())
    assert done.returncode == 1
    assert "the connection failed" in done.stderr


def test_a_dry_run_shows_the_request_and_sends_nothing(nemo, pgtrail, answering):
    url, got = answering
    dsn = nemo.dsn()
    arguments = ("--format", "splunk_hec", "--url", f"{url}/200", *LOOPBACK, "--token-env", "SPLUNK_TOKEN")
    assert pgtrail("destination", "add", "splunk", *arguments, dsn=dsn).stdout == "", (
        "nothing to show: it is not signed"
    )
    unbound = pgtrail("destination", "test", "splunk", "--dry-run", dsn=dsn, SPLUNK_TOKEN="T0KEN")
    assert (unbound.returncode, unbound.stdout) == (1, "")
    assert "set SPLUNK_TOKEN_HOSTS=127.0.0.1 for the worker" in unbound.stderr
    environment = {"SPLUNK_TOKEN": "T0KEN", "SPLUNK_TOKEN_HOSTS": "127.0.0.1"}
    done = pgtrail("destination", "test", "splunk", "--dry-run", dsn=dsn, **environment)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition("\n\n")
    assert head.startswith(f"POST {url}/200\n")
    assert "authorization: [redacted]" in head
    assert "T0KEN" not in done.stdout + done.stderr
    assert json.loads(body)["event"]["action"] == "audit.ping"
    event_id = nemo.connect().execute("select max(id) from audit.event").fetchone()[0]
    done = pgtrail("destination", "test", "splunk", "--dry-run", "--event", str(event_id), dsn=dsn, **environment)
    assert f'"evt_{event_id}"' in done.stdout
    assert got == []
    done = pgtrail("destination", "test", "splunk", dsn=dsn)
    assert done.returncode == 1
    assert "environment has no SPLUNK_TOKEN" in done.stderr


def test_show_tells_a_destinations_settings_state_and_attempts(nemo, pgtrail):
    dsn = nemo.dsn()
    pgtrail("destination", "add", "siem", "--url", "https://x.example", "--in-flight", "3", dsn=dsn)
    shown = pgtrail("destination", "show", "siem", dsn=dsn)
    assert re.search(r"max in flight\s+3", shown.stdout)
    assert "no attempts yet" in shown.stderr
    su = nemo.connect()
    token = su.execute("select lease_token from audit_internal.next_batch(1, 'worker-1')").fetchone()[0]
    su.execute(
        f"select audit_internal.record_delivery(1, {token}, '{{}}', 0, p_failed => 7, p_status => 500, p_error => 'the receiver responded with HTTP 500', "
        "p_retry_in => '5 s')"
    )
    shown = pgtrail("destination", "show", "siem", dsn=dsn)
    assert re.search(r"7\s+500\s+the receiver responded with HTTP 500\s+\S+ \S+\s+worker-1", shown.stdout)
    as_json = json.loads(pgtrail("destination", "show", "siem", "--json", dsn=dsn).stdout)
    assert (as_json["state"], as_json["attempts"][0]["failed_event_id"]) == ("retrying", 7)
    listed = json.loads(pgtrail("destination", "show", "--json", dsn=dsn).stdout)
    assert (listed["events_behind"], listed["last_error"]) == (2, "the receiver responded with HTTP 500")


def test_of_many_dead_letters_the_first_are_shown_and_json_has_all(nemo, pgtrail):
    dsn = nemo.dsn("admin")
    pgtrail("destination", "add", "siem", "--url", "https://x.example", dsn=dsn)
    nemo.connect().execute(
        "insert into audit.dead_letter (destination_id, event_id, error) select 1, n, 'refused' from generate_series(1, 25) as n"
    )
    shown = pgtrail("destination", "show", "siem", dsn=dsn)
    assert len(re.findall(r"^\d+\s+.*refused", shown.stdout, re.MULTILINE)) == 20
    assert "the first 20 of 25 dead letters" in shown.stderr
    as_json = json.loads(pgtrail("destination", "show", "siem", "--json", dsn=dsn).stdout)
    assert (as_json["dead_letters"], len(as_json["dead_letter_events"])) == (25, 25)


def test_rotating_a_secret_shows_the_new_one_once(nemo, pgtrail):
    dsn = nemo.dsn("admin")
    first = pgtrail("destination", "add", "siem", "--url", "https://x.example", dsn=dsn).stdout.strip()
    second = pgtrail("destination", "rotate-secret", "siem", "--overlap", "2", dsn=dsn).stdout.strip()
    assert second.startswith("whsec_")
    assert second != first
    kept = nemo.connect().execute(
        "select secret, previous, previous_until > now() + interval '119 minutes' from audit.destination_secret"
    )
    assert kept.fetchall() == [(second, first, True)]


def test_a_token_is_read_from_stdin_and_never_shown(nemo, pgtrail):
    dsn = nemo.dsn("admin")
    arguments = ("--format", "datadog", "--url", "https://x.example", "--token-stdin")
    done = pgtrail("destination", "add", "dd", *arguments, dsn=dsn, input="T0KEN\n")
    assert done.returncode == 0, done.stderr
    done = pgtrail("destination", "set-token", "dd", dsn=dsn, input="T0KEN2\n")
    assert done.returncode == 0, done.stderr
    su = nemo.connect()
    assert su.execute("select kind, secret from audit.destination_secret").fetchall() == [("token", "T0KEN2")]
    everything = " ".join(row[0] for row in su.execute("select event::text from audit.event"))
    assert "T0KEN" not in everything
    shown = pgtrail("destination", "show", "dd", "--json", dsn=dsn)
    assert "T0KEN" not in shown.stdout


def test_a_replay_needs_a_reason_and_a_choice(nemo, pgtrail):
    dsn = nemo.dsn("admin")
    pgtrail("destination", "add", "siem", "--url", "https://x.example", dsn=dsn)
    assert "--reason" in pgtrail("destination", "replay", "siem", "--since", "1d", dsn=dsn).stderr
    assert "every event" in pgtrail("destination", "replay", "siem", "--reason", "x", dsn=dsn).stderr
    assert "no such dead letter" in pgtrail("destination", "redrive", "siem", "--reason", "x", dsn=dsn).stderr
    done = pgtrail("destination", "replay", "siem", "--since", "1d", "--reason", "index lost", dsn=dsn)
    assert done.returncode == 0, done.stderr
    event = nemo.connect().execute("select after ->> 'reason' from audit.event where action = 'audit.replay_requested'")
    assert event.fetchall() == [("index lost",)]


def test_status_says_what_is_there_and_fails_where_something_is_pending(nemo, pgtrail):
    done = pgtrail("status", dsn=nemo.dsn("auditor"))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"tracked tables\s+8\b", done.stdout)
    assert re.search(r"nemo\.api_key\s+key\s+api_keys\s", done.stdout)
    assert re.search(r"kept\s+forever\b", done.stdout)
    assert not re.search(r"^Node", done.stdout, re.MULTILINE)
    as_json = json.loads(pgtrail("status", "--json", dsn=nemo.dsn("auditor")).stdout)
    assert (as_json["tracked_tables"], len(as_json["tables"]), as_json["current"]) == (8, 8, True)
    assert as_json["nodes"] == as_json["legal_holds"] == as_json["retention"] == []
    nemo.connect().execute("update audit.installation set files_hash = 'other'")
    done = pgtrail("status", dsn=nemo.dsn())
    assert done.returncode == 1
    assert "pgtrail migrate" in done.stderr


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*item, id=" ".join(item[0])) for item in every_command(main)]
)
def test_every_command_says_what_it_does_with_an_example(path, command):
    context = click.Context(command, info_name=path[-1])
    text = command.get_help(context)
    assert "Example:\n" in text
    assert re.search(rf"^\s+pgtrail {' '.join(path[1:])}", text.split("Example:\n")[1], re.MULTILINE)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


GROUPS = [(path, command) for path, command in every_command(main) if isinstance(command, click.Group)]


@pytest.mark.parametrize(("path", "group"), [pytest.param(*item, id=" ".join(item[0])) for item in GROUPS])
def test_a_group_lists_each_command_in_one_line_of_80_columns(path, group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    context = click.Context(group, info_name=path[-1], max_content_width=120)
    lines = group.get_help(context).splitlines()
    for name in group.list_commands(context):
        first_line = inspect.cleandoc(group.get_command(context, name).help).splitlines()[0]
        (line,) = (line for line in lines if re.fullmatch(rf"  {name} +{re.escape(first_line)}", line))
        assert len(line) <= 80


def test_the_commands_are_listed_by_what_they_are_for():
    lines = main.get_help(click.Context(main)).splitlines()
    headings = [line for line in lines if re.fullmatch(r"[A-Z]\w+:", line) and line != "Options:"]
    assert headings == ["Start:", "Track:", "Read:", "Forward:", "Trust:", "Keep:", "Operate:"]


def descendants_of(marker):
    """Processes whose command line or environment names the marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


ONLY_ONCE = pytest.mark.skipif(not find_binaries(), reason="no PostgreSQL server is here")


@ONLY_ONCE
def test_the_demo_shows_everything_and_ends_by_itself(pgtrail, folder):
    done = pgtrail("demo", "--once", "--data-dir", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    recorded = re.search(r"(\d+) of (\d+) recorded events, every signature verified", done.stdout)
    assert recorded
    assert recorded[1] == recorded[2]
    assert int(recorded[1]) > 50
    for part in ("key.rotated", "● ", "From commit to receipt: median", "export PGTRAIL_DSN=", "pgtrail shell"):
        assert part in done.stdout
    assert descendants_of(str(folder).encode()) == []
    again = pgtrail("demo", "--once", "--data-dir", str(folder))
    assert (again.returncode, again.stderr) == (0, "")


@ONLY_ONCE
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_the_demo_stays_until_it_is_ended_and_leaves_no_process_however_it_ends(folder, how):
    import time

    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pgtrail_cli", "demo", "--data-dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have it ignored, and the worker with it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    worker = None
    for line in process.stdout:
        if line.startswith("export PGTRAIL_DSN"):
            worker = re.search(r"host=(\S+)", line)[1].encode()
        if "until Ctrl-C" in line:
            break
    assert worker
    assert len(descendants_of(worker)) >= 2, "the server and the worker"
    process.send_signal(how)
    process.stdout.close()
    status = process.wait(60)
    assert status == (0 if how is signal.SIGINT else -9)
    deadline = time.monotonic() + 45
    while descendants_of(worker) or descendants_of(str(folder).encode()):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.1)
