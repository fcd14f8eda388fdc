"""Each transaction of ours has our own settings, and no session has: directly, and behind a pooler in transaction mode."""

import contextlib
import json
import os
import re
import subprocess

import psycopg
import pytest
from tests import command
from tests.conftest import roomy_folder
from tests.forwarding.conftest import Sink
from tests.pgbouncer import PgBouncer
from tests.web.conftest import serving

from pgtrail.connection import open_connection

pytestmark = pytest.mark.any_server

SEEN = """
select
    pg_catalog.current_setting('search_path'), pg_catalog.current_setting('client_encoding'),
    pg_catalog.current_setting('DateStyle'), pg_catalog.current_setting('IntervalStyle'),
    pg_catalog.current_setting('standard_conforming_strings')
"""
OURS = ("pg_catalog, pg_temp", "UTF8", "ISO, DMY", "postgres", "on")
TRAP = """
create table public.called (by text);
grant insert on public.called to public;
create function public.array_remove(text[], text) returns text[] language sql as
    'insert into public.called values (''array_remove''); select $1';
create function public.times(numeric, int) returns numeric language sql as
    'insert into public.called values (''*''); select $1';
create operator public.* (function = public.times, leftarg = numeric, rightarg = int);
"""
POOL = "pool_mode = transaction\ndefault_pool_size = 2\nserver_idle_timeout = 600"


def test_no_setting_of_a_database_a_role_or_the_environment_reaches_a_statement_of_ours(bare_db, monkeypatch):
    su = bare_db.connect()
    for name, value in (
        ("search_path", "public"), ("datestyle", "'SQL, DMY'"), ("intervalstyle", "iso_8601"), ("client_encoding", "latin1"),
        ("standard_conforming_strings", "off"),
    ):  # fmt: skip
        su.execute(f"alter database {bare_db.name} set {name} = {value}")
        su.execute(f"alter role app in database {bare_db.name} set {name} = {value}")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=public")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "German, DMY")
    given = "-c search_path=public -c intervalstyle=sql_standard -c statement_timeout=7s"
    for options in ({}, {"options": given, "client_encoding": "latin1"}):
        with open_connection(bare_db.dsn("app", **options)) as connection:
            assert connection.execute(SEEN).fetchone() == OURS
            with connection.transaction():
                assert connection.execute(SEEN).fetchone() == OURS
                with connection.transaction():
                    assert connection.execute(SEEN).fetchone() == OURS
            with connection.cursor().copy(f"copy ({SEEN}) to stdout (format csv)") as copied:
                assert b"pg_catalog, pg_temp" in b"".join(copied)
            assert connection.execute_as_given("show search_path").fetchone() == ("public",)
            timeout = connection.execute("show statement_timeout").fetchone()
            assert timeout == (("7s" if options else "0"),)


def test_a_table_is_looked_for_where_its_user_would(nemo, pgtrail):
    nemo.connect().execute(
        "create table public.users (id int primary key); create schema shop; create table shop.users (id int)"
    )
    for options, names in (
        ("-c search_path=nemo", {"team": "nemo.team"}),
        ("-c search_path=shop,public", {"users": "shop.users", "public.users": "public.users"}),
    ):
        for name, found in names.items():
            done = pgtrail("track", name, "--category", "teams", dsn=nemo.dsn(), PGOPTIONS=options)
            assert done.returncode == 0, done.stderr
            assert found in pgtrail("status", dsn=nemo.dsn()).stdout
    done = pgtrail("track", "team", dsn=nemo.dsn())
    assert done.returncode == 1
    assert done.stderr.startswith('pgtrail: relation "team" does not exist (write it as schema.table')


@contextlib.contextmanager
def pooled(database, user):
    """A pooler before a database, in transaction mode."""
    with roomy_folder() as folder, PgBouncer(folder, database, user, POOL) as running:
        yield running


@pytest.fixture
def trapped(nemo):
    """A database with traps in its path, and a team."""
    su = nemo.connect()
    su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
    su.execute(TRAP)
    yield nemo
    assert su.execute("select * from public.called").fetchall() == []


def check_nothing_stays(bouncer):
    """Other clients of the pooler find its connections as they were: each of them, for all are asked at once."""
    with psycopg.connect(bouncer.dsn) as one, psycopg.connect(bouncer.dsn) as other:
        paths = [client.execute("show search_path").fetchone() for client in (one, other)]
    assert paths == [('"$user", public',)] * 2


