"""All or nothing, once, and by several at once."""

import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pgtrail.errors import MigrationFailed, PgtrailError
from pgtrail.install import migrate
from pgtrail.project_files import project_files, sql_files

CATALOGUE = """
    select md5(string_agg(line, ' ' order by line)) from (
        select oid::text || xmin::text as line from pg_class where relnamespace = 'audit'::regnamespace
        union all select oid::text || xmin::text from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[])
        union all select oid::text || xmin::text from pg_trigger
        union all select event::text from audit.event
    ) as lines
"""


def fingerprint(database):
    return database.connect().execute(CATALOGUE).fetchone()[0]


def test_the_load_order_names_each_file_once():
    folder = project_files("sql")
    apart = {"adopt", "presets"}
    present = {file for file in folder.rglob("*.sql") if file.relative_to(folder).parts[0] not in apart}
    assert sorted(sql_files()) == sorted(present)


def test_the_first_run_installs_everything_and_the_second_changes_nothing(bare_db, pgtrail):
    first = pgtrail("migrate", dsn=bare_db.dsn())
    assert (first.returncode, first.stdout) == (0, "")
    assert "applied migrations/0001" in first.stderr
    before = fingerprint(bare_db)
    second = pgtrail("migrate", dsn=bare_db.dsn())
    assert (second.returncode, second.stderr) == (0, "pgtrail: up to date, nothing changed\n")
    assert fingerprint(bare_db) == before


def test_several_at_once_are_all_content(bare_db):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrate(bare_db.dsn()), range(4)))
    assert sorted(one.replaced for one in done) == [False, False, False, True]
    assert bare_db.connect().execute("select count(*) from audit.installation").fetchone() == (1,)


def test_a_lock_that_a_killed_migration_left_in_its_bookkeeping_is_no_hindrance(db):
    su = db.connect()
    su.execute("insert into pgtrail_meta.yoyo_lock (locked, ctime, pid) values (1, now(), 1)")
    su.execute("update audit.installation set files_hash = 'another'")
    assert migrate(db.dsn()).replaced


def test_the_options_of_a_connection_string_hold_for_the_whole_migration(bare_db):
    su = bare_db.connect()
    su.execute("create role migrator superuser")
    migrate(bare_db.dsn(options="-c role=migrator"))
    owners = su.execute(
        "select distinct relowner::regrole::text from pg_class where relnamespace = 'pgtrail_meta'::regnamespace"
    )
    assert owners.fetchall() == [("migrator",)]
    su.execute("reassign owned by migrator to postgres")
    su.execute("drop owned by migrator")
    su.execute("drop role migrator")


def copied(tmp_path, name):
    return Path(shutil.copytree(project_files(name), tmp_path / name))


def test_a_failure_in_the_last_step_leaves_a_new_database_as_it_was(bare_db, tmp_path):
    broken = tmp_path / "99_broken.sql"
    broken.write_text("create table audit.half (id int);\nselect nonsense;")
    with pytest.raises(MigrationFailed) as raised:
        migrate(bare_db.dsn(), behaviour=[*sql_files(), broken])
    assert "99_broken.sql and changed nothing" in str(raised.value)
    assert "\n" not in raised.value.format_message()
    assert bare_db.connect().execute("select to_regnamespace('audit')").fetchone() == (None,)
    assert migrate(bare_db.dsn()).replaced


def test_a_failing_migration_leaves_the_old_version_at_work(nemo, tmp_path):
    folder = copied(tmp_path, "migrations")
    (folder / "0098.fine.sql").write_text("-- depends: 0009.import\ncreate table audit.fine (id int);")
    (folder / "0099.broken.sql").write_text("-- depends: 0098.fine\ndrop view audit.log cascade; select 1 / 0;")
    before = fingerprint(nemo)
    with pytest.raises(MigrationFailed, match=r"migrations/0099\.broken\.sql .*division by zero"):
        migrate(nemo.dsn(), migrations=folder)
    assert fingerprint(nemo) == before
    (folder / "0099.broken.sql").unlink()
    assert migrate(nemo.dsn(), migrations=folder).applied == ("0098.fine",)


