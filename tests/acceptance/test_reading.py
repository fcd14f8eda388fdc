"""log, show, export, shell: what a person, a script and a spreadsheet get."""

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import time

import pytest
from configobj import ConfigObj
from tests import command

from pgtrail_cli.demo import scenario

pytestmark = pytest.mark.any_server


@pytest.fixture
def full(nemo):
    """The reference application after the demo's day, and something nasty in the names."""
    with nemo.connect("app") as app:
        scenario.play(app)
        app.execute(
            "insert into nemo.organization (name, slug) values (%s, 'nasty')", ["=cmd|'x'!A1 [red]\x1b[31m\n\"q\" 🦊"]
        )
    return nemo


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_export_gives_the_bytes_that_psql_gives_as_auditor_and_as_reader(full, pgtrail, tmp_path, server):
    su = full.connect()
    acme = su.execute("select id::text from nemo.organization where slug = 'acme'").fetchone()[0]
    su.execute("select audit.grant_org('reader', %s)", [acme])
    sizes = []
    for user in ("auditor", "reader"):
        theirs, ours = tmp_path / "theirs.csv", tmp_path / "ours.csv"
        # Each export is an event, which the next one has.
        without = ("--until", su.execute("select clock_timestamp()::text").fetchone()[0])
        copy = subprocess.run(
            ["psql", "-X", "-q", full.dsn(user), "-c", f"\\copy (select * from audit.export) to '{theirs}' csv header"],
            env=os.environ | {"PATH": f"{server.binaries.bin_dir}:{os.environ['PATH']}"},
            capture_output=True,
            check=True,
        )
        assert copy.stderr == b""
        done = pgtrail("export", str(ours), *without, dsn=full.dsn(user))
        assert (done.returncode, done.stdout) == (0, "")
        assert ours.read_bytes() == theirs.read_bytes()
        assert pgtrail("export", "-", *without, dsn=full.dsn(user)).stdout == ours.read_text()
        sizes.append(len(ours.read_bytes()))
    assert sizes[0] > sizes[1] > 1000


def test_export_takes_the_filters_of_log(full, pgtrail):
    done = pgtrail("export", "-", "--category", "api_keys", "--action", "key.c*", dsn=full.dsn("auditor"))
    assert len(done.stdout.splitlines()) == 1 + 3
    assert pgtrail("export", "-", "--until", "2001-01-01", dsn=full.dsn("auditor")).stdout.count("\n") == 1


def test_export_obeys_the_umask_and_leaves_nothing_beside_the_file(full, pgtrail, tmp_path):
    file = tmp_path / "audit.csv"
    mask = os.umask(0o027)
    try:
        pgtrail("export", str(file), dsn=full.dsn("auditor"))
    finally:
        os.umask(mask)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir() if "csv" in entry.name] == ["audit.csv"]


