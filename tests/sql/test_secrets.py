"""No error and no log of the server has a secret, whatever an administrator gives the functions that keep them."""

import re

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests import command

pytestmark = pytest.mark.any_server

SIGNED = "https://siem.example/hook"
TOKEN = "T0ken-that-nobody-must-see"
GIVEN = f'{{"token": "{TOKEN}"}}'
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]|" + TOKEN)
FIELDS = ("message_primary", "message_detail", "message_hint", "context", "internal_query")

GOOD = {
    "add_destination": {"name": "'new'", "url": f"'{SIGNED}'", "options": f"'{GIVEN}'"},
    "rotate_secret": {"destination_name": "'siem'"},
    "set_token": {"destination_name": "'siem'", "token": f"'{TOKEN}'"},
    "pause_destination": {"destination_name": "'siem'"},
    "remove_destination": {"destination_name": "'siem'"},
    "rebase_destination": {"destination_name": "'siem'"},
    "replay_events": {"destination_name": "'siem'", "reason": "'because'", "since": "'1970-01-01'"},
    "redrive_dead_letters": {"destination_name": "'siem'", "reason": "'because'"},
}
LONG = "repeat('x', 1000000)"
HOSTILE = {
    "text": ["null", "''", "'siem'", "E'a\\nb'", "E'\\u202e'", LONG, "' a b '", "'webhook'", "'sentinel'", "'../x'"],
    "text[]": ["null", "'{}'", "array[null]::text[]", "'{{a,b},{c,d}}'", f"array[{LONG}]", "array[repeat('*a', 900)]"],
    "bigint[]": ["null", "'{}'", "array[null]::bigint[]", "'{{1,2},{3,4}}'"],
    "cidr[]": ["null", "'{}'", "array[null]::cidr[]", "'{{10.0.0.0/8,::/0}}'"],
    "boolean": ["null", "true", "false"],
    "jsonb": [
        "null", "'[]'", "'7'", f"'[\"{TOKEN}\"]'", f"'{{\"token\": [\"{TOKEN}\"]}}'", f"'{{\"token\": \"{TOKEN} \"}}'",
        f"'{{\"gzip\": \"{TOKEN}\"}}'", f"'{{\"max_in_flight\": 1.5, \"token\": \"{TOKEN}\"}}'",
        f"'{{\"allowed_networks\": [\"{TOKEN}\"]}}'", f"'{{\"token_env\": \"{TOKEN}\"}}'", f"'{{\"tokem\": \"{TOKEN}\"}}'",
    ],
    "integer": ["null", "0", "-1", "65", "2147483647"],
    "interval": [
        "null", "'-1 second'", "'178000000 years'", "'-178000000 years'", "'1 month 1 second'", "'infinity'", "'2147483647 days'",
    ],
    "timestamp with time zone": ["null", "'infinity'", "'-infinity'", "'294276-12-31'", "'4713-01-01 BC'"],
}  # fmt: skip
ARGUMENTS = """
    select given.name, format_type(given.type, null)
    from pg_proc
    cross join lateral unnest(proargnames, proargtypes::oid[]) as given (name, type)
    where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and proname = %s and given.type is not null
"""


@pytest.fixture
def siem(db):
    su = db.connect()
    su.execute(f"select audit.add_destination('siem', '{SIGNED}', options => '{GIVEN}')")
    return db


def told(error):
    return " ".join(str(getattr(error.diag, field)) for field in FIELDS)


@pytest.mark.parametrize("function", GOOD)
def test_no_argument_makes_an_error_that_quotes_a_secret(siem, server, function):
    su, admin = siem.connect(), siem.connect("admin")
    logged_before = server.log_file.stat().st_size
    refused = []
    arguments = su.execute(ARGUMENTS, [function]).fetchall()
    assert arguments
    for argument, type in arguments:
        for value in [*HOSTILE[type], *([f"'{TOKEN} '"] if argument.startswith("token") else [])]:
            if value == "'infinity'" and type == "interval" and su.info.server_version < 170000:
                continue
            given = GOOD[function] | {argument: f"{value}::{type}"}
            call = ", ".join(f"{name} => {each}" for name, each in given.items())
            try:
                with admin.transaction(force_rollback=True):
                    admin.execute(f"select audit.{function}({call})")
            except psycopg.Error as error:
                refused.append((argument, value, error))
    assert refused
    assert [each for each in refused if SECRET.search(told(each[-1]))] == []
    assert [each for each in refused if not each[-1].sqlstate.startswith("PT")] == [], "they are pgtrail's own errors"
    with server.log_file.open("rb") as log:
        log.seek(logged_before)
        lines = [line for line in log.read().decode(errors="replace").splitlines() if "STATEMENT" not in line]
    # (What the caller wrote into the statement itself is theirs; no line of pgtrail's has it.)
    assert not [line for line in lines if SECRET.search(line) and function not in line]


