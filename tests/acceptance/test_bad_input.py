"""Bad input gets one line that says what and how to mend it, and changes nothing."""

import psycopg
import pytest

pytestmark = pytest.mark.any_server

ELEVEN = "api_keys, members, teams, organization, budgets, guardrails, plan, settings, data_policy, profile, password"

STATE = """
    select
        (select array_agg(t order by relation) from audit.tracked_table as t)::text,
        (select array_agg(d order by id) from audit.destination as d)::text,
        (select array_agg(c order by name) from audit.category as c)::text,
        (select count(*) from audit.event)
"""

CASES = [
    (["track", "nemo.nope"], 1, ['"nemo.nope" does not exist', "schema.table"]),
    (["track", "nope.nope.nope.nope"], 1, ["nope"]),
    (["track", "pg_catalog.pg_views"], 1, ["is a view", "Name an ordinary"]),
    (["track", "nemo.team", "--ignore", "nope"], 1, ['no column "nope"', "rpm_limit"]),
    (["track", "nemo.team", "--category", "nope"], 1, ['no category "nope"', ELEVEN]),
    (["untrack", "public.nothing"], 1, ["does not exist"]),
    (["log", "--category", "nope"], 1, ['no category "nope"', ELEVEN]),
    (["log", "--since", "tralala"], 1, ['invalid time "tralala"', "yesterday"]),
    (["log", "--until", "32nd"], 1, ['invalid time "32nd"']),
    (["log", "--limit", "0"], 2, ["0 is not in the range"]),
    (["show", "999999"], 1, ["no event 999999", "pgtrail log"]),
    (["show", "x"], 2, ['"x" is not an event id']),
    (["show", "9" * 30], 2, ["is not an event id"]),
    (["export", "/no/such/folder/x.csv"], 1, ["no such file or directory", "a folder that exists"]),
    (["export", "/proc/x.csv"], 1, ["can't write"]),
    (["destination", "add", "x", "--url", "no url"], 1, ['"no url" is not a URL', "https://"]),
    (
        ["destination", "add", "x", "--url", "https://x\x1b[31m.example/S3cret"],
        1,
        ['\\x1b[31m.example" is not a URL', "https://"],
    ),
    (["destination", "add", "x", "--url", "https://x.example:abc/"], 1, ["is not a URL", "https://"]),
    (["destination", "add", "x", "--url", "https://[x/"], 1, ["is not a URL", "https://"]),
    (["destination", "add", "x", "--url", "ftp://x.example"], 1, ["is not a URL", "https://"]),
    (["destination", "add", "x", "--url", "http://x.example"], 1, ["is not https", "--allow-http"]),
    (["destination", "add", "x", "--url", "https://u:hunter2@x.example/"], 1, ["is not a URL", "without a user name"]),
    (["destination", "add", "a b", "--url", "https://x.example"], 1, ["invalid destination name", "letters"]),
    (["destination", "add", "x", "--url", "https://x.example", "--format", "xml"], 1, ['no format "xml"', "webhook"]),
    (["destination", "add", "x", "--url", "https://x.example", "--category", "nope"], 1, ["no category", ELEVEN]),
    (["destination", "add", "x", "--url", "https://x.example", "--since", "nope"], 1, ["invalid time"]),
    (["destination", "add", "siem", "--url", "https://x.example"], 1, ["already", "another name"]),
    (
        ["destination", "add", "x", "--url", "https://10.0.0.7/"],
        1,
        ["10.0.0.7 is a private address", "--allow-network"],
    ),
    (
        ["destination", "add", "x", "--url", "https://[::ffff:10.0.0.7]:8443/"],
        1,
        ["private address", "--allow-network"],
    ),
    (
        ["destination", "add", "x", "--url", "https://x.example", "--allow-network", "10.0.0.1/8"],
        2,
        ["invalid network", "10.1.0.0/16"],
    ),
    (
        ["destination", "add", "x", "--url", "https://x.example", "--format", "datadog"],
        1,
        ["needs a token", "--token-env"],
    ),
    (
        ["destination", "add", "x", "--url", "https://x.example", "--token-env", "A", "--token-file", "b"],
        1,
        ["one token", "--token-env"],
    ),
    (
        ["destination", "add", "x", "--url", "https://x.example", "--token-env", "PGPASSWORD"],
        1,
        ["hold a token", "PG"],
    ),
    (
        ["destination", "add", "x", "--url", "https://x.example", "--oauth-url", "https://y.example"],
        1,
        ["client credentials are incomplete"],
    ),
    (["destination", "add", "x", "--url", "https://x.example", "--in-flight", "0"], 2, ["1<=x<=64"]),
    (["destination", "show", "nope"], 1, ['no destination "nope"', "siem"]),
    (["destination", "rotate-secret", "nope"], 1, ['no destination "nope"']),
    (["destination", "rotate-secret", "siem", "--overlap", "soon"], 2, ["not a valid float"]),
    (["destination", "rotate-secret", "siem", "--overlap", "nan"], 2, ["nan is not a finite number"]),
    (["forward", "--lease", "nan"], 2, ["nan is not a finite number"]),
    (["forward", "--metrics-address", "[::1]:9187"], 2, ["is not an address", "port has an option"]),
    (["page", "--session-minutes", "nan"], 2, ["nan is not a finite number"]),
    (["log", "--org", "a\udcffb"], 2, ["is not UTF-8", "write it in UTF-8"]),
    (["hub", "add", "eu1", "--dsn", "nan"], 2, ["invalid connection string"]),
    (["destination", "rebase", "nope", "--yes"], 1, ['no destination "nope"']),
    (["destination", "replay", "siem"], 2, ["Missing option '--reason'"]),
    (["destination", "replay", "siem", "--reason", " ", "--since", "1d"], 1, ["a replay needs a reason"]),
    (["destination", "test", "siem", "--event", "4711"], 1, ["there is no event 4711"]),
    (["destination", "pause", "nope"], 1, ['no destination "nope"', "siem"]),
    (["destination", "remove", "nope", "--yes"], 1, ['no destination "nope"']),
    (["destination", "test", "nope"], 1, ['no destination "nope"']),
    (["nope"], 2, ["No such command 'nope'", "try: pgtrail --help"]),
    (["log", "--nope"], 2, ["No such option", "try: pgtrail log --help"]),
    (["show"], 2, ["Missing argument 'ID'", "try: pgtrail show --help"]),
    (["destination", "add", "x"], 2, ["Missing option '--url'", "try: pgtrail destination add --help"]),
    (["destination", "nope"], 2, ["No such command 'nope'", "try: pgtrail destination --help"]),
]


