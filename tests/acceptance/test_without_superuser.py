"""What the README says, as a role that owns its database and may create roles, and is no superuser: on a managed host."""

import csv
import json
import re
from contextlib import contextmanager

import psycopg
import pytest
from tests.conftest import roomy_folder
from tests.forwarding.conftest import sink, start_worker
from tests.web.conftest import serving

from pgtrail.server.embedded import EmbeddedPostgres

__all__ = ["sink", "start_worker"]

TABLE = """
create table api_key (id int primary key, org_id text, name text, rpm_limit int, key_hash text, spend numeric);
"""
WRITES = """
insert into api_key values (1, 'acme', 'prod', 60, 'argon2id$1', 0);
begin; select audit.set_actor('ann@acme.example'); update api_key set rpm_limit = 120, key_hash = '2'; commit;
"""
GRANTED = "grant audit_owner to bob with inherit true, set true"


class Host:
    """A server on which nobody is a superuser who is seen here; a database of each owner."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.su = psycopg.connect(server.dsn(), autocommit=True)
        self.has_options = server.binaries.major >= 16

    def add(self, owner: str) -> None:
        self.su.execute(f"create role {owner} login createrole")
        self.su.execute(f"create database {owner}_db owner {owner}")

    def dsn(self, user: str, database: str = "") -> str:
        return self.server.dsn(database or f"{user}_db", user)


@contextmanager
def hosting(binaries):
    with roomy_folder() as folder, EmbeddedPostgres(folder / "data", binaries, {"fsync": "off"}) as server:
        host = Host(server)
        host.add("alice")
        yield host
        host.su.close()


@pytest.fixture
def host(binaries):
    with hosting(binaries) as running:
        yield running


class OfOne:
    """One owner's database, for `serving`."""

    def __init__(self, host, user):
        self.dsn = lambda _: host.dsn(user)


def test_the_readme_holds_without_a_superuser(host, pgtrail, tmp_path, sink, start_worker, wait_until):
    dsn = host.dsn("alice")

    def run(*arguments, status=0):
        done = pgtrail(*arguments, dsn=dsn)
        assert done.returncode == status, (arguments, done.stderr)
        return done

    done = run("migrate")
    assert "no event triggers: only a superuser can create them" in done.stderr
    assert "audit.recompile()" in done.stderr
    assert "audit.recompile()" in run("migrate").stderr, "as long as it is so"
    with psycopg.connect(dsn, autocommit=True) as alice:
        alice.execute(TABLE)
        run("track", "public.api_key", "--resource", "key", "--category", "api_keys", "--label", "name", "--org", "org_id",
            "--ignore", "spend")  # fmt: skip
        alice.execute(WRITES)
        (count,) = alice.execute("select count(*) from audit.event").fetchone()
        assert alice.execute("select count(*) from audit.log").fetchone() == (count,)

        assert len(run("log", "--json").stdout.splitlines()) == count
        assert [json.loads(line)["action"] for line in run("log", "--json", "--org", "acme").stdout.splitlines()] == [
            "key.updated", "key.created",
        ]  # fmt: skip
        assert "key.updated" in run("log", "--category", "api_keys").stdout
        assert "no events match" in run("log", "--org", "other").stderr
        (event,) = alice.execute("select max(id) from audit.event where action = 'key.updated'").fetchone()
        assert "rpm_limit" in run("show", str(event)).stdout

        run("export", str(tmp_path / "all.csv"))
        with (tmp_path / "all.csv").open() as file:
            assert len(list(csv.DictReader(file))) == count + 1, "the export itself too"

        added = run(
            "destination",
            "add",
            "siem",
            "--url",
            sink.url,
            "--allow-http",
            "--allow-network",
            "127.0.0.0/8",
            "--since",
            "1h",
        )
        sink.secret = next(word for word in added.stdout.split() if word.startswith("whsec_"))
        worker = start_worker(dsn)
        wait_until(lambda: "key.updated" in [message["type"] for message in sink.accepted])
        wait_until(lambda: alice.execute("select count(*) > 0 from audit.seal").fetchone()[0])
        assert "siem" in run("destination", "show").stdout

        with serving(OfOne(host, "alice"), user="alice") as page, page.client() as client:
            assert "key.updated" in client.get("/").text
            assert "siem" in client.get("/destinations").text
            assert client.get(f"/events/{event}").status_code == 200

        done = run("doctor", "--json")
        assert [(json.loads(line)["problem"], json.loads(line)["subject"]) for line in done.stdout.splitlines()] == [
            ("information", "event triggers")
        ]
        assert "all is well" in done.stderr
        alice.execute("alter table api_key add column note text")
        assert "compiled out of date" in run("doctor", status=1).stdout
        alice.execute("select audit.recompile()")
        run("doctor")
        alice.execute("alter table api_key disable trigger pgtrail_update")
        assert "trigger disabled" in run("doctor", status=1).stdout
        alice.execute("select audit.recompile()")

        run("verify")
        run("shell", "-c", "select count(*) from audit.log")
        worker.kill()
        worker.wait()
    run("uninstall", "--no-export", "--yes", "--include-undelivered")
    with psycopg.connect(dsn, autocommit=True) as alice:
        alice.execute("insert into api_key values (2)")
        assert alice.execute("select to_regnamespace('audit')").fetchone() == (None,)
    assert host.su.execute("select count(*) from pg_roles where rolname like 'audit\\_%'").fetchone() == (0,)


