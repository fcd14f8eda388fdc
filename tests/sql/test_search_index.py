"""The search index: it follows some time after the events, and a search finds the same with it as without."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
INSERT = """
    insert into audit.event (occurred_at, org_id, category, action, resource_type, resource_id, actor_type, actor_id)
    select %(begin)s + (each ->> 'hours')::integer * interval '1 hour', each ->> 'org', each ->> 'category', each ->> 'action', 't', 'r',
        each ->> 'type', each ->> 'actor'
    from jsonb_array_elements(%(events)s) as each
"""
EVENT = st.fixed_dictionaries(
    {
        # Weeks before and after each other, as imports are, and often at the same time.
        "hours": st.integers(0, 2000),
        "org": st.sampled_from(["a", "b", None]),
        "category": st.sampled_from(["teams", "plan"]),
        "action": st.sampled_from(["team.created", "team.deleted", "plan.changed"]),
        "type": st.sampled_from(["user", "service"]),
        "actor": st.sampled_from(["ann", "bob", "x" * 5000, None]),
    }
)
FILTER = st.fixed_dictionaries(
    {},
    optional={
        "orgs": st.sampled_from([["a"], ["a", "b"]]),
        "categories": st.sampled_from([["teams"], ["plan", "teams"], ["password"]]),
        "actions": st.sampled_from([["*.created"], ["plan.*", "team.deleted"]]),
        "actor_id": st.sampled_from(["ann", "bob", "x" * 5000, "nobody"]),
        "actor_type": st.sampled_from(["user", "database"]),
        "since": st.integers(0, 2000),
        "until": st.integers(0, 2000),
    },
)
NEWEST = "select id from audit_internal.newest_events(audit.filter(%s::jsonb || coalesce(%s::jsonb, '{}')), %s)"
PASSING = (
    "select id, occurred_at from audit.event where audit.matches_filter(event, audit.filter(%s::jsonb)) "
    "order by occurred_at desc, id desc"
)


def as_json(fields):
    times = {name: (BEGIN + timedelta(hours=fields[name])).isoformat() for name in ("since", "until") if name in fields}
    return json.dumps(fields | times)


def record(connection, events):
    connection.execute(INSERT, {"begin": BEGIN, "events": json.dumps(events)})


def index_all(connection, apart=100000):
    while connection.execute("select audit_internal.index_events(1, %s)", [apart]).fetchone() == (True,):
        pass


ALWAYS = [
    {"actor_id": "ann"},
    {"actor_id": "bob", "orgs": ["a", "b"]},
    {"actor_id": "ann", "actions": ["*.created"]},
    {"categories": ["teams"]},
    {"actions": ["*.created"], "since": 400, "until": 1600},
]


@given(
    # (Few at a time are of many actors and actions: what is found is then of many rows.)
    indexed=st.lists(
        st.tuples(st.lists(EVENT, min_size=12, max_size=24), st.sampled_from([3, 10, 100000])), min_size=3, max_size=5
    ),
    unindexed=st.lists(EVENT, max_size=4),
    fields=FILTER,
    page=st.integers(1, 12),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_indexed_already_the_same_events_are_found_in_pages(su, indexed, unindexed, fields, page):
    su.execute("set session_replication_role = replica; delete from audit.event; reset session_replication_role")
    su.execute("update audit.search_index_head set system_identifier = null")
    for events, apart in indexed:
        record(su, events)
        index_all(su, apart)
    record(su, unindexed)
    for wanted in map(as_json, [*ALWAYS, fields]):
        passing = su.execute(PASSING, [wanted]).fetchall()
        found, before = [], None
        while ids := [row[0] for row in su.execute(NEWEST, [wanted, before, page])]:
            found += ids
            last = next(row for row in passing if row[0] == ids[-1])
            before = json.dumps({"before_time": last[1].isoformat(), "before_id": last[0]})
        assert found == [row[0] for row in passing]
        assert [row[0] for row in su.execute(NEWEST, [wanted, None, None])] == found


def test_a_transaction_that_was_open_meanwhile_is_indexed_once_it_has_ended(db):
    su, other = db.connect(), db.connect()
    found = 'select count(*) from audit_internal.newest_events(audit.filter(\'{"actor_id": "ann"}\'), 9)'
    event = {"hours": 1, "org": "a", "category": "teams", "action": "team.created", "type": "user", "actor": "ann"}
    with other.transaction():
        record(other, [event])
        record(su, [event])
        index_all(su)
        assert su.execute(found).fetchone() == (1,)
    assert su.execute(found).fetchone() == (2,)
    index_all(su)
    assert su.execute(found).fetchone() == (2,)
    assert su.execute(
        "select sum(cardinality(ids)) from audit.search_index where action = 'team.created'"
    ).fetchone() == (2,)


def test_two_at_once_file_each_event_once(db):
    su, other = db.connect(), db.connect()
    index_all(su)
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 50)
    with other.transaction():
        assert other.execute("select audit_internal.index_events(1)").fetchone() == (False,)
        assert su.execute("select audit_internal.index_events(1)").fetchone() == (False,)
        assert su.execute("select count(*) from audit.search_index where action = 'a'").fetchone() == (0,)
    assert su.execute("select sum(cardinality(ids)) from audit.search_index where action = 'a'").fetchone() == (50,)


def test_few_events_wait_for_more(su):
    index_all(su)
    was = su.execute("select to_snapshot::text from audit.search_index_head").fetchone()
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 3)
    assert su.execute("select audit_internal.index_events(4)").fetchone() == (False,)
    assert su.execute("select to_snapshot::text from audit.search_index_head").fetchone() == was
    assert su.execute("select audit_internal.index_events(3)").fetchone() == (False,)
    assert su.execute("select to_snapshot::text from audit.search_index_head").fetchone() != was


def test_what_many_did_is_indexed_in_rows_of_a_bounded_length(su):
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}])
    for _ in range(13):
        su.execute(
            "insert into audit.event (occurred_at, org_id, category, action, resource_type, resource_id, actor_type, actor_id) "
            "select occurred_at, org_id, category, action, 't', 'r', actor_type, actor_id from audit.event where action = 'a'"
        )
    index_all(su)
    lengths = "select cardinality(ids), cardinality(times) from audit.search_index where action = 'a'"
    assert su.execute(lengths).fetchall() == [(1024, 1024)] * 8


def test_rows_of_few_events_are_merged(su):
    index_all(su)
    for _ in range(5):
        record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 2)
        index_all(su)
    lengths = (
        "select events, cardinality(ids), cardinality(times) from audit.search_index where action = 'a' order by number"
    )
    assert su.execute(lengths).fetchall() == [(2, 2, 2)] * 5
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 2)
    index_all(su, apart=5)
    assert su.execute(lengths).fetchall() == [(12, 12, 12)]
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 2)
    index_all(su, apart=5)
    assert su.execute(lengths).fetchall() == [(12, 12, 12), (2, 2, 2)]
    # A row of many stays as it is.
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 33)
    index_all(su)
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 2)
    index_all(su, apart=3)
    assert su.execute(lengths).fetchall() == [(12, 12, 12), (33, 33, 33), (4, 4, 4)]


def test_whoever_sees_some_organizations_sees_what_is_indexed_of_these_alone(nemo):
    su = nemo.connect()
    for org, actor in (("a", "ann"), ("b", "ann"), ("b", "bob"), (None, "ann")):
        record(su, [{"hours": 1, "org": org, "category": "teams", "action": "a", "type": "user", "actor": actor}])
    index_all(su)
    su.execute("select audit.grant_org('reader', 'a')")
    reader = nemo.connect("reader")
    assert reader.execute("select org_id, cardinality(ids) from audit.search_index").fetchall() == [("a", 1)]
    assert (
        reader.execute("select id from audit_internal.unindexed_events() where actor_id <> 'postgres'").fetchall() == []
    )
    for fields, count in (
        ({"actor_id": "ann"}, 1),
        ({"actor_id": "bob"}, 0),
        ({"actions": ["a"]}, 1),
        ({"orgs": ["b"]}, 0),
    ):
        assert len(reader.execute(NEWEST, [json.dumps(fields), None, 9]).fetchall()) == count
    assert ("teams", "a") in reader.execute("select * from audit_internal.known_actions()").fetchall()


def test_a_person_who_is_erased_is_found_by_their_pseudonym(nemo):
    su = nemo.connect()
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}] * 2)
    index_all(su)
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}])
    su.execute("select audit.erase_actor('ann', 'request 17')")
    (pseudonym,) = su.execute("select pseudonym from audit.erasure").fetchone()
    for indexed in (False, True):
        if indexed:
            index_all(su)
        found = [
            len(su.execute(NEWEST, [json.dumps({"actor_id": actor}), None, 9]).fetchall())
            for actor in ("ann", pseudonym)
        ]
        assert found == [0, 3]
    hashed = "select count(*) from audit.search_index where actor_hash = hashtextextended('ann', 0)"
    assert su.execute(hashed).fetchone() == (0,)


def test_whoever_files_waits_for_an_erasure(db):
    su, other = db.connect(), db.connect()
    index_all(su)
    record(su, [{"hours": 1, "org": "a", "category": "teams", "action": "a", "type": "user", "actor": "ann"}])
    with other.transaction():
        other.execute("select audit.erase_actor('ann', 'request 17')")
        assert su.execute("select audit_internal.index_events(1)").fetchone() == (False,)
    index_all(su)
    hashed = "select count(*) from audit.search_index where actor_hash = hashtextextended('ann', 0)"
    assert su.execute(hashed).fetchone() == (0,)


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
def test_an_event_of_no_time_of_the_calendar_is_found(su, moment):
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type, actor_id) values (%s, 'teams', 'a', 't', 'user', 'ann')",
        [moment],
    )
    for indexed in (False, True):
        if indexed:
            index_all(su)
        for fields in ({"actor_id": "ann"}, {"actions": ["a"]}):
            assert len(su.execute(NEWEST, [json.dumps(fields), None, 9]).fetchall()) == 1


@pytest.mark.parametrize("indexed", [False, True])
def test_what_retention_drops_is_indexed_no_longer(su, indexed):
    su.execute("set role audit_owner")
    for month in ("01", "02"):
        su.execute(f"create table audit.event_2020_{month} (like audit.event including defaults including constraints)")
        su.execute(
            f"select audit_internal.attach_partition('event_2020_{month}', '2020-{month}-01Z', '2020-{month}-01Z'::timestamptz + interval '1 month')"
        )
    su.execute("reset role")
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type, actor_id) "
        "select '2020-01-30Z'::timestamptz + n * interval '1 day', 'teams', case when n > 0 then 'late' else 'a' end, 't', 'user', 'ann' "
        "from generate_series(0, 5) as n"
    )
    if indexed:
        index_all(su)
    su.execute("select audit.set_retention('1 year')")
    su.execute("select audit.seal()")
    su.execute("select audit.drop_partition('audit.event_2020_01')")
    left = su.execute(NEWEST, [json.dumps({"actor_id": "ann"}), None, 9]).fetchall()
    assert len(left) == 4
    assert ("teams", "a") not in su.execute("select * from audit_internal.known_actions()").fetchall()