def the_line(done):
    """What was said, which has to be a single line."""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture
def database(nemo):
    nemo.connect().execute("select audit.add_destination('siem', 'https://siem.example')")
    return nemo


@pytest.mark.parametrize(
    ("arguments", "status", "says"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_gets_a_line_with_its_mend_and_changes_nothing(database, pgtrail, arguments, status, says):
    su = database.connect()
    before = su.execute(STATE).fetchone()
    done = pgtrail(*arguments, dsn=database.dsn())
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    line = the_line(done)
    assert "hunter2" not in line
    for part in says:
        assert part in line
    assert su.execute(STATE).fetchone() == before


def test_a_table_without_a_key_is_tracked_and_a_warning_says_what_it_is_known_by(database, pgtrail):
    database.connect().execute("create table public.keyless (name text)")
    done = pgtrail("track", "public.keyless", dsn=database.dsn())
    assert done.returncode == 0
    assert "keyless has no primary key: its events are identified by a digest of the whole row" in done.stderr


NEED_PGTRAIL = [
    ["log"], ["show", "1"], ["export", "x.csv"], ["status"], ["track", "pg_catalog.pg_class"], ["destination", "show"],
    ["destination", "add", "x", "--url", "https://x.example"], ["forward"], ["shell", "-c", "select 1"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", NEED_PGTRAIL, ids=" ".join)
def test_a_database_that_is_not_migrated_is_named_so(bare_db, pgtrail, arguments):
    done = pgtrail(*arguments, dsn=bare_db.dsn())
    assert done.returncode == 1
    line = the_line(done)
    assert "has no pgtrail" in line
    assert "pgtrail migrate" in line


@pytest.mark.parametrize("arguments", [*NEED_PGTRAIL, ["migrate"]], ids=" ".join)
def test_no_database_there_is_one_line(server, pgtrail, arguments):
    done = pgtrail(*arguments, dsn=server.dsn("no_such_database"))
    assert done.returncode == 1
    line = the_line(done)
    assert 'database "no_such_database" does not exist' in line
    assert "create it first" in line


def test_no_server_there_is_one_line(pgtrail, tmp_path):
    for target in (f"host={tmp_path}", "host=127.0.0.1 port=1", "host=nowhere.invalid"):
        done = pgtrail("log", dsn=f"{target} user=x dbname=x password=hunter2")
        assert done.returncode == 1
        line = the_line(done)
        assert "no connection to the database" in line
        assert "is the server running" in line
        assert "hunter2" not in line


def test_a_connection_string_that_is_none_is_a_usage_error(pgtrail):
    done = pgtrail("log", "--dsn", "postgresql://[")
    assert done.returncode == 2
    assert "postgresql://user@host/database" in the_line(done)


def test_a_role_without_a_grant_is_told_which_one_it_needs(database, pgtrail):
    for arguments in (["log"], ["export", "-"], ["destination", "show"], ["track", "nemo.team"], ["forward"]):
        done = pgtrail(*arguments, dsn=database.dsn("app"))
        assert done.returncode == 1
        assert "audit_reader" in the_line(done)


def test_a_wrong_password_is_one_line_without_the_password(binaries, pgtrail, folder):
    import socket

    from pgtrail.server.embedded import EmbeddedPostgres

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with EmbeddedPostgres(folder / "data", binaries, {"fsync": "off"}, tcp_port=port) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("alter role postgres password 'right'")
        done = pgtrail("log", dsn=f"host=127.0.0.1 port={port} user=postgres dbname=postgres password=hunter2")
    assert done.returncode == 1
    line = the_line(done)
    assert "password authentication failed" in line
    assert "~/.pgpass" in line
    assert "hunter2" not in line