def test_behind_a_pooler_in_transaction_mode_the_worker_calls_nothing_and_leaves_nothing(trapped, wait_until):
    su = trapped.connect()
    sink = Sink()
    with contextlib.closing(sink), pooled(trapped, "forwarder") as bouncer:
        (sink.secret,) = su.execute(
            'select audit.add_destination(\'s\', %s, options => \'{"allow_http": true, "allowed_networks": ["127.0.0.0/8"]}\')',
            [sink.url],
        ).fetchone()
        worker = command.start("forward", "--dsn", bouncer.dsn)
        try:
            for number in range(20):
                su.execute(
                    "insert into nemo.team (org_id, name) select id, %s from nemo.organization", [f"team {number}"]
                )
            wait_until(lambda: len(sink.accepted) > 20)
            check_nothing_stays(bouncer)
        finally:
            worker.kill()
            worker.wait()


def test_behind_it_the_command_line_and_the_page_call_nothing_and_leave_nothing(trapped, pgtrail):
    with pooled(trapped, "auditor") as bouncer:
        for arguments in (("log",), ("verify",), ("export", "-"), ("status",), ("doctor",)):
            done = pgtrail(*arguments, dsn=bouncer.dsn)
            assert "Traceback" not in done.stderr
            if arguments != ("doctor",):
                assert done.returncode == 0, done.stderr
        with serving(trapped, "--dsn", bouncer.dsn) as running, running.client() as client:
            assert "organization.created" in client.get("/").text
        check_nothing_stays(bouncer)


def test_migrate_says_that_it_needs_a_connection_of_its_own(bare_db, pgtrail):
    with (
        roomy_folder() as folder,
        PgBouncer(folder, bare_db, "postgres", f"{POOL}\nignore_startup_parameters = options") as bouncer,
    ):
        done = pgtrail("migrate", dsn=bouncer.dsn)
    assert done.returncode == 1
    assert "this connection goes through a pooler" in done.stderr


@pytest.mark.parametrize("owner", ["app", "postgres"])
def test_nobody_makes_the_bookkeeping_s_schema_before_us(bare_db, pgtrail, owner):
    bare_db.connect().execute(f"create schema pgtrail_meta authorization {owner}")
    done = pgtrail("migrate", dsn=bare_db.dsn())
    assert done.returncode == (1 if owner == "app" else 0), done.stderr
    if owner == "app":
        assert "the schema pgtrail_meta belongs to app, whose code would run as this role" in done.stderr


HOSTILE = {
    "datestyle": "'SQL, DMY'", "intervalstyle": "iso_8601", "timezone": "'Asia/Kathmandu'", "bytea_output": "escape",
    "extra_float_digits": "-15", "default_transaction_isolation": "serializable", "array_nulls": "off",
    "quote_all_identifiers": "on", "row_security": "off", "transform_null_equals": "on",
    "standard_conforming_strings": "off", "search_path": "public", "escape_string_warning": "off",
    "default_transaction_deferrable": "on", "client_min_messages": "warning", "xmloption": "document",
    "lc_monetary": "'C'", "lc_numeric": "'C'", "lc_time": "'C'", "enable_indexscan": "off", "jit": "on",
}  # fmt: skip
READING = [
    ["log"], ["log", "--json"], ["log", "--since", "1d"], ["show", "{id}"], ["show", "{id}", "--json"],
    ["export", "-"], ["export", "-", "--fields"], ["status"], ["doctor"], ["destination", "show"],
    ["destination", "show", "--json"], ["destination", "show", "siem"], ["destination", "show", "siem", "--json"],
    ["verify"], ["proof", "make", "{id}"], ["suggest", "nemo"],
]  # fmt: skip
WRITING = [
    ["track", "nemo.team", "--category", "teams"], ["baseline", "nemo.organization"], ["seal"],
    ["retention", "set", "400d"], ["retention", "hold", "h", "--reason", "r", "--since", "2026-01-02"],
    ["retention", "release", "h"], ["destination", "rotate-secret", "siem"], ["destination", "replay", "siem", "--since", "1d", "--reason", "r"],
    ["destination", "pause", "siem"], ["destination", "remove", "siem", "--now", "--yes"], ["untrack", "nemo.team"], ["migrate"],
]  # fmt: skip


@pytest.fixture
def busy(nemo, pgtrail):
    """Something of everything that commands show."""
    su = nemo.connect()
    su.execute("insert into nemo.organization (name, slug) values ('Ácmé 🦊', 'acme')")
    su.execute("select audit.add_destination('siem', 'https://siem.example', options => '{\"since\": \"2026-02-03\"}')")
    su.execute("select audit.pause_destination('siem')")
    su.execute("select audit.set_retention('400 days 3 hours')")
    su.execute("select audit.place_hold('old', 'r', 'acme', '2020-02-03', '2020-03-04 05:06:07.89')")
    assert pgtrail("seal", dsn=nemo.dsn()).returncode == 0
    (event_id,) = su.execute("select max(id) from audit.event where action = 'organization.created'").fetchone()
    return nemo, str(event_id)


