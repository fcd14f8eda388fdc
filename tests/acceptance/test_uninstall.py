"""Leaving: what pgtrail put into a database goes, and all else is as it was before it came."""

import contextlib
import csv
import os
import pty
import subprocess
import sys
import threading

import psycopg
import pytest

from pgtrail.connection import open_connection
from pgtrail.errors import PgtrailError
from pgtrail.install import migrate
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail.uninstall.plan import look
from pgtrail.uninstall.steps import Export, release_tables, remove_rest
from pgtrail_cli.commands.export import write_csv

APPLICATION = """
    create role shopkeeper login;
    create role clerk;
    create schema shop authorization shopkeeper;
    create schema "Odd ""Schema" authorization shopkeeper;
    grant usage on schema shop to clerk;
    alter default privileges for role shopkeeper in schema shop grant select on tables to clerk;
    alter default privileges for role shopkeeper revoke execute on functions from public;
    create function note_ddl() returns event_trigger language plpgsql as 'begin end';
    create event trigger note_ddl on ddl_command_end execute function note_ddl();
    set role shopkeeper;
    create table shop.item (
        id bigint generated always as identity primary key,
        name text not null check (name <> ''),
        price numeric default 1,
        twice numeric generated always as (price * 2) stored,
        parent bigint references shop.item
    );
    create index on shop.item (lower(name)) where price > 0;
    comment on column shop.item.name is 'What it is called';
    grant select, update (price) on shop.item to clerk with grant option;
    create table shop.special (note text) inherits (shop.item);
    create table shop.sale (id int, day date, primary key (id, day)) partition by range (day);
    create table shop.sale_old partition of shop.sale for values from ('2020-01-01') to ('2021-01-01');
    create table shop.sale_new partition of shop.sale for values from ('2021-01-01') to ('2031-01-01') partition by list (id);
    create table "Odd ""Schema"."Sale 1%s" partition of shop.sale_new for values in (1);
    create table shop.sale_rest partition of shop.sale_new default;
    create table "Odd ""Schema"."LiteLLM ""Odd"" Table" ("Id" text primary key, "api_key" text);
    alter table "Odd ""Schema"."LiteLLM ""Odd"" Table" enable row level security;
    create policy own_rows on "Odd ""Schema"."LiteLLM ""Odd"" Table" to clerk using ("Id" = current_user);
    create table shop.team (id int primary key, org text);
    alter table shop.team enable row level security;
    create table shop.bare (a int, b text);
    create function shop.shout() returns trigger language plpgsql as 'begin new.name := upper(new.name); return new; end';
    create trigger shout before insert or update on shop.item for each row execute function shop.shout();
    create trigger shout_too after delete on shop.item referencing old table as gone
        for each statement execute function shop.shout();
    alter table shop.item disable trigger shout_too;
    create view shop.cheap as select id, name from shop.item where price < 10;
    reset role;
    create publication items for table shop.bare with (publish = 'insert');
"""
TRACKED = ["shop.special", "shop.item", "shop.sale", '"Odd ""Schema"."LiteLLM ""Odd"" Table"', "shop.bare"]
WRITES = """
    insert into shop.item (name) values ('a'), ('b');
    update shop.item set price = 3 where name = 'A';
    insert into shop.special (id, name, note) values (10, 'c', 'd');
    insert into shop.sale values (1, '2020-05-05'), (1, '2026-05-05'), (2, '2026-05-05');
    update shop.sale set day = '2026-06-06' where day = '2020-05-05';
    insert into "Odd ""Schema"."LiteLLM ""Odd"" Table" values ('x', 'sk-1');
    insert into shop.bare values (1, 'x');
    delete from shop.bare;
"""
MEDDLING = """
    alter trigger pgtrail_update on shop.item rename to "somebody's %s";
    alter table shop.bare disable trigger pgtrail_insert;
    drop trigger pgtrail_delete on shop.bare;
    alter policy pgtrail_truncate on "Odd ""Schema"."LiteLLM ""Odd"" Table" rename to renamed;
    grant select (name) on shop.cheap to audit_owner;
"""
CATALOGUES = {
    # Postgres clears relhastriggers at the next VACUUM; the others are figures.
    "pg_class": "to_jsonb(known) - '{relacl,relhastriggers,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}'::text[]",
    "pg_attribute": "to_jsonb(known) - 'attacl'",
    **dict.fromkeys(
        ["pg_trigger", "pg_policy", "pg_constraint", "pg_index", "pg_proc", "pg_depend"], "to_jsonb(known)"
    ),
    **dict.fromkeys(["pg_type", "pg_rewrite", "pg_attrdef", "pg_default_acl", "pg_event_trigger"], "to_jsonb(known)"),
    **dict.fromkeys(
        ["pg_roles", "pg_auth_members", "pg_shdepend", "pg_description", "pg_init_privs"], "to_jsonb(known)"
    ),
    **dict.fromkeys(["pg_publication", "pg_publication_rel", "pg_db_role_setting", "pg_sequence"], "to_jsonb(known)"),
    "pg_namespace": "to_jsonb(known) - 'nspacl'",
}
RIGHTS = """
    select 'class', oid, 0, relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner) from pg_class
    union all select 'column', attrelid, attnum, attacl, null from pg_attribute
    union all select 'schema', oid, 0, nspacl, acldefault('n', nspowner) from pg_namespace
"""


