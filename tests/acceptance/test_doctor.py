"""`pgtrail doctor`, and what it says behind a pooler."""

import json

import pytest
from tests.pgbouncer import PgBouncer


def test_where_all_is_well_it_says_so_and_nothing_else(nemo, pgtrail):
    done = pgtrail("doctor", dsn=nemo.dsn())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "pgtrail: all is well\n")


def test_what_is_wrong_is_listed_with_its_mend(nemo, pgtrail):
    su = nemo.connect()
    su.execute("drop trigger pgtrail_update on nemo.team")
    su.execute("select audit.add_destination('siem', 'https://siem.example')")
    done = pgtrail("doctor", dsn=nemo.dsn())
    assert (done.returncode, done.stderr) == (1, "")
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["Problem", "Subject", "Finding", "Hint"]
    assert lines[0].startswith("trigger missing")
    assert "select audit.recompile('nemo.team')" in lines[0]
    assert [line.split("  ")[0] for line in lines if line[0] != " "] == ["trigger missing", "no worker", "information"]


def test_as_json_it_is_an_object_a_line(nemo, pgtrail):
    nemo.connect().execute("alter table nemo.team disable trigger pgtrail_delete")
    done = pgtrail("doctor", "--json", dsn=nemo.dsn())
    assert done.returncode == 1
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "problem": "trigger disabled",
            "subject": "nemo.team",
            "finding": "pgtrail_delete is disabled: what it would record is lost",
            "hint": "select audit.recompile('nemo.team')",
        }
    ]


def test_information_alone_is_nothing_wrong(nemo, pgtrail):
    nemo.connect().execute(
        "select audit.add_destination('siem', 'https://siem.example'), audit_internal.record_heartbeat('worker-1', '30 seconds')"
    )
    done = pgtrail("doctor", dsn=nemo.dsn())
    assert (done.returncode, done.stderr) == (0, "pgtrail: all is well\n")
    assert done.stdout.splitlines()[1].startswith("information")


def test_another_version_is_named(nemo, pgtrail):
    nemo.connect().execute("update audit.installation set files_hash = 'other'")
    done = pgtrail("doctor", "--json", dsn=nemo.dsn())
    assert done.returncode == 1
    (finding,) = map(json.loads, done.stdout.splitlines())
    assert (finding["problem"], finding["hint"]) == ("other version", "pgtrail migrate")


def test_what_a_table_is_called_does_not_steer_the_terminal(db, pgtrail):
    su = db.connect()
    su.execute('create table public."a\x1b[31m[bold]" (id int primary key)')
    su.execute("select audit.track('public.\"a\x1b[31m[bold]\"')")
    su.execute('drop trigger pgtrail_insert on public."a\x1b[31m[bold]"')
    done = pgtrail("doctor", dsn=db.dsn())
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "[bold]" in done.stdout


def test_a_database_without_pgtrail_is_told_how_to_get_it(bare_db, pgtrail):
    done = pgtrail("doctor", dsn=bare_db.dsn())
    assert done.returncode == 1
    assert "run: pgtrail migrate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def pooled(request, nemo, folder):
    """A connection string through a PgBouncer with the pool mode that the test asks for."""
    with PgBouncer(folder, nemo, "postgres", f"pool_mode = {request.param}") as bouncer:
        yield bouncer.dsn


@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
def test_behind_a_pooler_in_transaction_mode_it_says_that_no_notification_comes(pooled, nemo, pgtrail):
    # Twice: what the first left in the pool must not look like a connection that hears.
    for _ in range(2):
        done = pgtrail("doctor", "--json", dsn=pooled)
        assert (done.returncode, done.stderr) == (1, "")
        (finding,) = map(json.loads, done.stdout.splitlines())
        assert (finding["problem"], finding["subject"]) == ("deaf", "LISTEN")
        assert finding["hint"].startswith("give the worker a direct connection")
    assert pgtrail("doctor", dsn=nemo.dsn()).returncode == 0, "what the hint says"


@pytest.mark.parametrize("pooled", ["session"], indirect=True)
def test_behind_a_pooler_in_session_mode_all_is_well(pooled, pgtrail):
    done = pgtrail("doctor", dsn=pooled)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "pgtrail: all is well\n")
