"""The chain of seals: every event is in it once, and whatever is changed afterwards is named."""

import threading
from contextlib import contextmanager

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import clone
from tests.verifying import problems

from pgtrail.verify.proof import root_from_path

pytestmark = pytest.mark.any_server


@pytest.fixture
def things(su):
    su.execute("create table public.thing (id serial primary key, name text, email text)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    return su


def add(connection, number=1):
    connection.execute(
        "insert into public.thing (name) select 'thing ' || n from generate_series(1, %s) as n", [number]
    )


def seal(connection, most=65536):
    """Seal until there is nothing left; how many seals were made."""
    made = 0
    while connection.execute("select number from audit.seal(%s) where number is not null", [most]).fetchone():
        made += 1
    return made


def sealed_ids(connection):
    return [row[0] for row in connection.execute("select unnest(ids) from audit.seal_leaves order by 1").fetchall()]


def meddle(connection, statement, *arguments):
    """What a superuser can do: switch the triggers off and do it."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(statement, *arguments)


def some_event(connection, offset=0):
    return connection.execute(
        "select id from audit.event where resource_type = 'thing' order by id offset %s limit 1", [offset]
    ).fetchone()[0]


# Every event once -------------------------------------------------------------------------------------------------


def test_every_event_is_in_one_seal_and_an_untouched_history_holds(things):
    for _ in range(3):
        add(things, 10)
        assert seal(things) == 1
    assert sealed_ids(things) == [row[0] for row in things.execute("select id from audit.event order by id").fetchall()]
    assert problems(things) == []


def test_a_large_batch_becomes_several_seals(things):
    seal(things)
    add(things, 100)
    assert seal(things, 30) == 4
    assert things.execute("select events from audit.seal order by number desc limit 4").fetchall() == [
        (10,),
        (30,),
        (30,),
        (30,),
    ]
    assert problems(things) == []


def test_without_events_there_is_no_seal(things):
    seal(things)
    assert seal(things) == 0


def test_what_is_open_is_sealed_when_it_has_committed_and_holds_up_nothing(things, db):
    seal(things)
    late = db.connect(autocommit=False)
    add(late)
    add(things)
    assert seal(things) == 1
    first = set(sealed_ids(things))
    late.commit()
    add(things)
    assert seal(things) == 1
    assert len(set(sealed_ids(things)) - first) == 2
    assert problems(things) == []


def test_a_transaction_that_was_open_for_long_is_no_forgery(things, db):
    seal(things)
    add(things)
    # No snapshot names it as running while nothing newer has ended.
    late = db.connect(autocommit=False)
    add(late)
    late.execute("select pg_sleep(2.5)")
    assert seal(things) == 1
    late.commit()
    assert seal(things) == 1
    assert problems(things) == []


def test_the_sealing_transaction_leaves_its_own_events_to_the_next_seal(things):
    seal(things)
    with things.transaction():
        add(things)
        things.execute("select audit.seal()")
    assert problems(things) == []
    assert seal(things) == 1
    assert sealed_ids(things) == [row[0] for row in things.execute("select id from audit.event order by id").fetchall()]


def test_two_sealers_at_once_make_one_chain(things, db):
    seal(things)
    stop = threading.Event()

    def keep(action):
        connection = db.connect()
        while not stop.is_set():
            action(connection)

    workers = [threading.Thread(target=keep, args=(action,)) for action in (seal, seal, add, add)]
    for worker in workers:
        worker.start()
    threading.Event().wait(2)
    stop.set()
    for worker in workers:
        worker.join()
    seal(things)
    ids = sealed_ids(things)
    assert len(ids) == len(set(ids)) == things.execute("select count(*) from audit.event").fetchone()[0] > 10
    assert problems(things) == []


def test_a_seal_waits_for_nobody_and_nobody_for_it(things, db):
    add(things)
    sealer = db.connect(autocommit=False)
    sealer.execute("select audit.seal()")
    things.execute("set statement_timeout = '2s'")
    add(things)
    assert things.execute("select audit.seal() is null").fetchone() == (True,), "another is sealing"
    sealer.rollback()
    seal(things)
    assert problems(things) == []


def test_a_seal_is_due_after_a_time_or_a_number_of_events(things):
    due = "select (audit_internal.seal_if_due(%s, %s)).number is not null"
    assert things.execute(due, ["1 hour", 5]).fetchone() == (True,), "the first"
    add(things, 4)
    assert things.execute(due, ["1 hour", 5]).fetchone() == (False,)
    add(things, 1)
    assert things.execute(due, ["1 hour", 5]).fetchone() == (True,)
    add(things, 1)
    assert things.execute(due, ["0 s", 5]).fetchone() == (True,)


def test_seals_are_announced_to_who_asks_and_do_not_go_on_for_ever(things):
    seal(things)
    things.execute(
        "select audit.add_destination('siem', 'https://siem.example', options => '{\"actions\": [\"no.thing\"], \"seals\": true}')"
    )
    things.execute("select audit.add_destination('other', 'https://other.example')")
    add(things)
    assert seal(things) == 1
    last, kept = things.execute(
        "select resource_id::bigint, after from audit.event where action = 'audit.sealed'"
    ).fetchone()
    assert things.execute(
        "select number, encode(hash, 'hex') from audit.seal order by number desc limit 1"
    ).fetchone() == (
        last,
        kept["hash"],
    )
    assert seal(things) == 0
    gets = things.execute(
        "select name, audit_internal.matches_destination(event, destination) from audit.destination, audit.event where action = 'audit.sealed' order by 1"
    ).fetchall()
    assert gets == [("other", False), ("siem", True)]
    add(things)
    assert seal(things) == 1
    assert problems(things) == []


# What a superuser changes -----------------------------------------------------------------------------------------

CHANGES = {
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "org_id": "'another'",
    "category": "'teams'",
    "action": "'thing.other'",
    "resource_type": "'key'",
    "resource_id": "'other'",
    "resource_label": "'other'",
    "actor_type": "'service'",
    "actor_id": "'somebody else'",
    "actor_label": "'somebody else'",
    "actor_ip": "'192.0.2.1'",
    "user_agent": "'curl'",
    "request_id": "'other'",
    "reason": "'other'",
    "db_role": "'other'",
    "client_addr": "'192.0.2.1'",
    "application_name": "'other'",
    "before": "'{}'",
    "after": 'after || \'{"name": "other"}\'',
    "changed": "'{}'",
    "table_name": "'other'",
    "operation": "'UPDATE'",
    "id": "100000",
    "xid": "'3'",
    "resource_hash": "1",
    "imported_from": "'supa_audit old_audit.record_version 1'",
    "node": "'eu1'",
    "node_id": "1",
    "node_xid": "'3'",
}


def test_the_changes_are_of_every_column(things):
    columns = things.execute(
        "select attname from pg_attribute where attrelid = 'audit.event'::regclass and attnum > 0 and not attisdropped"
    )
    assert {name for (name,) in columns.fetchall()} == set(CHANGES)


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_value_is_named(things, column):
    add(things, 5)
    seal(things)
    changed = some_event(things, 2)
    meddle(things, f"update audit.event set {column} = {CHANGES[column]} where id = {changed}")
    found = problems(things)
    assert (1, changed, "it was deleted" if column == "id" else "it was changed") in found
    assert {event for number, event, _ in found if number} <= {changed, 100000}


def test_a_deleted_row_is_named(things):
    add(things, 5)
    seal(things)
    gone = some_event(things, 1)
    meddle(things, "delete from audit.event where id = %s", [gone])
    assert problems(things) == [(1, gone, "it was deleted")]


def test_two_that_were_swapped_are_named(things):
    add(things, 5)
    seal(things)
    one, other = some_event(things, 1), some_event(things, 3)
    meddle(
        things,
        "update audit.event as event set after = other.after, resource_label = other.resource_label, resource_id = other.resource_id, "
        "resource_hash = other.resource_hash "
        "from audit.event as other where (event.id, other.id) in ((%s, %s), (%s, %s))",
        [one, other, other, one],
    )
    assert problems(things) == [(1, one, "it was changed"), (1, other, "it was changed")]


COPY = """
    insert into audit.event (id, xid, occurred_at, category, action, resource_type, resource_id, resource_hash, actor_type)
    select {id}, {xid}, {occurred_at}, category, 'thing.forged', resource_type, 'forged', hashtextextended('forged', 0), actor_type
    from audit.event where resource_type = 'thing' order by id limit 1
"""


@pytest.mark.parametrize(
    ("id", "xid", "occurred_at", "problem"),
    [
        ("nextval('audit.event_id_seq')", "xid", "occurred_at", "inserted after its batch had been sealed"),
        ("-5", "pg_current_xact_id()", "now()", "never given"),
        ("100000", "pg_current_xact_id()", "now()", "never given"),
        ("nextval('audit.event_id_seq')", "pg_current_xact_id()", "occurred_at - interval '1 day'", "recorded after"),
        ("nextval('audit.event_id_seq')", "pg_current_xact_id()", "now() + interval '1 day'", "recorded before"),
        ("900", "pg_current_xact_id()", "occurred_at - interval '20 minutes'", "recorded after"),
        ("nextval('audit.event_id_seq')", "'99999999'", "now()", "has not begun"),
    ],
)
def test_one_that_was_inserted_into_the_past_is_named(things, id, xid, occurred_at, problem):
    things.execute("select setval('audit.event_id_seq', 1000)")
    add(things, 3)
    seal(things)
    meddle(things, COPY.format(id=id, xid=xid, occurred_at=occurred_at))
    seal(things)
    ((_, _, found),) = problems(things)
    assert problem in found


def test_a_seal_that_is_deleted_or_changed_is_named_and_so_is_the_last(things):
    for _ in range(4):
        add(things, 2)
        seal(things)
    meddle(things, "delete from audit.seal where number = 2")
    assert (2, None, "it is missing") in problems(things)
    meddle(things, "delete from audit.seal where number = 4")
    assert (None, None, "seal 4: it is missing: the last seal was number 4") in problems(things)
    meddle(things, "update audit.seal set sealed_at = sealed_at - interval '1 day' where number = 3")
    assert (3, None, "it was changed: its hash differs") in problems(things)
    meddle(things, "update audit.seal_leaves set leaves = decode(repeat('ab', length(leaves)), 'hex') where number = 1")
    assert (1, None, "its list of leaves was changed: it has a different root") in problems(things)


def test_a_part_of_the_log_that_was_rewritten_with_its_seal_breaks_the_chain(things):
    for _ in range(3):
        add(things, 2)
        seal(things)
    meddle(things, "update audit.event set reason = 'forged' where id = %s", [some_event(things)])
    rewrite(things, 1)
    assert problems(things) == [(2, None, "the chain is broken: it follows another seal than the one before it")]


def rewrite(connection, number):
    """A seal made again over the events as they are now, by somebody who has read how."""
    meddle(
        connection,
        """
        update audit.seal_leaves
        set leaves = (
            select string_agg(leaf, '' order by event_id)
            from audit.seal cross join lateral audit_internal.event_leaves(seal, seal_leaves.secret) where seal.number = seal_leaves.number
        )
        where number = %s
        """,
        [number],
    )
    meddle(
        connection,
        "update audit.seal set root = audit_internal.merkle_root((select leaves from audit.seal_leaves where seal_leaves.number = seal.number)), "
        "previous = coalesce((select hash from audit.seal as b where b.number = seal.number - 1), previous) where number = %s",
        [number],
    )
    meddle(connection, "update audit.seal set hash = audit_internal.seal_hash(seal) where number = %s", [number])
    meddle(
        connection,
        "update audit.seal_head set hash = (select hash from audit.seal where seal.number = seal_head.number)",
    )


def test_a_chain_that_was_rewritten_whole_holds_by_itself_which_is_what_anchors_are_for(things):
    for _ in range(3):
        add(things, 2)
        seal(things)
    meddle(things, "update audit.event set reason = 'forged' where id = %s", [some_event(things)])
    for number in (1, 2, 3):
        rewrite(things, number)
    assert problems(things) == []


@pytest.mark.parametrize("table", ["seal", "seal_leaves"])
@pytest.mark.parametrize("change", ["update audit.{} set number = 9", "delete from audit.{}", "truncate audit.{}"])
def test_nobody_changes_a_seal_a_superuser_with_his_triggers_on_included(things, db, table, change):
    add(things)
    seal(things)
    for user in ("postgres", "audit_owner", "admin"):
        connection = db.connect("postgres" if user == "audit_owner" else user)
        if user == "audit_owner":
            connection.execute("set role audit_owner")
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(change.format(table))
        assert raised.value.sqlstate in ("PT008", "42501")


# The tree ---------------------------------------------------------------------------------------------------------


@given(leaves=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40))
def test_every_leaf_has_a_path_to_the_root_and_to_no_other(tree, leaves):
    root = tree.execute("select audit_internal.merkle_root(%s)", [b"".join(leaves)]).fetchone()[0]
    for index, leaf in enumerate(leaves):
        path = tree.execute("select audit_internal.merkle_path(%s, %s)", [b"".join(leaves), index]).fetchone()[0]
        assert root_from_path(leaf, index, len(leaves), path) == root
        assert root_from_path(bytes([leaf[0] ^ 1]) + leaf[1:], index, len(leaves), path) != root
        assert root_from_path(leaf, len(leaves), len(leaves), path) is None
        assert root_from_path(leaf, index, len(leaves), [*path, leaf]) is None


@pytest.fixture(scope="module")
def tree(server, empty_template):
    with contextmanager(clone)(server, empty_template) as database:
        yield database.connect()


# RFC 6962 has no vectors of its own; these are of its reference implementation, google/certificate-transparency.
VECTORS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("size", ROOTS)
def test_the_roots_are_those_of_certificate_transparency(tree, size):
    hashed = "sha256('\\x00' || decode(leaf, 'hex'))"
    (root,) = tree.execute(
        f"select audit_internal.merkle_root(string_agg({hashed}, '' order by place)) from unnest(%s::text[]) with ordinality as l (leaf, place)",
        [VECTORS[:size]],
    ).fetchone()
    assert root.hex() == ROOTS[size]


# Proofs -----------------------------------------------------------------------------------------------------------


def test_only_who_may_read_an_event_gets_its_proof_and_its_salts(nemo):
    su = nemo.connect()
    orgs = [
        su.execute("insert into nemo.organization (name, slug) values (%s, %s) returning id::text", [n, n]).fetchone()[
            0
        ]
        for n in ("a", "b")
    ]
    seal(su)
    su.execute("select audit.grant_org('reader', %s)", [orgs[0]])
    ids = [su.execute("select id from audit.event where resource_id = %s", [org]).fetchone()[0] for org in orgs]
    reader = nemo.connect("reader")
    assert reader.execute("select audit.prove(%s) ->> 'proof'", [ids[0]]).fetchone() == ("pgtrail proof 1",)
    with pytest.raises(psycopg.Error) as raised:
        reader.execute("select audit.prove(%s)", [ids[1]])
    assert raised.value.sqlstate == "PT002"
    for forged in ("event.actor_label", "event.reason", "event.request_id"):
        with pytest.raises(psycopg.Error) as raised:
            reader.execute(
                f"select audit_internal.proof(jsonb_populate_record(event, jsonb_build_object('id', {ids[1]}, %s::text, 'x'))) from audit.event",
                [forged.removeprefix("event.")],
            )
        assert raised.value.sqlstate == "PT002"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("select * from audit.salt")


def test_an_event_that_is_not_sealed_has_no_proof_yet(things):
    seal(things)
    add(things)
    with pytest.raises(psycopg.Error) as raised:
        things.execute("select audit.prove(%s)", [some_event(things)])
    assert raised.value.sqlstate == "PT020"


@pytest.mark.parametrize("user", ["app", "reader", "forwarder"])
def test_nobody_reads_a_salt_but_who_verifies(db, user):
    for table in ("salt", "erased_part", "seal_head", "seal_leaves"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.connect(user).execute(f"select * from audit.{table}")


def test_what_the_transaction_that_seals_records_is_in_the_next_seal_and_reaches_a_destination_it_adds(db, su):
    """Although a later transaction has ended meanwhile."""
    su.execute("create table public.thing (id int primary key)")
    su.execute("select audit.track('public.thing')")
    with db.connect(autocommit=False) as own:
        own.execute("select pg_current_xact_id()")
        su.execute("insert into public.thing values (1)")
        own.execute("select audit.seal()")
        own.execute("select audit.add_destination('siem', 'https://siem.example')")
        own.execute("insert into public.thing values (2)")
    assert su.execute("select events_behind from audit.destination_status").fetchone()[0] >= 2
    su.execute("select audit.seal()")
    assert problems(su) == []
    sealed = {id for (ids,) in su.execute("select ids from audit.seal_leaves") for id in ids}
    assert sealed == {id for (id,) in su.execute("select id from audit.event")}
