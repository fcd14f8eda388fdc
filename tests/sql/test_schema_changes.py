"""What a schema change does to capture, with the event triggers and without."""

import psycopg
import pytest
from tests.conftest import required
from tests.sql.conftest import unwatch


@pytest.fixture
def followed(request, su):
    """Runs a schema change: followed by the event triggers, or (without them) named by the doctor and fixed by recompile."""

    problem = "select problem from audit.doctor() where problem <> 'information'"

    def change(statement, *problems, table="public.thing"):
        if request.param == "event trigger":
            su.execute(statement)
        else:
            if su.execute("select from pg_event_trigger").fetchone() is not None:
                unwatch(su)
            su.execute(statement)
            assert {row[0] for row in su.execute(problem)} == set(problems)
            su.execute("select audit.recompile()")
        assert su.execute(problem).fetchall() == []

    return change


both_ways = pytest.mark.parametrize("followed", ["event trigger", "recompile"], indirect=True)


@pytest.fixture
def settings(su):
    return lambda: su.execute(
        "select org, label, ignore, secret from audit.tracked_table where resource = 'thing'"
    ).fetchone()


@pytest.fixture
def full(su):
    """A tracked table with every kind of setting."""
    su.execute(
        "create table public.thing "
        "(id int primary key, org text, name text, hits int, pin text, config jsonb, note text unique not null default '')"
    )
    su.execute(
        "select audit.track('public.thing', org => 'org', label => 'name', ignore => '{hits}', secret => '{pin}')"
    )
    su.execute("insert into public.thing values (1, 'o', 'a', 0, 'S3CRET', '{}')")


def last_event(su):
    return su.execute(
        "select action, table_name, org_id, resource_id, resource_label, before, after, changed from audit.event "
        "where resource_type = 'thing' order by id desc limit 1"
    ).fetchone()


STALE = "compiled out of date"

CHANGES = [
    # the change, the settings after it, a write, what is recorded of it (table, org, id, label, changed)
    ("alter table public.thing add column extra int", None,
     "update public.thing set extra = 5", ("public.thing", "o", "1", "a", ["extra"])),
    ("alter table public.thing add column api_token text", ("org", "name", ["hits"], ["pin", "api_token"]),
     "update public.thing set api_token = 'S3CRET'", ("public.thing", "o", "1", "a", ["api_token"])),
    ("alter table public.thing rename column org to tenant", ("tenant", "name", ["hits"], ["pin"]),
     "update public.thing set note = 'n'", ("public.thing", "o", "1", "a", ["note"])),
    ("alter table public.thing rename column name to title", ("org", "title", ["hits"], ["pin"]),
     "update public.thing set title = 'b'", ("public.thing", "o", "1", "b", ["title"])),
    ("alter table public.thing rename column hits to clicks", ("org", "name", ["clicks"], ["pin"]),
     "update public.thing set clicks = 3, note = 'n'", ("public.thing", "o", "1", "a", ["note"])),
    ("alter table public.thing rename column pin to code", ("org", "name", ["hits"], ["code"]),
     "update public.thing set code = 'S3CRET2'", ("public.thing", "o", "1", "a", ["code"])),
    ("alter table public.thing rename column id to number", None,
     "update public.thing set note = 'n'", ("public.thing", "o", "1", "a", ["note"])),
    ("alter table public.thing drop column org", (None, "name", ["hits"], ["pin"]),
     "update public.thing set note = 'n'", ("public.thing", None, "1", "a", ["note"])),
    ("alter table public.thing drop column name", ("org", None, ["hits"], ["pin"]),
     "update public.thing set note = 'n'", ("public.thing", "o", "1", None, ["note"])),
    ("alter table public.thing drop column hits", ("org", "name", [], ["pin"]),
     "update public.thing set note = 'n'", ("public.thing", "o", "1", "a", ["note"])),
    ("alter table public.thing drop column pin", ("org", "name", ["hits"], []),
     "update public.thing set note = 'n'", ("public.thing", "o", "1", "a", ["note"])),
    ("alter table public.thing drop column id", None,
     "update public.thing set name = 'b'", ("public.thing", "o", "", "b", ["name"])),
    ("alter table public.thing drop constraint thing_pkey, add primary key (org, id)", None,
     "update public.thing set note = 'n'", ("public.thing", "o", "o,1", "a", ["note"])),
    ("alter table public.thing add column double int generated always as (id * 2) stored", None,
     "update public.thing set id = 7", ("public.thing", "o", "7", "a", ["double", "id"])),
    ("alter table public.thing rename to item", None,
     "update public.item set note = 'n'", ("public.item", "o", "1", "a", ["note"])),
    ("create schema shop; alter table public.thing set schema shop", None,
     "update shop.thing set note = 'n'", ("shop.thing", "o", "1", "a", ["note"])),
]  # fmt: skip