def catalogue(connection):
    """All that Postgres knows of this database; rights as they hold, however they are written."""
    lines = [
        (name, *row)
        for name, columns in CATALOGUES.items()
        for row in connection.execute(f"select ({columns})::text from {name} as known")
    ]
    lines += connection.execute(
        f"select kind, place, number, one::text from ({RIGHTS}) as known (kind, place, number, rights, usual) "
        "cross join lateral aclexplode(coalesce(rights, usual)) as one"
    )
    return {str(line) for line in lines}


def mentions(connection):
    """What is left of pgtrail in a database."""
    return connection.execute(
        "select nspname from pg_namespace where nspname in ('audit', 'pgtrail_meta') "
        "union all select tgname from pg_trigger join pg_proc on pg_proc.oid = tgfoid where proname like 'capture %' "
        "union all select evtname from pg_event_trigger where evtname like 'pgtrail%' "
        "union all select polname from pg_policy where polname = 'pgtrail_truncate'"
    ).fetchall()


def events_of(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def shop(folder, binaries):
    """An empty database on a server whose roles no other database uses: its address, for a user."""
    with EmbeddedPostgres(folder / "data", binaries, {"fsync": "off"}) as running:
        with psycopg.connect(running.dsn(), autocommit=True) as connection:
            connection.execute("create database shop")
        yield lambda user="postgres": running.dsn("shop", user)


def test_everything_is_as_it_was_before_pgtrail_came_and_it_can_come_back(shop, pgtrail, tmp_path):
    su = psycopg.connect(shop(), autocommit=True)
    su.add_notice_handler(lambda _: None)
    su.execute(APPLICATION)
    before = catalogue(su)
    migrate(shop())
    for table in TRACKED:
        su.execute("select audit.track(%s)", [table])
    # So that it leads through a table that is not tracked itself.
    su.execute("select audit.track('shop.bare', org => 'a -> shop.team.org')")
    su.execute(WRITES)
    su.execute(MEDDLING)
    su.execute("alter database shop set pgtrail.notify = off")
    su.execute("select audit.seal(), audit.add_destination('siem', 'https://siem.example.com')")
    su.execute("select audit.grant_org('clerk', 'a')")
    su.execute("update shop.item set price = 4 where name = 'A'")
    recorded = su.execute("select id from audit.event").fetchall()
    file = tmp_path / "log.csv"
    done = pgtrail("uninstall", "--export", str(file), "--yes", "--include-undelivered", dsn=shop())
    assert done.returncode == 0, done.stderr
    after = catalogue(su)
    assert (after - before, before - after) == (set(), set())
    exported = events_of(file)
    ids = [int(event["id"]) for event in exported]
    assert len(set(ids)) == len(ids)
    assert {row[0] for row in recorded} <= set(ids)
    assert {event["resource"] for event in exported if event["action"] == "audit.table_untracked"} == set(TRACKED)
    assert f"{len(ids)} events in" in done.stderr

    migrate(shop())
    su.execute("select audit.track('shop.bare')")
    su.execute("insert into shop.bare values (2, 'y')")
    assert su.execute("select action from audit.event where category <> 'audit'").fetchall() == [("bare.created",)]
    su.close()


def test_who_installed_it_without_a_superuser_removes_it_too(shop, pgtrail):
    su = psycopg.connect(shop(), autocommit=True)
    su.execute("create role builder login createrole")
    su.execute("alter database shop owner to builder")
    roles = su.execute("select rolname from pg_roles order by 1").fetchall()
    migrate(shop("builder"))
    with psycopg.connect(shop("builder"), autocommit=True) as builder:
        builder.execute("create schema shop create table item (id int primary key)")
        builder.execute("select audit.track('shop.item')")
        builder.execute("insert into shop.item values (1)")
        done = pgtrail("uninstall", "--no-export", "--yes", dsn=shop("builder"))
        assert done.returncode == 0, done.stderr
        builder.execute("insert into shop.item values (2)")
    assert mentions(su) == []
    assert su.execute("select rolname from pg_roles order by 1").fetchall() == roles, done.stderr
    assert "roles stay" not in done.stderr
    su.close()


@pytest.mark.any_server
def test_it_says_what_stands_in_the_way_and_goes_on_where_it_is_told_to(nemo, pgtrail):
    su = nemo.connect()
    su.execute("select audit.place_hold('case-17', 'litigation')")
    su.execute("select audit.add_destination('siem', 'https://siem.example.com')")
    su.execute("create view nemo.recent as select * from audit.log")
    su.execute("create table nemo.review (category text references audit.category (name), who audit.actor)")
    su.execute("create function nemo.sign_in() returns void language sql as 'select audit.set_actor(''ann'')'")
    su.execute("create table audit.mine (id int)")
    su.execute("insert into nemo.organization (name, slug) values ('a', 'a')")
    looked = pgtrail("uninstall", "--dry-run", dsn=nemo.dsn())
    assert looked.returncode == 1
    refusals = looked.stderr.splitlines()[-4:]
    assert "legal holds are in force: case-17" in refusals[0]
    assert "siem (has not received 3 events)" in refusals[1]
    for name in (
        "view nemo.recent",
        "constraint review_category_fkey",
        "column who of table nemo.review",
        "table audit.mine",
    ):
        assert name in refusals[2]
    assert "nemo.sign_in" in refusals[3]
    assert "nemo.api_key" in looked.stdout
    done = pgtrail(
        "uninstall", "--no-export", "--yes", "--ignore-holds", "--include-undelivered", "--cascade", dsn=nemo.dsn()
    )
    assert done.returncode == 0, done.stderr
    assert "these roles stay: audit_hub, audit_org_reader, audit_owner, audit_recorder" in done.stderr
    assert "(database template_" in done.stderr
    # Those too that no table of another database needs yet.
    assert su.execute("select count(*) from pg_roles where rolname ~ '^audit_recorder'").fetchone() == (4,)
    assert mentions(su) == []
    assert su.execute("select to_regclass('nemo.recent'), to_regproc('nemo.sign_in')::text").fetchone() == (
        None,
        "nemo.sign_in",
    )
    assert su.execute("select count(*) from nemo.organization").fetchone() == (1,)


@pytest.mark.any_server
def test_nobody_who_may_not_takes_it_away(nemo, pgtrail):
    for role, reason in {
        "admin": "admin can't uninstall pgtrail (connect as the role that installed it, or a superuser)",
        "app": "app can't uninstall pgtrail",
        "auditor": "auditor can't uninstall pgtrail",
    }.items():
        with pytest.raises(PgtrailError) as refused, open_connection(nemo.dsn(role)) as connection:
            look(connection)
        assert reason in refused.value.format_message()
    with open_connection(nemo.dsn()) as connection:
        connection.execute("alter schema pgtrail_meta owner to audit_owner")
        connection.execute("set role audit_owner")
        with pytest.raises(PgtrailError, match="a superuser installed pgtrail"):
            look(connection)
        connection.execute("reset role")
        for name in ("extend_capture", "follow_ddl", "follow_drop", "follow_rewrite"):
            connection.execute(f"drop event trigger pgtrail_{name}")
        connection.execute("set role audit_owner")
        with pytest.raises(PgtrailError, match=r"audit_owner does not own nemo\.api_key"):
            look(connection)
    silent = pgtrail("uninstall", "--yes", dsn=nemo.dsn())
    assert (silent.returncode, silent.stderr.count("\n")) == (2, 1)
    assert "give --yes, and --export FILE or --no-export" in silent.stderr


@pytest.mark.any_server
def test_a_database_without_pgtrail_is_left_alone(bare_db):
    bare_db.connect().execute("create schema audit create table record_version (id int)")
    with pytest.raises(PgtrailError, match="has no pgtrail"), open_connection(bare_db.dsn()) as connection:
        look(connection)


@pytest.mark.any_server
def test_what_is_interrupted_can_be_begun_again_and_loses_nothing(nemo, tmp_path):
    file = tmp_path / "log.csv"
    freed = []

    def stumble(message):
        freed.append(message)
        if len(freed) == 2:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), open_connection(nemo.dsn()) as connection:
        look(connection)
        with Export(connection, file, write_csv) as export:
            export.write()
            release_tables(connection, stumble)
    assert list(tmp_path.iterdir()) == []
    su = nemo.connect()
    su.execute("insert into nemo.organization (name, slug) values ('still', 'still')")
    assert su.execute("select resource_label from audit.event where category = 'organization'").fetchall() == [
        ("still",)
    ]

    with open_connection(nemo.dsn()) as connection:
        assert len(look(connection).tracked) == 6
        # Another cluster's transaction ids, and a transaction that commits later than it writes.
        with su.transaction():
            su.execute("set local session_replication_role = replica")
            su.execute("update audit.event set xid = '999999999' where category = 'organization'")
        other = nemo.connect(autocommit=False)
        other.execute("insert into nemo.organization (name, slug) values ('late', 'late')")
        with Export(connection, file, write_csv) as export:
            export.write()
            other.commit()
            release_tables(connection, lambda _: None)
            su.execute("select audit.track('nemo.team')")
            before = su.execute("select id from audit.event").fetchall()
            left = remove_rest(connection, export, cascade=False, report=freed.append)
    assert freed[2:] == ["nemo.team is no longer tracked"]
    assert {"audit_owner", "audit_admin"} <= {role.name for role in left}
    assert mentions(su) == []
    events = events_of(file)
    assert [event["resource"] for event in events if event["category"] == "organization"] == ["still", "late"]
    ids = [int(event["id"]) for event in events]
    assert len(ids) == len(set(ids)) == export.events
    assert {row[0] for row in before} <= set(ids)


