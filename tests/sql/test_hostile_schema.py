"""A schema first in every path has an overload of everything that Postgres has: nothing of ours ever calls one."""

import re
import subprocess

import psycopg
import pytest
from tests import command, hostile
from tests.conftest import LOGINS, clone
from tests.documents import psql
from tests.forwarding.conftest import Sink
from tests.sql.test_every_type import TYPES
from tests.sql.test_shadowing import CALLS
from tests.web.conftest import serving

from pgtrail_cli.demo.reference import migrate_with_reference

OWN = {"options": "-c search_path=pg_catalog,public,pg_temp"}
"""For statements of the test's own."""


@pytest.fixture(scope="session")
def hostile_template(server):
    """The name of a database where the schema was there before pgtrail was, and what installing that called."""
    for database in clone(server, "template1"):
        with psycopg.connect(database.dsn(), autocommit=True) as su:
            hostile.arm(su)
            hostile.point_at(su, ["postgres"])
        log = hostile.Log(server.log_file)
        migrate_with_reference(database.dsn())
        calls = log.calls()
        with psycopg.connect(database.dsn(**OWN), autocommit=True) as su:
            hostile.arm_relations(su)
            for login, group in LOGINS.items():
                if group:
                    su.execute(f"grant {group} to {login}")
            su.execute("grant usage on schema nemo to app, admin")
            su.execute("grant select, insert, update, delete, truncate on all tables in schema nemo to app")
        yield database.name, calls


@pytest.fixture
def armed(server, hostile_template):
    for database in clone(server, hostile_template[0]):
        with psycopg.connect(database.dsn(**OWN), autocommit=True) as su:
            hostile.point_at(su, ["postgres", *LOGINS])
            su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
        with psycopg.connect(database.dsn("app", **OWN), autocommit=True) as app:
            app.execute("insert into nemo.team (org_id, name) select id, 'first' from nemo.organization")
        yield database


@pytest.fixture
def calls(server, armed):
    """What was called so far."""
    return hostile.Log(server.log_file).calls


def test_nothing_is_called_by_migrate(hostile_template):
    assert hostile_template[1] == []


def test_the_traps_do_go_off(armed, calls):
    """Otherwise the tests here would prove nothing."""
    su = armed.connect()
    for statement in (
        "select 1 = 1",
        "select 'x'::text",
        "select from pg_class limit 1",
        "select lower('X'::pg_catalog.text)",
        "select pg_catalog.max(x) from unnest('{1}'::pg_catalog.int8[]) as x",
        "select array_remove('{a}'::pg_catalog.text[], 'a'::pg_catalog.text)",
        "select '1'::pg_catalog.numeric * 2",
    ):
        before = len(calls())
        su.execute(statement)
        assert len(calls()) > before, statement