@both_ways
@pytest.mark.parametrize(("change", "then", "write", "recorded"), CHANGES, ids=[case[0] for case in CHANGES])
def test_a_changed_table_is_recorded_as_it_is_now(su, full, followed, settings, told, change, then, write, recorded):
    before = settings()
    followed(change, STALE)
    assert settings() == (then or before)
    su.execute(write)
    _, table, org, resource_id, label, _, after, changed = last_event(su)
    assert (table, org, resource_id, label, sorted(changed)) == recorded
    assert "S3CRET" not in str(after)
    name = recorded[0]
    su.execute(f"truncate {name}")
    assert last_event(su)[0] == "thing.deleted"
    assert {row[0] for row in told()} <= {"audit.table_changed"}, "nothing was switched off"


@both_ways
@pytest.mark.parametrize(
    ("column", "kind"),
    [("id", "bigint"), ("org", "varchar(20)"), ("name", "varchar(20)"), ("hits", "bigint"), ("pin", "varchar(20)"), ("config", "json"),
     ("note", "varchar(20)")],
)  # fmt: skip
def test_a_column_of_another_type_goes_on(su, full, followed, column, kind):
    followed(f"alter table public.thing alter column {column} type {kind}", STALE)
    su.execute(
        "update public.thing set id = 2, org = 'p', name = 'b', pin = 'S3CRET2', note = 'n', config = '{\"a\": 1}'"
    )
    _, _, org, resource_id, label, before, after, changed = last_event(su)
    assert (org, resource_id, label, sorted(changed)) == ("p", "2", "b", ["config", "id", "name", "note", "org", "pin"])
    assert (before["config"], after["config"], after["pin"]) == ({}, {"a": 1}, "[redacted]")


def test_types_and_domains_may_change_under_a_table(su, recorded):
    su.execute("create type public.mood as enum ('sad', 'ok')")
    su.execute("create domain public.short as text check (length(value) < 5)")
    su.execute("create table public.thing (id int primary key, mood public.mood, code public.short)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values (1, 'sad', 'abcd')")
    su.execute("alter type public.mood add value 'happy'")
    su.execute("alter type public.mood rename value 'ok' to 'fine'")
    su.execute("alter type public.mood rename to feeling")
    su.execute("alter domain public.short drop constraint short_check")
    su.execute("alter domain public.short rename to code")
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    su.execute("update public.thing set mood = 'happy', code = 'abcdefgh'")
    su.execute("update public.thing set mood = 'fine'")
    assert [event[3] for event in recorded()[1:]] == [
        {"id": 1, "mood": "happy", "code": "abcdefgh"},
        {"id": 1, "mood": "fine", "code": "abcdefgh"},
    ]


@both_ways
def test_a_column_that_goes_with_its_type_fails_no_write(su, recorded, followed):
    su.execute("create domain public.short as text")
    su.execute("create table public.thing (id int primary key, name text, code public.short)")
    su.execute("select audit.track('public.thing', 'thing')")
    followed("drop domain public.short cascade", STALE)
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("update public.thing set name = 'b'")
    assert [event[3] for event in recorded()] == [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]