def hostile(way, database):
    """The environment of a client whose settings are others: by its own, or by those of its role and database."""
    if way == "environment":
        options = " ".join(
            f"-c {name}={value.strip(chr(39)).replace(' ', chr(92) + ' ')}" for name, value in HOSTILE.items()
        )
        return {
            "PGOPTIONS": options,
            "PGDATESTYLE": "German, DMY",
            "PGTZ": "Asia/Kathmandu",
            "PGCLIENTENCODING": "LATIN1",
        }
    su = database.connect()
    of = f"role postgres in database {database.name}"
    for name, value in HOSTILE.items():
        su.execute(f"alter {of} set {name} = {value}")
    su.execute(f"alter {of} set client_encoding = latin1")
    return {}


def steady(arguments, text):
    """What a command says, without counts and times of the present, and what the doctor finds after a while."""
    text = "".join(line for line in text.splitlines(keepends=True) if "standstill" not in line)
    return re.sub(r"[\d:., ]+", " ", text) if arguments[0] in ("status", "doctor", "destination") else text


@pytest.mark.parametrize("way", ["environment", "role"])
def test_every_command_says_the_same_whatever_a_client_sets(busy, pgtrail, way):
    database, event_id = busy
    reading = [[part.format(id=event_id) for part in arguments] for arguments in READING]
    # (An export is an event: those that follow have it.)
    until = ["--until", database.connect().execute("select clock_timestamp()::text").fetchone()[0]]
    reading = [[*arguments, *(until if arguments[0] in ("log", "export") else ())] for arguments in reading]
    zone = {"TZ": "Asia/Kathmandu"}
    before = [pgtrail(*arguments, dsn=database.dsn(), **zone) for arguments in reading]
    environment = zone | hostile(way, database)
    for arguments, plain in zip(reading, before, strict=True):
        done = pgtrail(*arguments, dsn=database.dsn(), **environment)
        assert done.returncode == plain.returncode, (arguments, done.stderr)
        assert steady(arguments, done.stdout) == steady(arguments, plain.stdout)
        assert "Traceback" not in done.stderr
    for arguments in WRITING:
        done = pgtrail(*arguments, dsn=database.dsn(), **environment)
        assert done.returncode == 0, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "arguments", "says"),
    [
        ("default_transaction_read_only=on", ["retention", "set", "400d"], "default_transaction_read_only"),
        ("statement_timeout=1", ["export", "-"], "statement_timeout"),
    ],
)
def test_what_a_client_forbids_is_one_line(busy, pgtrail, setting, arguments, says):
    database, _ = busy
    if "timeout" in setting:
        database.connect().execute(
            "insert into audit.event (occurred_at, category, action, resource_type, resource_id, actor_type, actor_id) "
            "select now(), 'teams', 'team.created', 'team', n::text, 'user', 'ann' from generate_series(1, 30000) as n"
        )
    done = pgtrail(*arguments, dsn=database.dsn(), PGOPTIONS=f"-c {setting}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert says in line


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_a_database_in_another_encoding_is_refused_before_anything_is_made(server, pgtrail, encoding):
    name = f"other_{encoding.lower()}"
    with psycopg.connect(server.dsn(), autocommit=True) as su:
        su.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
        try:
            done = pgtrail("migrate", dsn=server.dsn(name))
            with psycopg.connect(server.dsn(name)) as there:
                made = there.execute(
                    "select count(*) from pg_namespace where nspname in ('audit', 'pgtrail_meta')"
                ).fetchone()
        finally:
            su.execute(f"drop database {name}")
    assert (done.returncode, made) == (1, (0,))
    (line,) = done.stderr.splitlines()
    assert f"encoding is {encoding}" in line
    assert "encoding 'UTF8'" in line


def output(database, *arguments, **environment):
    """What a command writes, as its reader decodes it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    done = subprocess.run(
        [*command.COMMAND, *arguments], env=env | environment | {"PGTRAIL_DSN": database.dsn()}, capture_output=True
    )
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout.decode(encoding)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        # (Here click writes UTF-8, which is never wrong.)
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["latin-1", "C"],
)
def test_every_terminal_gets_every_text(busy, pgtrail, environment):
    database, event_id = busy
    for arguments in (["log"], ["show", event_id], ["suggest", "nemo"]):
        assert output(database, *arguments, **environment)
    for arguments in (["log", "--json"], ["show", event_id, "--json"], ["proof", "make", event_id]):
        plain, here = output(database, *arguments), output(database, *arguments, **environment)
        if arguments[0] == "proof":
            assert json.loads(plain) == json.loads(here)
            assert pgtrail("proof", "check", "-", input=here).returncode == 0
        else:
            assert [json.loads(line) for line in here.splitlines()] == [json.loads(line) for line in plain.splitlines()]