def test_capture_of_every_type_by_every_command_calls_nothing(armed, calls):
    own = armed.connect(**OWN)
    own.execute("create type public.mood as enum ('good'); create domain public.moods as public.mood[]")
    own.execute("create domain public.label as text; create type public.pair as (x int, y text)")
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(TYPES))
    own.execute(f"create table public.thing (id int primary key, org text, hits int, {columns})")
    own.execute("create table public.part (id int primary key, hits int, name text) partition by range (id)")
    own.execute("create table public.part_1 partition of public.part for values from (0) to (100)")
    own.execute("create table public.many (id int primary key, org text, name text)")
    su = armed.connect()
    for statement in (
        "select audit.track('public.thing', 'thing', org => 'org', label => 'c6', ignore => '{hits}', secret => '{c20.a}')",
        "select audit.rule('public.thing', 'thing.renamed', 'thing', 'UPDATE', 'new.c6 is distinct from old.c6 and new.c6 <> ''x''')",
        "select audit.track('public.part', 'part', label => 'name', ignore => '{hits}')",
        "select audit.track('public.many', 'many', org => 'org', bulk => true)",
        "call audit.record_baseline('public.thing')",
    ):
        su.execute(statement)
    app = armed.connect()
    app.execute("select audit.set_actor('x')")
    values = {
        "boolean": "true",
        "bigint": "1",
        "numeric": "1.5",
        "text": "a",
        "jsonb": '{"a": 1}',
        "json": "{}",
        "text[]": "{a}",
    }
    names = ", ".join(f"c{number}" for number, kind in enumerate(TYPES) if kind in values)
    literals = ", ".join(f"'{values[kind]}'" for kind in TYPES if kind in values)
    for statement in (
        f"insert into public.thing (id, org, {names}) values (1, 'o', {literals}), (2, 'o', {literals})",
        "update public.thing set c6 = 'b'",
        "update public.thing set hits = 1",
        "insert into public.thing (id) values (1) on conflict (id) do update set c6 = 'c'",
        "merge into public.thing using (values (1)) as given (id) on thing.id operator(pg_catalog.=) given.id when matched then update set c6 = 'd'",
        "delete from public.thing where id operator(pg_catalog.=) 2",
        "truncate public.thing",
        "insert into public.part values (1, 1, 'a'), (2, 1, 'b')",
        "update public.part set name = 'c'",
        "update public.part set hits = 2",
        "delete from public.part where id operator(pg_catalog.=) 2",
        "truncate public.part",
        "insert into public.many values (1, 'o', 'a'), (2, 'o', 'b')",
        "update public.many set name = 'c'",
        "delete from public.many",
        "alter table public.many add column more text",
        "alter table public.part disable trigger all",
        "create table public.part_2 partition of public.part for values from (100) to (200)",
        "drop table public.many",
        "insert into nemo.team (org_id, name) select id, 'x' from nemo.organization",
        "update nemo.team set models = '{a}'",
        "delete from nemo.organization",
    ):
        app.execute(statement)
    with app.cursor().copy("copy public.thing (id, c6) from stdin") as rows:
        rows.write("3\tcopied\n")
    assert (
        own.execute("select count(*) from audit.event where category in ('thing', 'part', 'many')").fetchone()[0] > 20
    )
    assert calls() == []


@pytest.mark.parametrize("user", CALLS)
def test_what_people_call_in_psql_calls_nothing(armed, calls, user):
    connection = armed.connect(user)
    for call in CALLS[user]:
        connection.execute(call.replace("{{", "{").replace("}}", "}"))
    for view in ("log", "diff", "export", "today", "last_7_days", "teams", "destination_status"):
        if user == "auditor":
            connection.execute(f"select * from audit.{view}")
    assert calls() == []


def test_the_command_line_calls_nothing(armed, calls, pgtrail, tmp_path):
    own = armed.connect(**OWN)
    own.execute("insert into nemo.team (org_id, name) select id, 'x' from nemo.organization")
    own.execute("create table public.users (id int primary key, name text)")
    for user, *arguments in (
        ("postgres", "track", "users", "--label", "name"),
        ("postgres", "baseline", "users"),
        ("postgres", "untrack", "public.users"),
        ("postgres", "status"),
        ("postgres", "doctor"),
        ("postgres", "seal"),
        ("postgres", "verify"),
        ("auditor", "verify"),
        ("auditor", "log", "--since", "1h", "--action", "team.*"),
        ("auditor", "log", "--json"),
        ("auditor", "show", "1"),
        ("auditor", "export", str(tmp_path / "all.csv")),
        ("auditor", "export", str(tmp_path / "teams.csv"), "--category", "teams"),
        ("postgres", "suggest", "public", "nemo"),
        ("admin", "destination", "add", "siem", "--url", "https://siem.example/"),
        ("admin", "destination", "show"),
        ("admin", "destination", "show", "siem"),
        ("admin", "destination", "replay", "siem", "--since", "1h", "--reason", "why"),
        ("postgres", "retention", "run", "--dry-run"),
        ("postgres", "hub", "init"),
        ("postgres", "status", "--json"),
        ("postgres", "migrate"),
        ("postgres", "uninstall", "--dry-run"),
        ("postgres", "uninstall", "--yes", "--no-export"),
    ):
        done = pgtrail(*arguments, dsn=armed.dsn(user), PGOPTIONS=f"-c search_path={hostile.PATH.replace(' ', '')}")
        assert done.returncode in (0, 1), (arguments, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        assert calls() == [], arguments


def test_a_preset_that_psql_runs_calls_nothing(armed, calls, pgtrail):
    psql(armed.server, armed.dsn(), pgtrail("preset", "nemo").stdout)
    assert calls() == []


def test_an_import_calls_nothing(armed, calls, pgtrail):
    own = armed.connect(**OWN)
    own.execute(
        "create schema supa; create table supa.record_version (id bigserial primary key, record_id uuid, old_record_id uuid, "
        "op text, ts timestamptz not null default now(), table_oid oid, table_schema name, table_name name, record jsonb, old_record jsonb)"
    )
    own.execute(
        "insert into supa.record_version (record_id, op, table_oid, table_schema, table_name, record) "
        "select gen_random_uuid(), 'INSERT', 'nemo.team'::regclass, 'nemo', 'team', to_jsonb(team) "
        "from (select gen_random_uuid() as id, 'x' as name) as team"
    )
    for arguments in (("--dry-run",), ("--table", "supa.record_version")):
        done = pgtrail("import", "supa_audit", *arguments, dsn=armed.dsn())
        assert done.returncode == 0, done.stderr
        assert calls() == []


def test_the_worker_calls_nothing(armed, calls, wait_until):
    su = armed.connect(**OWN)
    sink = Sink()
    try:
        (sink.secret,) = su.execute(
            'select audit.add_destination(\'s\', %s, options => \'{"allow_http": true, "allowed_networks": ["127.0.0.0/8"]}\')',
            [sink.url],
        ).fetchone()
        worker = command.start("forward", "--dsn", armed.dsn("forwarder"), stderr=subprocess.DEVNULL)
        try:
            su.execute("insert into nemo.team (org_id, name) select id, 'x' from nemo.organization")
            wait_until(lambda: [message for message in sink.accepted if message["type"] == "team.created"])
            wait_until(lambda: su.execute("select from audit.seal").fetchone() is not None)
        finally:
            worker.kill()
            worker.wait()
    finally:
        sink.close()
    assert calls() == []


def test_the_page_calls_nothing(armed, calls):
    su = armed.connect(**OWN)
    su.execute("select audit.add_destination('siem', 'https://siem.example/')")
    su.execute("insert into nemo.team (org_id, name) select id, 'x' from nemo.organization")
    (event,) = su.execute("select max(id) from audit.event where category = 'teams'").fetchone()
    with serving(armed, user="admin") as running, running.client() as client:
        for path in (
            "/",
            "/?action=team.*&days=7",
            f"/events/{event}",
            "/destinations",
            "/destinations/siem",
            "/chart",
        ):
            client.get(path)
        token = re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)[1]
        assert "team.created" in client.post("/export", data={"csrf": token}).text
    assert calls() == []


