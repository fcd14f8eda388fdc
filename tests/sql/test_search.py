"""Searching: the right events, newest first, by an index, and one organization where a session names one."""

import psycopg
import pytest

from pgtrail_cli.demo import scenario

NEWEST = "select id from audit_internal.newest_events({filter}, 1000)"
HORIZON = "select occurred_at, id from audit_internal.search_horizon({filter}, %s)"


@pytest.fixture
def full(nemo):
    """The reference application after the demo's day."""
    with nemo.connect("app") as app:
        scenario.play(app)
    return nemo


def wanted(**fields):
    """A filter as SQL, and its parameters."""
    return "audit.filter(%s)", psycopg.types.json.Jsonb(fields)


def newest(connection, **fields):
    text, parameter = wanted(**fields)
    return [row[0] for row in connection.execute(NEWEST.format(filter=text), [parameter])]


def org_of(connection, slug="acme"):
    return connection.execute("select id::text from nemo.organization where slug = %s", [slug]).fetchone()[0]


FILTERS = [
    {},
    {"categories": ["plan"]},
    {"categories": ["api_keys", "teams"], "actions": ["*.created"]},
    {"actions": ["key.*"]},
    {"actors": ["*cleo*"]},
    {"resources": ["PROD"]},
    {"words": "inc-4711"},
    {"words": "Gpt-6", "categories": ["teams"]},
    {"since": "2001-01-01", "until": "2002-01-01"},
    {"actor_type": "user", "actor_id": "usr_bob"},
    {"actor_type": "service", "actor_id": "usr_bob"},
    {"actor_id": "usr_bob"},
    {"actor_id": "usr_bob", "actions": ["*.created"]},
]


@pytest.mark.any_server
@pytest.mark.parametrize("fields", FILTERS, ids=str)
def test_whatever_index_serves_a_filter_it_finds_what_passes_newest_first(full, fields):
    su = full.connect()
    text, parameter = wanted(**fields)
    for orgs in (None, [org_of(su)], [org_of(su), "nope"]):
        parameter = psycopg.types.json.Jsonb({**fields, "orgs": orgs})
        passing = su.execute(
            f"select id from audit.event where audit.matches_filter(event, {text}) order by occurred_at desc, id desc",
            [parameter],
        ).fetchall()
        assert newest(su, **fields, orgs=orgs) == [row[0] for row in passing]
    assert (len(newest(su, **fields)) > 0) == (fields not in (FILTERS[8], FILTERS[10]))


def test_pages_go_on_where_the_last_one_ended(full):
    su = full.connect()
    pages, before = [], {}
    while True:
        text, parameter = wanted(categories=["api_keys", "teams"], **before)
        page = su.execute(
            f"select id, occurred_at::text from audit_internal.newest_events({text}, 4)", [parameter]
        ).fetchall()
        if not page:
            break
        pages.append([row[0] for row in page])
        before = {"before_time": page[-1][1], "before_id": page[-1][0]}
    assert [event for page in pages for event in page] == newest(su, categories=["api_keys", "teams"])
    assert len(pages) > 2


@pytest.mark.any_server
def test_the_horizon_is_where_so_many_events_have_been_looked_at(full):
    su = full.connect()
    everything = newest(su)
    text, parameter = wanted()
    assert su.execute(HORIZON.format(filter=text), [parameter, 10]).fetchone()[1] == everything[10]
    assert su.execute(HORIZON.format(filter=text), [parameter, 10_000]).fetchone() == (None, None)
    acme = org_of(su)
    text, parameter = wanted(orgs=[acme, "nope"])
    theirs = newest(su, orgs=[acme])
    assert su.execute(HORIZON.format(filter=text), [parameter, 10]).fetchone()[1] == theirs[5]
    looked_at = su.execute(
        "select (event).id from audit.search(%s, 1000, 10)",
        [psycopg.types.json.Jsonb({"orgs": [acme, "nope"], "words": ""})],
    )
    assert [row[0] for row in looked_at] == [*theirs[:6], None]


@pytest.mark.any_server
def test_counts_are_of_all_that_passes_or_say_how_far_back_they_reach(full):
    su = full.connect()
    counted = "select category, events, counted_from from audit_internal.count_events('{}', 'day', %s)"
    rows = su.execute(counted, [10_000]).fetchall()
    by_category = su.execute("select category, count(*) from audit.event group by 1 order by 1").fetchall()
    assert sorted(row[:2] for row in rows) == by_category
    assert {row[2] for row in rows} == {None}
    rows = su.execute(counted, [10]).fetchall()
    assert sum(row[1] for row in rows) == 10
    assert all(row[2] is not None for row in rows)


@pytest.mark.any_server
def test_kinds_are_the_categories_and_actions_that_there_are(full):
    su = full.connect()
    distinct = su.execute("select distinct category, action from audit.event order by 1, 2").fetchall()
    assert su.execute("select * from audit_internal.known_actions()").fetchall() == distinct