@pytest.mark.any_server
def test_a_table_that_is_in_use_is_waited_for_and_named(nemo):
    user = nemo.connect(autocommit=False)
    user.execute("select from nemo.team")
    with open_connection(nemo.dsn()) as connection:
        look(connection)
        with pytest.raises(PgtrailError, match=r"nemo\.team is in use"):
            release_tables(connection, lambda _: None, patience_seconds=0)
        assert connection.execute("select count(*) > 0 from audit.event").fetchone() == (True,)
        user.commit()
        release_tables(connection, lambda _: None)
        connection.execute("create view nemo.late as select * from audit.log")
        with pytest.raises(PgtrailError, match=r"these depend on pgtrail by now: view nemo\.late"):
            remove_rest(connection, None, cascade=False, report=lambda _: None)
        assert connection.execute("select count(*) > 0 from audit.event").fetchone() == (True,)


@pytest.mark.any_server
def test_writers_go_on_and_none_of_their_changes_is_recorded_in_part(nemo, pgtrail, tmp_path, wait_until):
    app = nemo.connect("app")
    names, stop, errors = [], threading.Event(), []

    def write():
        try:
            while not stop.is_set():
                name = str(len(names))
                app.execute("insert into nemo.organization (name, slug) values (%s, %s)", [name, name])
                app.execute("update nemo.organization set plan_tier = 'tier_2' where name = %s", [name])
                names.append(name)
        except psycopg.Error as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: names or errors)
        file = tmp_path / "log.csv"
        done = pgtrail("uninstall", "--export", str(file), "--yes", dsn=nemo.dsn())
        assert done.returncode == 0, done.stderr
        written = len(names)
        wait_until(lambda: len(names) > written or errors)
    finally:
        stop.set()
        writer.join()
    assert errors == []
    assert mentions(nemo.connect()) == []
    recorded = [event["resource"] for event in events_of(file) if event["action"] == "organization.created"]
    assert recorded == [str(number) for number in range(len(recorded))]
    assert 0 < len(recorded) < len(names)