@both_ways
def test_a_typed_table_follows_its_type(su, recorded, followed):
    su.execute("create type public.shape as (id int, name text)")
    su.execute("create table public.thing of public.shape (primary key (id))")
    su.execute("select audit.track('public.thing', 'thing')")
    followed("alter type public.shape add attribute note text cascade", STALE)
    su.execute("insert into public.thing values (1, 'a', 'n')")
    followed("alter type public.shape drop attribute name cascade", STALE)
    su.execute("update public.thing set note = 'o'")
    assert [event[3] for event in recorded()] == [{"id": 1, "name": "a", "note": "n"}, {"id": 1, "note": "o"}]


@both_ways
def test_a_unique_index_gives_a_table_without_a_key_its_identity(su, recorded, followed):
    su.execute("create table public.thing (id int not null, name text)")
    su.execute("select audit.track('public.thing', 'thing')")
    followed("create unique index thing_id on public.thing (id)", STALE)
    su.execute("insert into public.thing values (7, 'a')")
    assert recorded()[0][1] == "7"


def test_a_copy_and_an_inheritance_child_are_not_tracked(su, thing):
    su.execute("create table public.copy (like public.thing including all)")
    su.execute("create table public.child () inherits (public.thing)")
    su.execute("create table public.again as table public.thing")
    su.execute("insert into public.copy values (1, 'a')")
    su.execute("insert into public.child values (2, 'b')")
    assert thing() == []
    su.execute("alter table public.thing add column note text")
    su.execute("update public.thing set note = 'seen through the parent, written to the child'")
    assert thing() == []
    assert su.execute("select problem, subject from audit.doctor() where problem <> 'information'").fetchall() == [
        ("child untracked", "public.child")
    ]


# Tables that go, partitions that come and go ------------------------------------------------------------------------


@pytest.mark.parametrize("drop", ["drop table shop.thing", "drop schema shop cascade", "drop owned by {owner} cascade"])
def test_a_dropped_table_is_one_event_and_leaves_nothing(db, su, told, drop):
    owner = f"owner_{db.name}"
    su.execute(f"create role {owner}")
    try:
        su.execute(f"create schema shop authorization {owner}")
        su.execute("create table shop.thing (id int primary key, name text)")
        su.execute(f"alter table shop.thing owner to {owner}")
        su.execute("select audit.track('shop.thing', 'thing', label => 'name')")
        su.execute("select audit.rule('shop.thing', 'thing.gone', 'thing', 'DELETE')")
        told()
        su.execute(drop.format(owner=owner))
        assert [event[0] for event in told()] == ["audit.table_dropped", "audit.table_untracked"]
        (name, before) = su.execute(
            "select resource_label, before from audit.event where action = 'audit.table_untracked'"
        ).fetchone()
        assert name == "shop.thing"
        assert (before["resource"], before["label"]) == ("thing", "name")
        for leftover in (
            "audit.tracked_table where resource = 'thing'",
            "audit.rule where action = 'thing.gone'",
            "audit.own_trigger where relation::text !~ '[.]'",
            "pg_proc where proname like 'capture shop.thing %'",
        ):
            assert su.execute(f"select count(*) from {leftover}").fetchone() == (0,), leftover
        assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    finally:
        su.execute(f"drop owned by {owner} cascade")
        su.execute(f"drop role {owner}")


def test_without_the_event_trigger_a_dropped_table_is_named_and_forgotten(su, thing, told, unwatched):
    told()
    su.execute("drop table public.thing")
    assert [row[0] for row in su.execute("select problem from audit.doctor() where problem <> 'information'")] == [
        "table gone"
    ]
    su.execute("select audit.recompile()")
    assert [event[0] for event in told()] == ["audit.table_untracked"]
    assert su.execute("select count(*) from audit.own_trigger where relation::text !~ '[.]'").fetchone() == (0,)


