"""Tracking, destinations, status, help, and the demo."""

import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pytest
from standardwebhooks.webhooks import Webhook

from pgtrail_cli.binaries import find_binaries
from pgtrail_cli.main import main


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
    row = next(line for line in pgtrail("tables", dsn=db.dsn()).stdout.splitlines() if "Api Key" in line)
    assert all(word in row for word in ("key", "api_keys", "Name", "hits", "api_token"))
    su.execute("""insert into public."Api Key" values (1, 'ci', 'S3CRET', 0)""")
    log = pgtrail("log", "--category", "api_keys", dsn=db.dsn()).stdout
    assert "key.created" in log
    assert "S3CRET" not in log
    assert pgtrail("untrack", 'public."Api Key"', dsn=db.dsn()).returncode == 0
    assert "Api Key" not in pgtrail("tables", dsn=db.dsn()).stdout
    assert "key.created" in pgtrail("log", "--category", "api_keys", dsn=db.dsn()).stdout


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
    for command, state in (("list", "active"), ("pause", "paused"), ("resume", "active")):
        done = pgtrail("destination", command, *([] if command == "list" else ["siem"]), dsn=dsn)
        assert done.returncode == 0
        listed = pgtrail("destination", "list", dsn=dsn).stdout
        assert re.search(rf"siem\s+{state}", listed)
        assert secret not in listed
    assert pgtrail("destination", "remove", "siem", "--yes", dsn=dsn).returncode == 0
    assert pgtrail("destination", "list", dsn=dsn).stdout == ""
    su = nemo.connect()
    actions = [
        row[0] for row in su.execute("select action from audit.event where resource_type = 'destination' order by id")
    ]
    assert actions == [f"audit.destination_{what}" for what in ("added", "paused", "resumed", "removed")]
    assert not any(secret in row[0] for row in su.execute("select event::text from audit.event"))


def test_removing_asks_first(nemo, pgtrail):
    pgtrail("destination", "add", "siem", "--url", "https://x.example", dsn=nemo.dsn())
    assert pgtrail("destination", "remove", "siem", dsn=nemo.dsn()).returncode == 1
    assert "siem" in pgtrail("destination", "list", dsn=nemo.dsn()).stdout


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
        (204, 0, "answered HTTP 204"),
        (404, 1, "check the URL"),
        (401, 1, "token"),
        (302, 1, "redirects are not followed"),
    ],
)
def test_testing_a_destination_sends_a_signed_ping_and_explains_the_answer(
    nemo, pgtrail, answering, status, exit_status, says
):
    url, got = answering
    added = pgtrail("destination", "add", "siem", "--url", f"{url}/{status}", "--allow-http", dsn=nemo.dsn())
    done = pgtrail("destination", "test", "siem", dsn=nemo.dsn())
    assert done.returncode == exit_status
    assert says in done.stderr
    ((headers, body),) = got
    message = Webhook(added.stdout.strip()).verify(body, {name.lower(): value for name, value in headers.items()})
    assert message["type"] == "audit.ping"


def test_testing_a_destination_where_nothing_listens_says_so(nemo, pgtrail):
    pgtrail("destination", "add", "siem", "--url", "http://127.0.0.1:1/", "--allow-http", dsn=nemo.dsn())
    done = pgtrail("destination", "test", "siem", dsn=nemo.dsn())
    assert done.returncode == 1
    assert "the connection failed" in done.stderr


def test_status_says_what_is_there_and_fails_where_something_is_pending(nemo, pgtrail):
    done = pgtrail("status", dsn=nemo.dsn("auditor"))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"tracked tables\s+8\b", done.stdout)
    nemo.connect().execute("update audit.installation set files_hash = 'other'")
    done = pgtrail("status", dsn=nemo.dsn())
    assert done.returncode == 1
    assert "pgtrail migrate" in done.stderr


def commands(command, path=("pgtrail",)):
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


@pytest.mark.parametrize(("path", "command"), [pytest.param(*item, id=" ".join(item[0])) for item in commands(main)])
def test_every_command_says_what_it_does_with_an_example(path, command):
    context = click.Context(command, info_name=path[-1])
    text = command.get_help(context)
    assert "Example:\n" in text
    assert re.search(rf"^\s+pgtrail {' '.join(path[1:])}", text.split("Example:\n")[1], re.MULTILINE)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


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
