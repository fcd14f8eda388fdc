"""A standby: what reads works there, follows what arrives, and what writes says so in one line."""

import json
import select
import shutil
import subprocess
from contextlib import ExitStack

import pytest
from tests import command
from tests.conftest import NEMO, Database, prepared_folder, roomy_folder
from tests.web.conftest import serving

from pgtrail.server.embedded import EmbeddedPostgres


@pytest.fixture
def pair(binaries, request, wait_until):
    """A primary with the reference application, and its standby."""
    with ExitStack() as stack:
        data = stack.enter_context(prepared_folder(request.config, binaries))
        copied = stack.enter_context(roomy_folder()) / "data"
        subprocess.run(["cp", "-a", data, copied], check=True)
        settings = {"fsync": "off", "max_connections": "200", "max_prepared_transactions": "8"}
        first = stack.enter_context(EmbeddedPostgres(data, binaries, settings))
        (copied / "standby.signal").touch()
        shutil.chown(copied / "standby.signal", (copied / "PG_VERSION").stat().st_uid)
        upstream = f"host={first.socket_dir} port=5432 user=postgres"
        second = stack.enter_context(EmbeddedPostgres(copied, binaries, settings | {"primary_conninfo": upstream}))
        primary, standby = Database(first, NEMO), Database(second, NEMO)
        su, there = primary.connect(), standby.connect()
        stack.callback(primary.close)
        stack.callback(standby.close)

        def caught_up():
            (reached,) = su.execute("select pg_current_wal_lsn()::text").fetchone()
            wait_until(
                lambda: there.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", [reached]).fetchone() == (True,)
            )

        su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
        su.execute("select audit.seal()")
        caught_up()
        yield primary, standby, caught_up


def test_what_reads_works_and_what_writes_says_that_it_is_a_standby(pair, pgtrail):
    _, standby, _ = pair
    for arguments in (
        ("log",),
        ("status",),
        ("verify",),
        ("destination", "show"),
        ("show", "1"),
    ):
        done = pgtrail(*arguments, dsn=standby.dsn())
        assert done.returncode == 0, (arguments, done.stderr)
    assert "organization.created" in pgtrail("log", "--json", dsn=standby.dsn()).stdout
    for arguments in (
        ("track", "nemo.team"), ("untrack", "nemo.team"), ("export", "-"), ("seal",), ("forward",), ("erase-actor", "ann", "--reason", "x", "--yes"),
        ("destination", "add", "x", "--url", "https://x.example"), ("retention", "set", "400d"), ("retention", "hold", "h", "--reason", "x"),
        ("baseline", "nemo.team"), ("hub", "init"),
    ):  # fmt: skip
        done = pgtrail(*arguments, dsn=standby.dsn())
        assert done.returncode != 0, arguments
        assert len(done.stderr.splitlines()) == 1, (arguments, done.stderr)
        assert "primary" in done.stderr or arguments[0] == "erase-actor", (arguments, done.stderr)
    with serving(standby) as page, page.client() as client:
        assert "organization.created" in client.get("/").text


def test_the_doctor_says_that_it_is_one_and_what_holds(pair, pgtrail):
    primary, standby, caught_up = pair
    done = pgtrail("doctor", "--json", dsn=standby.dsn())
    assert done.returncode == 0, done.stderr
    (finding,) = map(json.loads, done.stdout.splitlines())
    assert (finding["problem"], finding["subject"]) == ("information", "standby")
    assert done.stderr == "pgtrail: nothing is wrong that a standby can see\n"
    primary.connect().execute("alter table nemo.team disable trigger pgtrail_update")
    caught_up()
    done = pgtrail("doctor", "--json", dsn=standby.dsn())
    assert [json.loads(line)["problem"] for line in done.stdout.splitlines()] == ["trigger disabled", "information"]


def test_following_it_prints_each_event_once_also_those_of_transactions_that_were_in_flight(pair, wait_until):
    primary, standby, caught_up = pair
    su, slow = primary.connect(), primary.connect(autocommit=False)
    slow.execute("insert into nemo.team (org_id, name) select id, 'slow' from nemo.organization")
    su.execute("insert into nemo.team (org_id, name) select id, 'before' from nemo.organization")
    caught_up()
    process = command.start(
        "log", "-f", "--json", "--category", "teams", "--dsn", standby.dsn(), stdout=subprocess.PIPE, text=True
    )
    lines = []

    def labels():
        while select.select([process.stdout], [], [], 0)[0]:
            lines.append(process.stdout.readline())
        return [json.loads(line)["resource"]["label"] for line in lines]

    try:
        wait_until(lambda: labels() == ["before"])
        su.execute("insert into nemo.team (org_id, name) select id, 'after' from nemo.organization")
        wait_until(lambda: labels() == ["before", "after"])
        slow.commit()
        wait_until(lambda: labels() == ["before", "after", "slow"])
        su.execute("insert into nemo.team (org_id, name) select id, 'last' from nemo.organization")
        wait_until(lambda: labels()[-1] == "last")
        assert labels() == ["before", "after", "slow", "last"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