@pytest.fixture
def parts(su, told, recorded):
    su.execute("create table public.thing (id int primary key, name text) partition by range (id)")
    su.execute("create table public.thing_1 partition of public.thing for values from (0) to (10)")
    su.execute("select audit.track('public.thing', 'thing')")
    told()
    return recorded


NEW_PARTITION = [
    ("create table public.thing_2 partition of public.thing for values from (10) to (20)", []),
    (
        "create table public.thing_2 (like public.thing including all); alter table public.thing attach partition public.thing_2 for values from (10) to (20)",
        ["audit.partition_attached"],
    ),
    (
        "create table public.thing_2 partition of public.thing for values from (10) to (20) partition by range (id); create table public.thing_2_1 partition of public.thing_2 for values from (10) to (15)",
        [],
    ),
    ("create schema shop create table deep partition of public.thing for values from (10) to (20)", []),
]


@both_ways
@pytest.mark.parametrize(("statement", "events"), NEW_PARTITION)
def test_a_new_partition_records_its_truncate(su, parts, told, followed, request, statement, events):
    followed(statement, "trigger missing")
    su.execute("insert into public.thing values (11, 'a')")
    su.execute("truncate public.thing")
    leaf = su.execute(
        "select relid::regclass::text from pg_partition_tree('public.thing') where isleaf order by 1"
    ).fetchall()
    su.execute("insert into public.thing values (12, 'b')")
    (holder,) = su.execute("select tableoid::regclass::text from public.thing").fetchone()
    assert (holder,) in leaf
    su.execute(f"truncate {holder}")
    assert [event[:2] for event in parts()] == [
        ("INSERT", "11"), ("TRUNCATE", "11"), ("INSERT", "12"), ("TRUNCATE", "12"),
    ]  # fmt: skip
    if "event trigger" in request.node.name:
        assert [event[0] for event in told()] == events


@pytest.mark.parametrize("how", ["", " concurrently"])
def test_a_partition_that_is_detached_is_tracked_no_more_and_that_is_an_event(su, parts, told, how):
    su.execute("insert into public.thing values (1, 'a')")
    su.execute(f"alter table public.thing detach partition public.thing_1{how}")
    assert told() == [("audit.partition_detached", "public.thing_1", {"table": "public.thing"}, None)]
    assert su.execute("select tgname from pg_trigger where tgrelid = 'public.thing_1'::regclass").fetchall() == []
    readable = "select has_table_privilege('audit_owner', 'public.thing_1', 'select')"
    assert su.execute(readable).fetchone() == (False,)
    su.execute("truncate public.thing_1")
    assert [event[0] for event in parts()] == ["INSERT"]
    su.execute("insert into public.thing_1 values (2, 'unseen')")
    su.execute("alter table public.thing attach partition public.thing_1 for values from (0) to (10)")
    assert told() == [("audit.partition_attached", "public.thing_1", None, {"table": "public.thing"})]
    su.execute("truncate public.thing_1")
    assert [event[:2] for event in parts()] == [("INSERT", "1"), ("TRUNCATE", "2")]
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []


def test_without_the_event_trigger_recompile_tells_that_a_partition_left(su, parts, told, unwatched):
    su.execute("alter table public.thing detach partition public.thing_1")
    su.execute("select audit.recompile()")
    assert told() == [("audit.partition_detached", "public.thing_1", {"table": "public.thing"}, None)]
    su.execute("select audit.untrack('public.thing')")
    assert su.execute("select tgname from pg_trigger where tgrelid = 'public.thing_1'::regclass").fetchall() == []


def test_a_dropped_partition_is_an_event(su, parts, told):
    su.execute("drop table public.thing_1")
    assert told() == [("audit.partition_dropped", "public.thing_1", {"table": "public.thing"}, None)]
    su.execute("create table public.thing_1 partition of public.thing for values from (0) to (10)")
    su.execute("drop table public.thing")
    assert [event[0] for event in told()] == ["audit.table_dropped", "audit.table_untracked"]