def test_who_names_an_organization_sees_that_one_alone_however_they_ask(full):
    su = full.connect()
    acme, trial = org_of(su), su.execute(
        "select resource_id from audit.event where action = 'organization.deleted'"
    ).fetchone()[0]  # fmt: skip
    auditor = full.connect("auditor")
    with auditor.transaction():
        auditor.execute(
            "select set_config('role', 'audit_org_reader', true), set_config('pgtrail.org', %s, true)", [acme]
        )
        assert auditor.execute("select distinct org_id from audit.event").fetchall() == [(acme,)]
        assert auditor.execute("select audit_internal.visible_orgs()").fetchone() == ([acme],)
        assert newest(auditor, orgs=[trial]) == []
        assert auditor.execute(
            "select (audit_internal.restrict_to_visible(audit.filter(%s))).orgs",
            [psycopg.types.json.Jsonb({"orgs": [trial]})],
        ).fetchone() == ([],)
        auditor.execute("select audit_internal.record_export('{}', 0)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), auditor.transaction():
            auditor.execute("select from audit.destination")
    # Outside of it, all of them; and the export is an event of the organization's.
    assert len(auditor.execute("select distinct org_id from audit.event").fetchall()) > 2
    assert auditor.execute("select org_id from audit.event where action = 'audit.exported'").fetchall() == [(acme,)]
    with auditor.transaction():
        auditor.execute("set local role audit_org_reader")
        assert auditor.execute("select count(*) from audit.event").fetchone() == (0,)
        assert newest(auditor) == []


def test_a_reader_can_neither_become_it_nor_reach_further_by_naming_an_organization(full):
    su = full.connect()
    acme = org_of(su)
    reader = full.connect("reader")
    reader.execute("select set_config('pgtrail.org', %s, false)", [acme])
    assert reader.execute("select count(*) from audit.event").fetchone() == (0,)
    assert reader.execute("select audit_internal.visible_orgs()").fetchone() == ([],)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("set role audit_org_reader")


def test_an_event_tells_its_seal_and_whether_it_holds_to_whoever_may_read_it(full):
    su = full.connect()
    acme = org_of(su)
    (event_id,) = su.execute("select id from audit.event where action = 'key.rotated'").fetchone()
    auditor = full.connect("auditor")
    state = "select sealed.number from audit.event cross join lateral audit_internal.event_seal(event) as sealed where event.id = %s"
    problems = "select problem from audit.event cross join lateral audit_internal.check_event(event) as problem where event.id = %s"
    assert auditor.execute(state, [event_id]).fetchall() == []
    su.execute("select audit.seal()")
    with auditor.transaction():
        auditor.execute(
            "select set_config('role', 'audit_org_reader', true), set_config('pgtrail.org', %s, true)", [acme]
        )
        assert auditor.execute(state, [event_id]).fetchall() == [(1,)]
        assert auditor.execute(problems, [event_id]).fetchall() == []
        with pytest.raises(psycopg.Error, match="not the event as it is recorded"), auditor.transaction():
            auditor.execute(
                "select audit_internal.event_seal((event.id, event.xid, now(), null, 'a', 'a', null, null, 'a', null, null, 'a', null, null, null, null, null, null, 'a', null, null, null, null, null, null, null, null, null, null)::audit.event) from audit.event where id = %s",
                [event_id],
            )
    su.execute("set session_replication_role = replica")
    su.execute("update audit.event set actor_id = 'somebody else' where id = %s", [event_id])
    assert len(auditor.execute(problems, [event_id]).fetchall()) == 1


@pytest.mark.any_server
@pytest.mark.parametrize(
    ("fields", "state", "says"),
    [
        ({"colour": "red"}, "PT009", 'no option "colour"'),
        ({"orgs": "acme"}, "PT009", '"orgs" is not a list of strings'),
        ({"orgs": [["acme"]]}, "PT009", '"orgs" is not a list of strings'),
        ({"days": "7"}, "PT009", '"days" is not a number'),
        ({"first_day": "someday"}, "PT009", "invalid day, number or time"),
        ([], "PT009", "not a JSON object"),
        ({"categories": ["nope"]}, "PT002", "nope"),
        ({"since": "someday"}, "PT009", 'invalid time "someday"'),
        ({"actors": ["x" * 2001]}, "PT009", "longer than 2000"),
    ],
    ids=str,
)
def test_a_filter_that_can_t_be_meant_is_refused(db, fields, state, says):
    with pytest.raises(psycopg.Error, match=says) as raised:
        db.connect().execute("select audit.filter(%s)", [psycopg.types.json.Jsonb(fields)])
    assert raised.value.sqlstate == state


@pytest.mark.any_server
def test_an_organization_that_is_named_twice_gives_each_event_once(full):
    su = full.connect()
    acme = org_of(su)
    assert newest(su, orgs=[acme, acme]) == newest(su, orgs=[acme])


@pytest.mark.any_server
def test_days_are_those_of_the_session_and_both_included(db):
    su = db.connect()
    su.execute("set time zone 'Asia/Kathmandu'")
    times = "select since = %s::timestamptz, until = %s::timestamptz from audit.filter(%s)"
    days = psycopg.types.json.Jsonb({"first_day": "2026-03-01", "last_day": "2026-03-02"})
    assert su.execute(times, ["2026-03-01 00:00+05:45", "2026-03-03 00:00+05:45", days]).fetchone() == (True, True)
    (since,) = su.execute("select since = current_date - 6 from audit.filter('{\"days\": 7}')").fetchone()
    assert since