REACHED = """
select distinct pg_proc.oid
from pg_depend
join pg_proc on pg_proc.oid = refobjid and pronamespace = any ('{audit,audit_internal}'::regnamespace[])
where refclassid = 'pg_proc'::regclass and classid <> 'pg_proc'::regclass and proname not like 'capture %'
union
select oid from pg_proc where pronamespace = 'audit'::regnamespace and has_function_privilege('public', oid, 'execute')
"""
"""What Postgres calls under the path of whoever uses a view or a table, and what an application calls."""
FUNCTIONS = """
select oid, proname, prosrc, exists (select from unnest(proconfig) as setting where setting like 'search\\_path=%')
from pg_proc
where pronamespace = any ('{audit,audit_internal}'::regnamespace[])
"""
WRITTEN = re.compile(r"--[^\n]*|E?'(?:[^'\\]|\\.|'')*'|operator\(pg_catalog\.[^)]+\)|=>|\(\*\)|\.\*")
"""Comments, strings, and what says whose it is."""
UNQUALIFIED = re.compile(
    r"[=<>~|@#!?*/+]|->|::(?!pg_catalog\.)|collate \"|distinct from|\bin \(|between|nullif|(?<![.\w])(?!any|array|coalesce|case|when|then|and|or|not|select|exists|row|null|values|as|on|with)[a-z_]+\("
)


def test_what_a_view_calls_says_whose_its_operators_are_or_has_a_path_of_its_own(db, su):
    """A function with a path of its own can't be inlined, which costs a view a multiple."""
    functions = {oid: row for oid, *row in su.execute(FUNCTIONS)}
    reached, seen = [oid for (oid,) in su.execute(REACHED)], set()
    assert len(reached) > 10
    while reached:
        oid = reached.pop()
        name, source, pinned = functions[oid]
        if pinned or oid in seen:
            continue
        seen.add(oid)
        assert UNQUALIFIED.findall(WRITTEN.sub("", source)) == [], name
        called = set(re.findall(r"audit(?:_internal)?\.(\w+)\(", source))
        reached += [other for other, (name, *_) in functions.items() if name in called]
    assert 5 <= len(seen) < 20