def test_a_partition_whose_triggers_are_switched_off_is_named(su, parts, told):
    su.execute("alter table public.thing_1 disable trigger pgtrail_update")
    name = "pgtrail_update on public.thing_1"
    assert told() == [
        ("audit.capture_disabled", "public.thing", {"triggers": {name: "enabled"}}, {"triggers": {name: "disabled"}})
    ]
    su.execute("select audit.recompile('public.thing')")
    assert [event[0] for event in told()] == ["audit.capture_enabled"]


# The statement itself -------------------------------------------------------------------------------------------------


def test_what_rolls_back_leaves_no_event_and_capture_as_it_was(su, thing, told):
    told()
    for statement in (
        "alter table public.thing disable trigger all",
        "alter table public.thing drop column name",
        "alter table public.thing rename to other",
        "drop table public.thing",
        "drop trigger pgtrail_insert on public.thing",
    ):
        with su.transaction(force_rollback=True):
            su.execute(statement)
        with su.transaction(), su.transaction(force_rollback=True):
            su.execute(statement)
    assert told() == []
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    su.execute("insert into public.thing values (1, 'a')")
    assert thing()[0][3] == {"id": 1, "name": "a"}
    su.execute("alter table public.thing disable trigger pgtrail_insert")
    assert [event[0] for event in told()] == ["audit.capture_disabled"]


def test_an_ordinary_owner_without_any_grant_changes_its_tables(db, su, told):
    su.execute("create schema shop authorization app")
    su.execute(f"grant create on database {db.name} to app")
    app = db.connect("app")
    said = []
    app.add_notice_handler(lambda notice: said.append(notice.message_primary))
    app.execute("create table shop.thing (id int primary key, name text) partition by range (id)")
    app.execute("create table shop.thing_1 partition of shop.thing for values from (0) to (10)")
    su.execute("select audit.track('shop.thing', 'thing', label => 'name')")
    told()
    app.execute("create table shop.thing_2 partition of shop.thing for values from (10) to (20)")
    app.execute("alter table shop.thing add column note text")
    app.execute("insert into shop.thing values (1, 'a', 'n'), (11, 'b', 'n')")
    app.execute("truncate shop.thing_2")
    app.execute("alter table shop.thing rename column name to title")
    app.execute("alter table shop.thing enable row level security")
    app.execute("alter table shop.thing_1 enable row level security, force row level security")
    app.execute("alter table shop.thing disable trigger pgtrail_update")
    app.execute("alter table shop.thing detach partition shop.thing_2")
    app.execute("drop table shop.thing_2")
    app.execute("alter schema shop rename to store")
    app.execute("truncate store.thing")
    app.execute("drop table store.thing")
    assert not [message for message in said if message.startswith("pgtrail")]
    assert [event[0] for event in told() if event[0] != "audit.table_changed"] == [
        "audit.capture_disabled", "audit.partition_detached", "audit.table_dropped", "audit.table_untracked",
    ]  # fmt: skip
    rows = su.execute("select operation, resource_id, table_name from audit.event where category = 'thing' order by id")
    assert rows.fetchall() == [
        ("INSERT", "1", "shop.thing"), ("INSERT", "11", "shop.thing"), ("TRUNCATE", "11", "shop.thing"),
        ("TRUNCATE", "1", "store.thing"),
    ]  # fmt: skip


def test_a_temporary_schema_fools_no_event_trigger(db, su, thing):
    su.execute("alter table public.thing owner to app")
    su.execute("grant create on schema public to app")
    app = db.connect("app")
    app.execute("create domain pg_temp.regclass as pg_catalog.regclass check (current_user = 'app')")
    app.execute("create temporary table pg_class (oid oid)")
    app.execute(
        "create function pg_temp.format(text, text) returns text language plpgsql as $$ begin raise exception 'ran'; end $$"
    )
    app.execute("set search_path = pg_temp, public")
    messages = []
    app.add_notice_handler(lambda notice: messages.append(notice.message_primary))
    app.execute("alter table public.thing add column note text")
    app.execute("alter table public.thing disable trigger pgtrail_update")
    app.execute("drop table public.thing")
    assert messages == []