def test_a_second_owner_on_the_cluster_is_told_the_grant_by_name(host, pgtrail):
    host.add("bob")
    assert pgtrail("migrate", dsn=host.dsn("alice")).returncode == 0
    done = pgtrail("migrate", dsn=host.dsn("bob"))
    if host.has_options:
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert f"let alice, a superuser run: {GRANTED}" in done.stderr
        # As whoever is named there.
        with psycopg.connect(host.dsn("alice"), autocommit=True) as alice:
            alice.execute(GRANTED)
        done = pgtrail("migrate", dsn=host.dsn("bob"))
    assert done.returncode == 0, done.stderr
    with psycopg.connect(host.dsn("bob"), autocommit=True) as bob:
        bob.execute(TABLE)
        assert pgtrail("track", "public.api_key", "--resource", "key", dsn=host.dsn("bob")).returncode == 0
        bob.execute(WRITES)
    assert "key.updated" in pgtrail("log", dsn=host.dsn("bob")).stdout
    assert pgtrail("verify", dsn=host.dsn("bob")).returncode == 0
    assert pgtrail("uninstall", "--no-export", "--yes", dsn=host.dsn("bob")).returncode == 0
    assert "audit.table_tracked" in pgtrail("log", dsn=host.dsn("alice")).stdout


def test_who_has_the_role_without_its_options_is_given_them_or_told(host, pgtrail):
    if not host.has_options:
        pytest.skip("before 16 a grant has no options")
    host.add("bob")
    host.su.execute("create role audit_owner; grant audit_owner to bob with inherit false, set false")
    done = pgtrail("migrate", dsn=host.dsn("bob"))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"let a superuser run: {GRANTED}" in done.stderr
    host.su.execute("grant audit_owner to bob with admin option")
    assert "roles" not in pgtrail("migrate", dsn=host.dsn("bob")).stderr.split("pgtrail: applied")[0]


def test_the_owner_of_another_table_of_the_database_is_told_the_grant_by_name(host, pgtrail):
    assert pgtrail("migrate", dsn=host.dsn("alice")).returncode == 0
    host.su.execute('create role "Carol C" login; grant all on database alice_db to "Carol C"')
    carols = host.dsn("Carol C", "alice_db")
    with (
        psycopg.connect(carols, autocommit=True) as carol,
        psycopg.connect(host.dsn("alice"), autocommit=True) as alice,
    ):
        carol.execute("create schema hers create table thing (id int primary key, name text)")
        done = pgtrail("track", "hers.thing", dsn=carols)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert 'grant audit_admin to "Carol C"' in done.stderr
        done = pgtrail("track", "hers.thing", dsn=host.dsn("alice"))
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert 'hers.thing belongs to "Carol C": connect as "Carol C"' in done.stderr
        (grant,) = re.findall(r"or run: (grant .*)\)$", done.stderr.strip())
        host.su.execute(grant)
        done = pgtrail("track", "hers.thing", dsn=host.dsn("alice"))
        assert done.returncode == 0, done.stderr
        assert pgtrail("untrack", "hers.thing", dsn=host.dsn("alice")).returncode == 0
        alice.execute('grant audit_admin to "Carol C"')
        done = pgtrail("track", "hers.thing", dsn=carols)
        assert done.returncode == 0, done.stderr
        carol.execute("insert into hers.thing values (1, 'a')")
        done = pgtrail("log", "--json", dsn=host.dsn("alice"))
        assert "thing.created" in done.stdout