def test_a_migration_that_is_killed_leaves_the_old_state_and_the_next_succeeds(bare_db, tmp_path):
    slow = tmp_path / "00_slow.sql"
    slow.write_text("select pg_sleep(60);")
    script = (
        "import sys, pathlib; from pgtrail.install import migrate; from pgtrail.project_files import sql_files\n"
        "migrate(sys.argv[1], behaviour=[*sql_files(), pathlib.Path(sys.argv[2])])"
    )
    process = subprocess.Popen([sys.executable, "-c", script, bare_db.dsn(), str(slow)])
    su = bare_db.connect()
    deadline = time.monotonic() + 60
    asleep = "select pid from pg_stat_activity where datname = %s and wait_event = 'PgSleep'"
    while (row := su.execute(asleep, [bare_db.name]).fetchone()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    su.execute("select pg_terminate_backend(%s)", [row[0]])
    assert su.execute("select to_regnamespace('audit')").fetchone() == (None,)
    assert migrate(bare_db.dsn()).replaced


def test_changed_behaviour_is_installed_and_the_tracked_tables_go_on(nemo, tmp_path):
    extra = tmp_path / "99_extra.sql"
    extra.write_text("create function audit.extra() returns int language sql as 'select 1';")
    tracked = nemo.connect().execute("select count(*) from audit.tracked_table").fetchone()[0]
    done = migrate(nemo.dsn(), behaviour=[*sql_files(), extra])
    assert (done.applied, done.replaced, done.compiled) == ((), True, tracked)
    assert tracked >= 14
    nemo.connect("app").execute("insert into nemo.organization (name, slug) values ('a', 'a')")
    assert nemo.connect().execute("select count(*) from audit.organization").fetchone() == (1,)


def test_a_role_that_may_create_roles_and_schemas_needs_no_superuser(server, bare_db, pgtrail):
    su = bare_db.connect()
    su.execute("do $$ begin create role builder login createrole; exception when duplicate_object then null; end $$")
    su.execute("drop role if exists audit_probe")
    for role in (
        "audit_owner",
        "audit_admin",
        "audit_auditor",
        "audit_reader",
        "audit_forwarder",
        "audit_org_reader",
        "audit_hub",
    ):
        su.execute(f"do $$ begin create role {role} nologin; exception when duplicate_object then null; end $$")
        # On 16 and later only who created a role, or was given ADMIN, may hand it on.
        su.execute(f"grant {role} to builder with admin option")
    su.execute(f"grant all on database {bare_db.name} to builder")
    su.execute("create schema shop authorization builder")
    done = pgtrail("migrate", dsn=bare_db.dsn("builder"))
    assert done.returncode == 0, done.stderr
    builder = bare_db.connect("builder")
    builder.execute("create table shop.item (id int primary key, name text)")
    assert pgtrail("track", "shop.item", "--label", "name", dsn=bare_db.dsn("builder")).returncode == 0
    builder.execute("insert into shop.item values (1, 'a')")
    builder.execute("alter table shop.item add column note text")
    builder.execute("select audit.recompile('shop.item')")
    builder.execute("update shop.item set note = 'n'")
    rows = builder.execute("select action, changed from audit.log where category = 'item' order by id").fetchall()
    assert rows == [("item.created", None), ("item.updated", ["note"])]


@pytest.mark.any_server
def test_a_log_that_was_dropped_by_hand_is_said_with_the_way_out(db):
    connection = db.connect()
    connection.execute("set client_min_messages = warning")
    with pytest.raises(psycopg.Error, match="can't be dropped alone"):
        connection.execute("drop schema audit cascade")
    connection.execute("drop schema audit, audit_internal cascade")
    with pytest.raises(PgtrailError, match="the schema audit was dropped"):
        migrate(db.dsn())
    connection.execute("drop schema pgtrail_meta cascade")
    assert migrate(db.dsn()).replaced