@pytest.fixture
def broken(su, thing):
    """Following a schema change fails."""
    su.execute(
        "create or replace function audit_internal.watch_triggers() returns void language plpgsql "
        "as $$ begin raise exception 'broken'; end $$"
    )


def test_when_following_fails_the_statement_fails_too(su, broken):
    with pytest.raises(psycopg.Error, match=r"pgtrail could not follow this ALTER TABLE: broken") as failed:
        su.execute("alter table public.thing add column note text")
    assert "audit.set_on_failure" in failed.value.diag.message_hint
    with pytest.raises(psycopg.Error, match=r"pgtrail could not follow this DROP TRIGGER: broken"):
        su.execute("drop trigger pgtrail_update on public.thing")
    su.execute("update public.thing set name = 'n'")


def test_or_where_the_policy_prefers_that_it_is_done_and_a_warning_says_so(db, su, broken):
    su.execute("select audit.set_on_failure('continue')")
    connection = db.connect()
    warnings = []
    connection.add_notice_handler(lambda notice: warnings.append((notice.message_primary, notice.message_hint)))
    connection.execute("alter table public.thing add column note text")
    connection.execute("drop trigger pgtrail_update on public.thing")
    assert [message for message, _ in warnings] == [
        "pgtrail could not follow this ALTER TABLE: broken",
        "pgtrail could not follow this DROP TRIGGER: broken",
    ]
    assert "audit.recompile()" in warnings[0][1]
    connection.execute("update public.thing set note = 'n'")


def test_pgtrail_can_be_removed(su, thing):
    su.execute("drop schema audit, audit_internal cascade")
    assert su.execute("select count(*) from pg_event_trigger").fetchone() == (0,)
    su.execute("insert into public.thing values (1, 'a')")
    su.execute("alter table public.thing add column note text")
    su.execute("drop table public.thing")


def test_an_extension_comes_and_goes(su, thing, told):
    told()
    available = su.execute(
        "select name from pg_available_extensions where installed_version is null order by name <> 'pgcrypto', name limit 1"
    ).fetchone()
    if available is None:
        pytest.skip("this server has no extension but plpgsql")
    su.execute(f'create extension "{available[0]}"')
    su.execute(f'drop extension "{available[0]}"')
    assert told() == []


def test_a_table_with_foreign_keys_is_dropped_from_a_schema_that_nothing_is_tracked_in(su):
    su.execute("create schema closed")
    su.execute("create table closed.parent (id int primary key)")
    su.execute("create table closed.child (id int references closed.parent)")
    su.execute("drop table closed.parent cascade")
    su.execute("drop table closed.child")


KINDS = ["table", "foreign table", "index", "view", "materialized view", "sequence", "type", "domain"]
ALTERATIONS = [
    "rename to item",
    "rename column note to api_token",
    "rename attribute note to api_token",
    "set schema shop",
    "owner to app",
    "alter column note type varchar using note || '.'",
    "alter attribute note type varchar",
    "add column extra int",
    "drop column note",
    "replica identity full",
]


def test_whatever_postgres_lets_alter_a_tracked_table_is_followed(su, full):
    """ALTER INDEX and ALTER VIEW do some of it to a table, too."""
    su.execute("create schema shop")
    followed = []
    for kind in KINDS:
        for alteration in ALTERATIONS:
            with su.transaction(force_rollback=True):
                try:
                    with su.transaction():
                        su.execute(f"alter {kind} public.thing {alteration}")
                except psycopg.Error:
                    continue
                followed.append((kind, alteration))
                assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == [], (
                    followed[-1]
                )
                (command,) = su.execute(
                    "select after ->> 'command' from audit.event where action = 'audit.table_altered' order by id desc limit 1"
                ).fetchone()
                assert command == f"ALTER {kind.upper()}"
    assert {
        ("table", "rename to item"),
        ("index", "rename to item"),
        ("view", "rename column note to api_token"),
        ("materialized view", "rename column note to api_token"),
        ("foreign table", "rename column note to api_token"),
    } <= set(followed)