def test_a_row_that_a_constraint_refuses_is_not_quoted(siem):
    su, admin = siem.connect(), siem.connect("admin")
    su.execute("alter table audit.destination_secret add constraint nobody check (false) not valid")
    su.execute("alter table audit.destination add constraint nobody check (name <> 'new') not valid")
    for call in (
        "audit.rotate_secret('siem')",
        f"audit.set_token('siem', '{TOKEN}')",
        f"audit.add_destination('new', '{SIGNED}', options => '{GIVEN}')",
        f"audit.add_destination('other', '{SIGNED}', options => '{GIVEN}')",
    ):
        with pytest.raises(psycopg.Error) as raised:
            admin.execute(f"select {call}")
        assert raised.value.sqlstate == "PT009", call
        assert not SECRET.search(told(raised.value)), call


def test_of_two_who_add_one_name_at_once_the_second_is_told_so(siem):
    first, second = siem.connect("admin", autocommit=False), siem.connect("admin")
    first.execute(f"select audit.add_destination('new', '{SIGNED}', options => '{GIVEN}')")
    second.execute("set lock_timeout = '10s'")
    with second.pipeline():
        waiting = second.execute(f"select audit.add_destination('new', '{SIGNED}', options => '{GIVEN}')")
        first.commit()
        with pytest.raises(psycopg.Error) as raised:
            waiting.fetchone()
    assert raised.value.sqlstate == "PT009"
    assert not SECRET.search(told(raised.value))


def test_a_url_that_is_refused_is_quoted_without_what_may_be_secret_in_it(db):
    admin = db.connect("admin")
    for url in (f"https://me:{TOKEN}@x.example/", f"https://x.example/{TOKEN} /", f"http://x.example/{TOKEN}",
                f"https://me:a/{TOKEN}@x.example /", f"{TOKEN}@"):  # fmt: skip
        with pytest.raises(psycopg.Error) as raised:
            admin.execute("select audit.add_destination('x', %s)", [url])
        assert raised.value.sqlstate == "PT009"
        assert TOKEN not in told(raised.value), url


def test_who_mistakes_the_token_for_the_name_of_its_variable_does_not_publish_it(db):
    with pytest.raises(psycopg.Error) as raised:
        db.connect("admin").execute(
            "select audit.add_destination('x', %s, options => %s)", [SIGNED, Jsonb({"token_env": TOKEN})]
        )
    assert raised.value.sqlstate == "PT009"
    assert TOKEN not in told(raised.value)


def test_a_server_that_logs_every_statement_logs_no_token(db, server, tmp_path):
    su = db.connect()
    for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_min_error_statement = 'debug5'",
                    "log_parameter_max_length_on_error = -1", "log_error_verbosity = 'verbose'"):  # fmt: skip
        su.execute(f"alter database {db.name} set {setting}")
    before = server.log_file.stat().st_size

    def run(*arguments, token):
        env = {"HOME": str(tmp_path), "PGTRAIL_DSN": db.dsn("admin")}
        return command.run("destination", *arguments, input=f"{token}\n", env=command.ENVIRONMENT | env)

    url = ("--url", "https://splunk.example", "--format", "splunk_hec", "--token-stdin")
    assert run("add", "splunk", *url, token=f"{TOKEN}1").returncode == 0
    assert run("set-token", "splunk", token=f"{TOKEN}2").returncode == 0
    # What fails is logged with its statement.
    assert run("add", "splunk", *url, token=f"{TOKEN}3").returncode == 1
    assert run("set-token", "nobody", token=f"{TOKEN}4").returncode == 1
    assert run("set-token", "splunk", token=f"{TOKEN} 5").returncode == 1
    su.execute("alter table audit.destination_secret add constraint nobody check (false) not valid")
    assert run("set-token", "splunk", token=f"{TOKEN}6").returncode == 1
    with server.log_file.open("rb") as log:
        log.seek(before)
        logged = log.read().decode(errors="replace")
    assert "audit.set_token" in logged, "it does log statements"
    assert TOKEN not in logged
    assert su.execute("select secret from audit.destination_secret where kind = 'token'").fetchone() == (f"{TOKEN}2",)


def test_stars_in_a_row_are_one(db):
    admin = db.connect("admin")
    admin.execute("set statement_timeout = '5s'")
    admin.execute("select audit.add_destination('x', %s, options => %s)", [SIGNED, Jsonb({"actions": ["*" * 1990]})])
    assert admin.execute("select events_behind from audit.destination_status").fetchone() == (2,)
    matched = (
        "select 'key.created' ~ audit_internal.glob(array['k**d']), 'key.created' ~ audit_internal.glob(array['k**x'])"
    )
    assert admin.execute(matched).fetchone() == (True, False)