@pytest.mark.any_server
def test_a_person_is_offered_the_export_and_types_the_name(db, tmp_path):
    file = tmp_path / "log.csv"

    def converse(*answers):
        here, there = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "pgtrail_cli", "uninstall"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PGTRAIL_DSN": db.dsn(), "TERM": "dumb"},
            stdin=there, stdout=there, stderr=there,
        )  # fmt: skip
        os.close(there)
        seen, left = b"", list(answers)
        # (So Linux says that the other end is closed.)
        with contextlib.suppress(OSError):
            while part := os.read(here, 4096):
                seen += part
                if left and left[0][0] in seen.rpartition(b"\n")[2].decode(errors="replace"):
                    os.write(here, left.pop(0)[1].encode() + b"\n")
        os.close(here)
        return process.wait(), seen.decode()

    status, seen = converse(("Export the log first? [Y/n]", "n"), ("Type the database's name", "another"))
    assert status == 1
    assert "another is not the database's name: nothing was removed" in seen
    assert db.connect().execute("select count(*) > 0 from audit.event").fetchone() == (True,)
    status, seen = converse(("Export the log first?", ""), ("File", str(file)), ("Type the database's name", db.name))
    assert status == 0, seen
    assert events_of(file)
    assert mentions(db.connect()) == []