@pytest.mark.parametrize("kind", ["table", "view", "materialized view", "foreign table"])
def test_a_column_that_gets_a_secrets_name_is_redacted_by_whichever_statement(su, full, kind):
    su.execute(f"alter {kind} public.thing rename column note to api_token")
    su.execute("update public.thing set api_token = 'S3CRET'")
    assert last_event(su)[6]["api_token"] == "[redacted]"


FAMILIES = {
    "a parent": (
        "create table public.parent (amount int, note text)",
        "create table public.thing (id int primary key) inherits (public.parent)",
    ),
    "a grandparent": (
        "create table public.parent (amount int, note text)",
        "create table public.middle () inherits (public.parent)",
        "create table public.thing (id int primary key) inherits (public.middle)",
    ),
    "a partitioned table": (
        "create table public.parent (id int, amount int, note text) partition by list (id)",
        "create table public.thing (id int primary key, amount int, note text)",
    ),
    "a partition's partitions": (
        "create table public.parent (id int, amount int, note text) partition by list (id)",
        "create table public.thing (id int, amount int, note text, primary key (id)) partition by list (id)",
        "create table public.leaf partition of public.thing for values in (1)",
    ),
}


@pytest.fixture(params=FAMILIES)
def family(su, request):
    """A tracked table with a row, and public.parent above it, which is not tracked."""
    for statement in FAMILIES[request.param]:
        su.execute(statement)
    su.execute("insert into public.thing (id, amount, note) values (1, 7, 'a')")
    su.execute("select audit.track('public.thing')")
    if "partition" in request.param:
        su.execute("alter table public.parent attach partition public.thing for values in (1)")


def last_altered(su):
    return su.execute(
        "select resource_id, before, after from audit.event where action = 'audit.table_altered' order by id desc limit 1"
    ).fetchone()


def test_what_is_done_to_a_parent_is_done_to_a_tracked_table(su, family):
    su.execute("alter table public.parent alter column amount type bigint using amount * 1000")
    assert last_altered(su) == (
        "public.thing",
        {"columns": {"amount": "integer"}},
        {"columns": {"amount": "bigint"}, "command": "ALTER TABLE", "rewritten": True},
    )
    su.execute("alter table public.parent alter column note type text using note || '.'")
    assert last_altered(su)[2] == {"columns": {"note": "text, rewritten"}, "command": "ALTER TABLE", "rewritten": True}
    su.execute("alter table public.parent rename column note to api_token")
    su.execute("alter table public.parent add column extra int default 5")
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    su.execute("update public.thing set api_token = 'S3CRET', extra = 6")
    _, _, _, resource_id, _, _, after, _ = last_event(su)
    assert (resource_id, after["api_token"], after["extra"], after["amount"]) == ("1", "[redacted]", 6, 7000)
    su.execute("alter table public.parent drop column api_token")
    su.execute("update public.thing set extra = 7")
    assert last_event(su)[6]["extra"] == 7
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []


@pytest.mark.parametrize("statement", ["alter table", "alter foreign table"])
def test_a_foreign_parent_is_followed_too(su, recorded, statement):
    su.execute("create foreign data wrapper away; create server away foreign data wrapper away")
    su.execute("create foreign table public.parent (id int not null, note text) server away")
    su.execute("create table public.thing (primary key (id)) inherits (public.parent)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute(f"{statement} public.parent alter column note type varchar")
    assert last_altered(su)[2]["columns"] == {"note": "character varying"}
    su.execute(f"{statement} public.parent rename column note to api_token")
    su.execute("insert into public.thing values (1, 'S3CRET')")
    assert [event[3]["api_token"] for event in recorded()] == ["[redacted]"]
    su.execute("create foreign table public.above (id int not null) server away")
    su.execute(f"{statement} public.parent inherit public.above")
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []


def test_a_parent_that_follows_its_type_is_followed(su, recorded):
    su.execute("create type public.shape as (id int, note text)")
    su.execute("create table public.parent of public.shape")
    su.execute("create table public.thing (primary key (id)) inherits (public.parent)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("alter type public.shape rename attribute note to api_token cascade")
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    su.execute("insert into public.thing values (1, 'S3CRET')")
    assert [event[3]["api_token"] for event in recorded()] == ["[redacted]"]


def test_what_is_done_to_a_parent_of_a_table_on_the_way_to_an_organization_is_followed(su, recorded):
    su.execute("create table public.parent (org text)")
    su.execute("create table public.team (id int primary key) inherits (public.parent)")
    su.execute("insert into public.team (id, org) values (1, 'acme')")
    su.execute("create table public.thing (id int primary key, team_id int)")
    su.execute("select audit.track('public.thing', 'thing', org => 'team_id -> public.team.org')")
    su.execute("alter table public.parent rename column org to tenant")
    su.execute("insert into public.thing values (1, 1)")
    assert last_event(su)[2] == "acme"


def test_a_table_that_its_extension_takes_to_another_schema_is_followed(su, full, settings):
    available = su.execute(
        "select name from pg_available_extension_versions where not installed and relocatable and requires is null order by 1 limit 1"
    ).fetchone()
    if available is None:
        required("an extension that can be moved is needed: contrib, such as citext")
    su.execute(f'create schema shop; create extension "{available[0]}" schema public')
    su.execute(f'alter extension "{available[0]}" add table public.thing')
    su.execute(f'alter extension "{available[0]}" set schema shop')
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    su.execute("update shop.thing set note = 'n'")
    assert last_event(su)[1] == "shop.thing"
    su.execute("truncate shop.thing")
    assert last_event(su)[0] == "thing.deleted"


def test_reassign_owned_fires_no_event_trigger_and_the_doctor_names_the_table(db, su, thing):
    """Postgres has none for it."""
    su.execute("alter table public.thing owner to app")
    su.execute("select audit.recompile()")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        su.execute(
            "create event trigger other on ddl_command_end when tag in ('REASSIGN OWNED') execute function audit_internal.follow_ddl()"
        )
    su.execute("reassign owned by app to admin")
    assert [row[:2] for row in su.execute("select * from audit.doctor() where problem <> 'information'")] == [
        ("compiled out of date", "public.thing")
    ]
    su.execute("select audit.recompile()")
    assert su.execute("select * from audit.doctor() where problem <> 'information'").fetchall() == []
    assert last_altered(su)[1:] == ({"owner": "app"}, {"owner": "admin"})
    su.execute("insert into public.thing values (1)")
    su.execute("truncate public.thing")
    assert [event[0] for event in thing()] == ["INSERT", "TRUNCATE"]


@pytest.mark.parametrize(
    "statement",
    [
        "alter table other add column n int",
        "create table another (id int)",
        "create index on other (id)",
        "create type mood as enum ('ok')",
    ],
)
def test_to_follow_a_statement_no_catalogue_is_read_from_end_to_end(su, thing, statement):
    def scans():
        su.execute("select pg_stat_force_next_flush()")
        su.execute("select pg_stat_clear_snapshot()")
        return dict(
            su.execute("select relname, seq_scan from pg_stat_sys_tables where schemaname = 'pg_catalog'").fetchall()
        )

    su.execute("create table other (id int)")
    scans()
    before = scans()
    looking = {name: count - before[name] for name, count in scans().items()}
    before = scans()
    su.execute(statement)
    scanned = {name: count - before[name] for name, count in scans().items()}
    assert scanned == looking