def test_export_goes_through_links_and_into_pipes_and_keeps_a_files_mode(full, pgtrail, tmp_path):
    private, link, pipe = tmp_path / "private.csv", tmp_path / "link.csv", tmp_path / "pipe"
    private.touch(0o600)
    link.symlink_to(private)
    without = ("--until", full.connect().execute("select clock_timestamp()::text").fetchone()[0])
    assert pgtrail("export", str(link), *without, dsn=full.dsn("auditor")).returncode == 0
    assert link.is_symlink()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    assert pgtrail("export", str(pipe), *without, dsn=full.dsn("auditor")).returncode == 0
    assert reader.communicate(timeout=30)[0] == private.read_bytes()
    assert pgtrail("export", "/dev/null", dsn=full.dsn("auditor")).returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_export_is_oldest_first_whatever_the_planner_does_with_the_filter(nemo, pgtrail):
    su = nemo.connect()
    su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    add = "insert into nemo.team (org_id, name) select id, 'team ' || i from nemo.organization, generate_series(1, 20000) as i"
    su.execute(add)
    # A hash join in many batches gives its rows in no order.
    plan = "-c work_mem=64kB -c hash_mem_multiplier=1 -c enable_mergejoin=off -c enable_nestloop=off"
    done = pgtrail("export", "-", "--category", "teams", dsn=nemo.dsn("auditor", options=plan))
    ids = [int(row["id"]) for row in csv.DictReader(io.StringIO(done.stdout))]
    assert len(ids) == 20_000
    assert ids == sorted(ids)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_an_export_that_is_interrupted_leaves_the_file_as_it_was(db, tmp_path, how):
    su = db.connect()
    su.execute("create table public.thing (id int primary key, name text)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing select i, repeat('x', 2000) from generate_series(1, 30000) as i")
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "audit.csv"
    file.write_text("as it was")
    process = command.start("export", file, "--dsn", db.dsn(), stderr=command.PIPE)
    deadline = time.monotonic() + 30
    while not any(part.stat().st_size for part in folder.glob(".audit.csv.*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(how)
    assert process.wait(30) != 0
    process.stderr.close()
    assert file.read_text() == "as it was"
    if how is not signal.SIGKILL:
        assert [entry.name for entry in folder.iterdir()] == ["audit.csv"]


def test_log_filters_by_everything_it_offers(full, pgtrail):
    def actions(*arguments):
        done = pgtrail("log", "--json", "--limit", "500", *arguments, dsn=full.dsn("auditor"))
        assert done.returncode == 0, done.stderr
        return [event["action"] for event in lines(done.stdout)]

    everything = actions()
    assert set(actions("--category", "password", "--category", "plan")) == {"password.changed", "plan.changed"}
    assert set(actions("--action", "key.*", "--action", "plan.changed")) == {
        "key.created", "key.updated", "key.rotated", "key.deleted", "plan.changed",
    }  # fmt: skip
    assert len(actions("--actor", "cleo@*")) == len(actions("--actor", "USR_CLEO")) > 3
    assert len(actions("--resource", "prod")) == 3
    assert len(actions("--resource", "PROD*", "--resource", "nothing")) == 3
    (key,) = full.connect().execute("select resource_id from audit.log where action = 'key.rotated'").fetchone()
    assert len(actions("--resource-id", key)) == len(actions("--resource", key)) >= 3
    assert 0 < len(actions("--resource-id", key, "--actor-id", "usr_bob")) <= len(actions("--actor-id", "usr_bob"))
    assert actions("--actor-id", "USR_BOB") == actions("--actor-id", "usr_b*") == []
    assert actions("--since", "1h") == everything
    assert actions("--until", "1h") == []
    assert actions("--org", "nope") == []
    assert actions("--limit", "3") == everything[:3]
    assert everything[-1] == "audit.table_tracked"


def test_nothing_of_the_data_reaches_the_terminal_as_control_or_markup(full, pgtrail):
    for environment in ({}, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}):
        log = pgtrail("log", "--limit", "1", dsn=full.dsn("auditor"), **environment)
        assert "[red]" in log.stdout
        assert "\x1b[31m\n" not in log.stdout
        assert "\\x1b[31m\\n" in log.stdout
    event = pgtrail("log", "--limit", "1", "--json", dsn=full.dsn("auditor"))
    shown = pgtrail("show", lines(event.stdout)[0]["id"], dsn=full.dsn("auditor"))
    assert "\x1b" not in shown.stdout
    assert "\\x1b[31m\\n" in shown.stdout


def test_show_marks_what_changed_and_dims_what_did_not(full, pgtrail):
    (event_id,) = full.connect().execute("select id from audit.log where action = 'key.rotated'").fetchone()
    plain = pgtrail("show", str(event_id), dsn=full.dsn("auditor")).stdout
    marked = {line.split()[1]: line.split()[2:] for line in plain.splitlines() if line.startswith("●")}
    assert marked == {"key_hash": ["[redacted]", "[redacted]"], "key_prefix": ["sk-1", "sk-1b"]}
    assert "leaked in a log, INC-4711" in plain
    assert "\x1b" not in plain
    colours = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    coloured = pgtrail("show", str(event_id), dsn=full.dsn("auditor"), **colours).stdout
    prefix = next(line for line in coloured.splitlines() if "key_prefix" in line)
    name = next(line for line in coloured.splitlines() if " name " in line or "mname" in line)
    assert "\x1b[31msk-1" in prefix
    assert "\x1b[32msk-1b" in prefix
    assert "\x1b[2m" in name
    assert "\x1b[3" not in pgtrail("show", str(event_id), dsn=full.dsn("auditor"), NO_COLOR="1", **colours).stdout


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_of_any_width_gets_whole_words_of_what_happened(full, pgtrail, width):
    screen = {"COLUMNS": str(width), "FORCE_COLOR": "1", "TERM": "dumb"}
    shown = pgtrail(
        "log", "--category", "guardrails", "--category", "members", dsn=full.dsn("auditor"), **screen
    ).stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert all(len(line.rstrip()) <= width for line in plain)
    assert {"member.role_changed", "guardrail.updated", "cleo@acme.example"} <= set(" ".join(plain).split())


def test_show_tells_null_from_nothing_and_a_number_from_a_text_that_looks_like_one(nemo, pgtrail):
    nemo.connect("app").execute("insert into nemo.organization (name, slug, logo_url) values ('60', '', null)")
    created = nemo.connect().execute("select max(id) from audit.event").fetchone()[0]
    nemo.connect("app").execute("update nemo.organization set logo_url = 'null'")
    shown = pgtrail("show", str(created), dsn=nemo.dsn("auditor")).stdout
    fields = {line.split()[-2]: line.split()[-1] for line in shown.splitlines()}
    assert (fields["name"], fields["slug"], fields["logo_url"]) == ('"60"', '""', "null")
    assert "Before" not in shown
    shown = pgtrail("show", str(created + 1), dsn=nemo.dsn("auditor")).stdout
    assert next(line.split() for line in shown.splitlines() if "logo_url" in line) == [
        "●", "logo_url", "null", '"null"',
    ]  # fmt: skip
    assert "resource      organization  60  " in shown


def test_log_follows_also_what_was_in_flight_when_it_began_each_event_once(nemo):
    su = nemo.connect()
    su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    add = "insert into nemo.team (org_id, name) select id, %s from nemo.organization"
    late = nemo.connect("app", autocommit=False)
    late.execute(add, ["in flight"])
    process = command.start(
        "log", "-f", "--json", "--category", "teams", "--dsn", nemo.dsn("auditor"), stdout=command.PIPE
    )
    deadline = time.monotonic() + 30
    listening = "select 1 from pg_stat_activity where application_name = 'pgtrail' and query ilike '%%snapshot%%' and datname = %s"
    while not su.execute(listening, [nemo.name]).fetchone():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    nemo.connect("app").execute(add, ["one"])
    names = [json.loads(process.stdout.readline())["resource"]["label"]]
    late.commit()
    names.append(json.loads(process.stdout.readline())["resource"]["label"])
    nemo.connect("app").execute(add, ["two"])
    names.append(json.loads(process.stdout.readline())["resource"]["label"])
    assert names == ["one", "in flight", "two"]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, b"")


