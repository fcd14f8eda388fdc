"""Each transaction of ours has our own settings, and no session has: directly, and behind a pooler in transaction mode."""

import contextlib

import psycopg
import pytest
from tests import command
from tests.conftest import roomy_folder
from tests.forwarding.conftest import Sink
from tests.pgbouncer import PgBouncer
from tests.web.conftest import serving

from pgtrail_cli.connection import open_connection

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
            assert found in pgtrail("tables", dsn=nemo.dsn()).stdout
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
            "select audit.add_destination('s', %s, allow_http => true, allowed_networks => '{127.0.0.0/8}')", [sink.url]
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
