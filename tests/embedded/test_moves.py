"""A database with pgtrail that moves: by a dump, by pg_upgrade, by logical replication."""

import itertools
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from tests.verifying import problems

from pgtrail.install import migrate
from pgtrail.server.binaries import find_binaries, readable_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail.server.server_user import server_user

QUICK = {"fsync": "off"}
numbers = itertools.count()
EVENTS = "select md5(string_agg(event::text, ' ' order by id)), count(*) from audit.event"


def run(server, program, *arguments, check=True, **options):
    """One of the server's own programs, as a client."""
    done = subprocess.run(
        [server.binaries.bin_dir / program, *arguments], capture_output=True, text=True, check=False, **options
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def fill(dsn):
    """Two tables, one in partitions, an event or two, a destination that is behind, a trigger that is switched off."""
    with psycopg.connect(dsn, autocommit=True) as su:
        su.execute("create schema shop")
        su.execute("create table shop.thing (id int primary key, name text)")
        su.execute("create table shop.part (id int primary key, name text) partition by range (id)")
        su.execute("create table shop.part_1 partition of shop.part for values from (0) to (10)")
        su.execute("select audit.track('shop.thing', 'thing', category => 'api_keys', label => 'name')")
        su.execute("select audit.track('shop.part', 'part', category => 'teams', label => 'name')")
        su.execute("select audit.rule('shop.thing', 'thing.named', 'api_keys', 'UPDATE', 'new.name <> old.name')")
        su.execute("select audit.add_destination('siem', 'https://siem.example.com/hooks')")
        su.execute("insert into shop.thing values (1, 'a')")
        su.execute("insert into shop.part values (1, 'a')")
        su.execute("update shop.thing set name = 'b'")
        su.execute("alter table shop.thing disable trigger pgtrail_delete")
        su.execute("select audit.seal()")
        # This one is not sealed yet when the database moves.
        su.execute("update shop.part set name = 'b'")


def check_that_capture_works(su):
    """Every operation is recorded, under ids that are new; what was switched off is still off, and nothing is told twice."""
    (last,) = su.execute("select max(id) from audit.event").fetchone()
    su.execute("update shop.thing set name = 'c'")
    su.execute("delete from shop.thing")
    su.execute("truncate shop.part")
    su.execute("create table shop.part_2 partition of shop.part for values from (10) to (20)")
    su.execute("insert into shop.part values (11, 'd')")
    su.execute("truncate shop.part_2")
    rows = su.execute("select id, action, operation from audit.event where id > %s order by id", [last]).fetchall()
    assert [row[1:] for row in rows] == [
        ("thing.named", "UPDATE"), ("part.deleted", "TRUNCATE"), ("part.created", "INSERT"), ("part.deleted", "TRUNCATE"),
    ]  # fmt: skip
    assert su.execute("select count(*) = count(distinct id) from audit.event").fetchone() == (True,)
    su.execute("alter table shop.thing enable trigger pgtrail_delete")
    row = su.execute("select action, before from audit.event order by id desc limit 1").fetchone()
    assert row == ("audit.capture_enabled", {"triggers": {"pgtrail_delete": "disabled"}})
    with pytest.raises(psycopg.Error, match="append-only"):
        su.execute("delete from audit.event")


def check_that_seals_hold_and_go_on(su):
    """Those that came along, the chain over what was not sealed when it moved and over what came since; and they do see a change."""
    assert problems(su) == []
    while su.execute("select audit.seal()").fetchone() != (None,):
        pass
    assert su.execute("select sum(events) = (select count(*) from audit.event) from audit.seal").fetchone() == (True,)
    assert problems(su) == []
    su.execute("alter table audit.event disable trigger refuse_change")
    su.execute("update audit.event set reason = 'another' where id = (select min(id) from audit.event)")
    assert [number for number, _, _ in problems(su)] == [1]


def take(su):
    """The events that a worker is handed, and delivers, until there are no more."""
    taken = []
    while True:
        token, ids = su.execute(
            "select lease_token, event_ids from audit_internal.next_batch((select id from audit.cursor), 'worker-1')"
        ).fetchone()
        if not ids:
            return taken
        taken += ids
        su.execute(
            "select audit_internal.record_delivery((select id from audit.cursor), %s, %s, %s)", [token, ids, max(ids)]
        )


def check_that_destinations_wait_for_a_rebase(su):
    with pytest.raises(psycopg.Error) as raised:
        take(su)
    assert raised.value.sqlstate == "PT013"
    assert ("restored elsewhere", "siem") in su.execute("select problem, subject from audit.doctor()").fetchall()
    su.execute("select audit.rebase_destination('siem', '1970-01-01')")
    every_id = su.execute("select array_agg(id order by id) from audit.event").fetchone()[0]
    assert take(su) == every_id


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_a_dump_restored_into_another_database_of_the_cluster_goes_on(server, db, bare_db, folder, form):
    fill(db.dsn())
    file = folder / "dump"
    run(server, "pg_dump", f"--format={form}", f"--file={file}", db.dsn())
    if form == "plain":
        run(server, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, bare_db.dsn())
    else:
        run(server, "pg_restore", "--exit-on-error", f"--dbname={bare_db.dsn()}", file)
    su = bare_db.connect()
    assert su.execute(EVENTS).fetchone() == db.connect().execute(EVENTS).fetchone()
    check_that_capture_works(su)
    assert not migrate(bare_db.dsn()).replaced, "up to date"
    # The cluster is the same and so are its transaction ids: the copy's destinations go on from where they were.
    assert take(su)
    check_that_seals_hold_and_go_on(su)


SETTINGS = "select label, ignore, secret, org from audit.tracked_table where name = 'shop.odd'"


@pytest.fixture
def shifted(server, db, bare_db, folder):
    """A restored table that had lost a column, and whose others have other numbers by that; and its settings before."""
    su = db.connect()
    su.execute("create schema shop")
    su.execute(
        "create table shop.odd (id int primary key, gone int, note text, pin text, name text, hits int, tokens int, org text)"
    )
    su.execute("alter table shop.odd drop column gone")
    # So had a table that a path leads through, which is not tracked.
    su.execute("create table shop.owner (gone int, id int primary key, name text, org text)")
    su.execute("alter table shop.owner drop column gone")
    su.execute("create table shop.part (gone int, id int primary key, owner_id int references shop.owner)")
    su.execute("alter table shop.part drop column gone")
    su.execute(
        "select audit.track('shop.part', org => 'owner_id -> shop.owner.org', label => 'owner_id -> shop.owner.name')"
    )
    su.execute(
        "select audit.track('shop.odd', 'odd', label => 'name', ignore => '{hits}', secret => '{pin}', "
        "reveal => '{tokens}', org => 'org')"
    )
    settings = su.execute(SETTINGS).fetchone()
    run(server, "pg_dump", "--format=custom", f"--file={folder / 'dump'}", db.dsn())
    run(server, "pg_restore", "--exit-on-error", f"--dbname={bare_db.dsn()}", folder / "dump")
    return bare_db.connect(), settings


def test_a_restored_table_that_had_lost_a_column_is_not_out_of_date_and_recompiles_to_the_same(shifted):
    su, settings = shifted
    assert su.execute("select * from audit.doctor()").fetchall() == []
    assert settings == ("name", ["hits"], ["pin"], "org")
    for _ in range(2):
        su.execute("select audit.recompile()")
        assert su.execute(SETTINGS).fetchone() == settings
        assert su.execute("select * from audit.doctor()").fetchall() == []
    su.execute("insert into shop.odd values (1, 'a', '1234', 'n', 0, 7, 'acme')")
    after = {"id": 1, "note": "a", "pin": "[redacted]", "name": "n", "tokens": 7, "org": "acme"}
    assert su.execute("select after, org_id from audit.event where action = 'odd.created'").fetchall() == [
        (after, "acme")
    ]


def test_paths_through_restored_tables_lead_where_they_did(shifted):
    su, _ = shifted
    paths = "select org, label from audit.tracked_table where name = 'shop.part'"
    for _ in range(2):
        assert su.execute(paths).fetchone() == ("owner_id -> shop.owner.org", "owner_id -> shop.owner.name")
        su.execute("select audit.recompile()")
    su.execute("insert into shop.owner values (1, 'Ann', 'acme'); insert into shop.part values (1, 1)")
    found = "select org_id, resource_label from audit.event where action = 'part.created'"
    assert su.execute(found).fetchall() == [("acme", "Ann")]
    su.execute("alter table shop.owner rename column org to tenant")
    assert su.execute(paths).fetchone() == ("owner_id -> shop.owner.tenant", "owner_id -> shop.owner.name")
    assert su.execute("select * from audit.doctor()").fetchall() == []


def test_a_column_that_is_renamed_after_that_keeps_its_secret(shifted):
    su, _ = shifted
    su.execute("alter table shop.odd rename column pin to code_of_door")
    assert su.execute(SETTINGS).fetchone() == ("name", ["hits"], ["code_of_door"], "org")
    su.execute("alter table shop.odd drop column note; alter table shop.odd rename column name to title")
    assert su.execute(SETTINGS).fetchone() == ("title", ["hits"], ["code_of_door"], "org")
    assert su.execute("select * from audit.doctor()").fetchall() == []


def test_a_restore_that_switches_triggers_off_says_so(server, db, folder):
    fill(db.dsn())
    file = folder / "dump"
    su = db.connect()
    run(server, "pg_dump", "--format=custom", "--data-only", "--table=shop.thing", f"--file={file}", db.dsn())
    su.execute("alter table shop.thing enable trigger pgtrail_delete")
    su.execute("truncate shop.thing")
    (last,) = su.execute("select max(id) from audit.event").fetchone()
    run(server, "pg_restore", "--disable-triggers", "--exit-on-error", f"--dbname={db.dsn()}", file)
    told = su.execute("select action, resource_id from audit.event where id > %s order by id", [last]).fetchall()
    assert told == [("audit.capture_disabled", "shop.thing"), ("audit.capture_enabled", "shop.thing")]
    assert su.execute("select count(*) from shop.thing").fetchone() == (1,)


def spend_transaction_ids(su, count):
    for _ in range(count):
        su.execute("select pg_current_xact_id()")


@pytest.mark.parametrize(
    ("before", "after", "at_last"),
    [(5000, 0, 0), (0, 5000, 0), (2500, 0, 5000)],
    ids=["whose ids are behind", "whose ids are ahead", "whose ids catch up before its first seal"],
)
def test_a_dump_restored_into_another_cluster_captures_and_sends_nothing_until_a_rebase(
    server, db, folder, before, after, at_last
):
    spend_transaction_ids(db.connect(), before)
    fill(db.dsn())
    file = folder / "dump"
    run(server, "pg_dump", "--format=custom", f"--file={file}", db.dsn())
    roles = run(server, "pg_dumpall", "--roles-only", f"--dbname={db.dsn()}").stdout
    with EmbeddedPostgres(folder / "other", server.binaries, QUICK) as other:
        run(other, "psql", "-X", "-q", other.dsn(), input=roles, check=False)
        with psycopg.connect(other.dsn(), autocommit=True) as connection:
            connection.execute("create database moved")
            spend_transaction_ids(connection, after)
        run(other, "pg_restore", "--exit-on-error", f"--dbname={other.dsn('moved')}", file)
        with psycopg.connect(other.dsn("moved"), autocommit=True) as su:
            assert su.execute(EVENTS).fetchone() == db.connect().execute(EVENTS).fetchone()
            assert problems(su) == []
            check_that_capture_works(su)
            check_that_destinations_wait_for_a_rebase(su)
            assert problems(su) == []
            spend_transaction_ids(su, at_last)
            check_that_seals_hold_and_go_on(su)
        assert not migrate(other.dsn("moved")).replaced


@pytest.mark.any_server
def test_pg_upgrade_keeps_the_log_and_destinations_wait_for_a_rebase(folder):
    found = find_binaries()
    old = next((one for one in found if one.major == 15), None)
    new = next((one for one in found if one.major > 15 and (one.bin_dir / "pg_upgrade").exists()), None)
    if old is None or new is None:
        pytest.skip(
            "pg_upgrade needs a PostgreSQL 15 and a later one with its pg_upgrade; this machine lacks one of them"
        )
    with EmbeddedPostgres(folder / "old", old, QUICK) as before:
        migrate(before.dsn())
        fill(before.dsn())
        with psycopg.connect(before.dsn()) as su:
            events = su.execute(EVENTS).fetchone()
    user = server_user()
    work = folder / "work"
    work.mkdir()
    user.own(work)
    old_bin, new_bin = readable_binaries(old, user), readable_binaries(new, user)
    user.own(folder)
    as_server = {"cwd": work, "capture_output": True, "text": True, "check": False, **user.process_arguments()}
    # 18 keeps checksums unless told not to; pg_upgrade wants both to be the same.
    checksums = ["--no-data-checksums"] if new.major >= 18 else []
    made = subprocess.run(
        [new_bin / "initdb", "--pgdata", folder / "new", "--username=postgres", "--encoding=UTF8", "--locale=C",
         "--auth-local=trust", "--no-sync", *checksums],
        **as_server,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    upgraded = subprocess.run(
        [new_bin / "pg_upgrade", "--old-bindir", old_bin, "--new-bindir", new_bin, "--old-datadir", folder / "old",
         "--new-datadir", folder / "new", "--username=postgres", "--socketdir", work, "--no-sync"],
        **as_server,
    )  # fmt: skip
    assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
    shutil.rmtree(folder / "old")
    with EmbeddedPostgres(folder / "new", new, QUICK) as after, psycopg.connect(after.dsn(), autocommit=True) as su:
        assert su.info.server_version // 10000 == new.major
        assert su.execute(EVENTS).fetchone() == events
        check_that_capture_works(su)
        check_that_destinations_wait_for_a_rebase(su)
        check_that_seals_hold_and_go_on(su)


# Logical replication --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logical(binaries):
    """A server that can publish, with the databases `here` and `there`, and pgtrail in both."""
    # Where the server's user gets through, also when root runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="pgtrail-test-"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder / "data", binaries, {**QUICK, "wal_level": "logical"}) as one:
        with psycopg.connect(one.dsn(), autocommit=True) as connection:
            connection.execute("create database pristine")
            migrate(one.dsn("pristine"))
        yield one
    shutil.rmtree(folder)


@pytest.fixture
def sides(logical):
    """Superusers' connections to a publisher and a subscriber, each with a table public.thing."""
    number = next(numbers)
    with psycopg.connect(logical.dsn(), autocommit=True) as connection:
        for name in ("here", "there"):
            connection.execute(f"create database {name}_{number} template pristine")
    here = psycopg.connect(logical.dsn(f"here_{number}"), autocommit=True)
    there = psycopg.connect(logical.dsn(f"there_{number}"), autocommit=True)
    for side in (here, there):
        side.execute("create table public.thing (id int primary key, name text)")
    yield here, there
    # The databases and the slot go with the server.
    there.execute("alter subscription moves disable")
    there.execute("alter subscription moves set (slot_name = none)")
    there.execute("drop subscription moves")
    here.close()
    there.close()


def wait_until(connection, question):
    deadline = time.monotonic() + 30
    while connection.execute(question).fetchone() != (True,):
        assert time.monotonic() < deadline, question
        time.sleep(0.05)


def subscribe(here, there, publication):
    """Replicate, the rows that are there included."""
    here.execute(f"create publication moves for table {publication}")
    # Within one server the slot has to be there before.
    here.execute("select pg_create_logical_replication_slot(current_database(), 'pgoutput')")
    there.execute(
        f"create subscription moves connection 'host={here.info.host} port={here.info.port} dbname={here.info.dbname} user=postgres' publication moves "
        f"with (create_slot = false, slot_name = '{here.info.dbname}')"
    )
    wait_until(there, "select bool_and(srsubstate in ('r', 's')) from pg_subscription_rel")


def changes(connection):
    return connection.execute(
        "select operation, resource_id, db_role from audit.event where resource_type = 'thing' order by id"
    ).fetchall()


def write(here):
    here.execute("insert into public.thing values (1, 'a'), (2, 'b')")
    here.execute("update public.thing set name = 'c' where id = 1")
    here.execute("delete from public.thing where id = 2")


DONE = "select count(*) = 1 and min(name) = 'c' from public.thing"
ALL = [
    ("INSERT", "1", "postgres"),
    ("INSERT", "2", "postgres"),
    ("UPDATE", "1", "postgres"),
    ("DELETE", "2", "postgres"),
]


def test_a_publisher_that_is_tracked_records_once_and_its_subscriber_nothing(sides):
    here, there = sides
    here.execute("select audit.track('public.thing', 'thing')")
    subscribe(here, there, "public.thing")
    write(here)
    wait_until(there, DONE)
    assert changes(here) == ALL
    assert changes(there) == []


def test_a_subscriber_that_is_tracked_records_nothing_of_what_is_applied_but_what_is_written_there(sides):
    here, there = sides
    there.execute("select audit.track('public.thing', 'thing')")
    subscribe(here, there, "public.thing")
    write(here)
    wait_until(there, DONE)
    assert changes(there) == []
    there.execute("insert into public.thing values (9, 'there')")
    assert changes(there) == [("INSERT", "9", "postgres")]


def always(there, tables):
    for table in tables:
        for operation in ("insert", "update", "delete", "truncate"):
            if there.execute(
                "select true from pg_trigger where tgrelid = %s::regclass and tgname = %s",
                [table, f"pgtrail_{operation}"],
            ).fetchone():
                there.execute(f"alter table {table} enable always trigger pgtrail_{operation}")


def test_enabled_always_a_subscriber_records_updates_and_truncates_but_its_inserts_and_deletes_by_statement_not(sides):
    here, there = sides
    there.execute("select audit.track('public.thing', 'thing')")
    always(there, ["public.thing"])
    subscribe(here, there, "public.thing")
    write(here)
    wait_until(there, DONE)
    # Postgres applies row by row and fires no statement trigger for it.
    assert changes(there) == [("UPDATE", "1", "postgres")]
    here.execute("truncate public.thing")
    wait_until(there, "select count(*) = 0 from public.thing")
    assert changes(there)[1:] == [("TRUNCATE", "1", "postgres")]
    assert there.execute("select * from audit.doctor()").fetchall() == []


def test_enabled_always_a_partitioned_subscriber_records_every_applied_change(sides):
    here, there = sides
    there.execute("drop table public.thing")
    there.execute("create table public.thing (id int primary key, name text) partition by range (id)")
    there.execute("create table public.thing_1 partition of public.thing for values from (0) to (100)")
    there.execute("select audit.track('public.thing', 'thing')")
    always(there, ["public.thing", "public.thing_1"])
    subscribe(here, there, "public.thing")
    write(here)
    wait_until(there, DONE)
    assert changes(there) == ALL


def test_the_log_itself_can_be_replicated_and_refuses_changes_there_too(sides):
    here, there = sides
    here.execute("select audit.track('public.thing', 'thing')")
    here.execute("insert into public.thing values (0, 'before')")
    # (Without the filter the two copies of one template would have the same first events.)
    subscribe(
        here,
        there,
        "audit.event where (resource_type = 'thing') with (publish = 'insert', publish_via_partition_root = true)",
    )
    write(here)
    wait_until(there, "select count(*) = 5 from audit.event where resource_type = 'thing'")
    compared = "select event::text from audit.event where resource_type = 'thing' order by id"
    assert there.execute(compared).fetchall() == here.execute(compared).fetchall()
    with pytest.raises(psycopg.Error, match="append-only"):
        there.execute("delete from audit.event")
    # Its ids and transaction ids are the publisher's: the subscriber's own events get the same ids once more.
    there.execute("select audit.track('public.thing', 'other')")
    there.execute("insert into public.thing values (9, 'there')")
    assert there.execute("select count(*) > count(distinct id) from audit.event").fetchone() == (True,)