def test_the_shell_is_a_reader_that_changes_nothing(full, pgtrail, tmp_path):
    config = {"XDG_CONFIG_HOME": str(tmp_path)}
    done = pgtrail("shell", "-c", "select current_user, count(*) > 20 as full from audit.log", dsn=full.dsn(), **config)
    assert "audit_auditor" in done.stdout
    assert "True" in done.stdout or "| t" in done.stdout
    refused = pgtrail("shell", "-c", "create table public.x (id int)", dsn=full.dsn(), **config)
    assert "read-only" in refused.stdout + refused.stderr
    assert full.connect().execute("select to_regclass('public.x')").fetchone() == (None,)


def test_every_named_query_of_the_shell_runs(full, pgtrail, tmp_path):
    config = {"XDG_CONFIG_HOME": str(tmp_path)}
    rotated = full.connect().execute("select id from audit.event where action = 'key.rotated'").fetchone()[0]
    done = pgtrail("shell", "-c", f"\\n event {rotated}", dsn=full.dsn(), **config)
    assert "key_prefix" in done.stdout
    queries = ConfigObj(str(next(tmp_path.rglob("pgclirc"))))["named queries"]
    assert {"today", "last", "event", "actor", "resource", "keys", "members", "counts"} <= set(queries)
    auditor = full.connect("auditor")
    for query in queries.values():
        auditor.execute(query.replace("$1", "1"))
