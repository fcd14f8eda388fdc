"""The archive is asked for the same events as the database: by the same filters, written in another SQL."""

import contextlib
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from tests.conftest import clone

from pgtrail.archive import reading
from pgtrail.archive.checking import check_month
from pgtrail.archive.engine import engine, run
from pgtrail.archive.formats import as_json, csv_header, csv_line, field_lines
from pgtrail.archive.location import Folder
from pgtrail.archive.manifest import EVENTS, part_of
from pgtrail.archive.spool import spool
from pgtrail.archive.writing import write_month

pytestmark = pytest.mark.any_server

TEXTS = (
    "",
    "a",
    "A",
    "b.a",
    "B_a",
    "a*",
    "a b",
    "a\nb",
    "a\\b",
    "%",
    "é",
    "(a|b)",
    "[a]",
    "^a$",
    "a.",
    "ab" * 20,
    "日",
    "-a",
)
JSON = (
    "{}",
    '{"a": 1}',
    '{"a": 1.0, "b": {"c": 1, "d": {"e": [1, 2]}}}',
    '{"a": "x", "b": {"c": 1.0, "d": {"e": [1]}}}',
    '{"b": null, "é": "' + "y" * 90 + '"}',
)
START = datetime(2020, 1, 5, tzinfo=UTC)
HOURS = 300


@pytest.fixture(scope="module")
def both(server, empty_template, tmp_path_factory):
    """A month of odd events in a database, and in an archive of several files that is open."""
    with contextlib.contextmanager(clone)(server, empty_template) as database:
        su = database.connect()
        with made(su, tmp_path_factory.mktemp("archive")) as archive:
            yield su, archive


@contextlib.contextmanager
def made(su, folder):
    """The month, and its archive."""
    su.execute("create table audit.event_2020_01 (like audit.event including defaults including constraints)")
    su.execute("alter table audit.event_2020_01 owner to audit_owner")
    su.execute("select audit_internal.attach_partition('event_2020_01', '2020-01-01Z', '2020-02-01Z')")
    su.execute(
        "insert into audit.event (occurred_at, org_id, category, action, resource_type, resource_id, resource_label, actor_type, actor_id, "
        "actor_label, operation, before, after, changed, resource_hash) "
        "select %(start)s + (n / 2) * interval '1 hour', org, (array['teams', 'members'])[1 + n %% 2], (array['key.created', 'key.rotated', 'a'])[1 + n %% 3], 't', resource, "
        "label, 'user', actor, name, case n %% 3 when 0 then 'UPDATE' when 1 then 'INSERT' else 'DELETE' end, "
        "case n %% 3 when 1 then null else json[1 + n %% 5]::jsonb end, case n %% 3 when 2 then null else json[1 + (n / 3) %% 5]::jsonb end, "
        "case n %% 3 when 0 then array['a', 'b'] end, hashtextextended(resource, 0) "
        "from (select n, %(texts)s::text[] as texts, %(json)s::text[] as json from generate_series(0, 499) as n) as given "
        "cross join lateral (select texts[1 + n %% 18] as resource, texts[1 + (n / 7) %% 19] as label, texts[1 + (n / 3) %% 18] as actor, "
        "texts[1 + (n / 5) %% 19] as name, texts[1 + (n / 11) %% 19] as org) as chosen",
        {"start": START, "texts": list(TEXTS), "json": list(JSON)},
    )
    while su.execute("select number from audit.seal() where number is not null").fetchone():
        pass
    for name in ("place", "spool"):
        (folder / name).mkdir()
    place = Folder(folder / "place")
    month, _ = write_month(
        spool(su, "audit.event_2020_01", folder / "spool"), place, folder / "spool", jobs=1, events_a_part=100
    )
    assert len(month.of_kind(EVENTS)) > 3
    assert list(check_month(place, month, folder, jobs=1)) == []
    with reading.open_archive(str(place.root), jobs=1) as archive:
        yield archive


texts = st.lists(st.sampled_from([*TEXTS, "nothing"]), min_size=1, max_size=3, unique=True)
patterns = st.lists(
    st.text("aAb*._ \\|()[]^$-%é\n", max_size=5) | st.sampled_from(["*a*", "key.*", "*"]), min_size=1, max_size=3
)
moments = st.integers(-10, HOURS).map(lambda hours: START + timedelta(hours=hours))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "categories": st.lists(st.sampled_from(["teams", "members", "audit"]), min_size=1, max_size=2),
            "orgs": texts,
            "actions": patterns,
            "actors": patterns,
            "resources": patterns,
            "actor_id": st.sampled_from(TEXTS),
            "resource_id": st.sampled_from(TEXTS),
            "since": moments,
            "until": moments,
        },
    ),
    st.sampled_from([3, 1000]),
)
def test_every_filter_finds_the_same_events_in_the_same_order(both, chosen, most):
    su, archive = both
    names = (*reading.LISTS, "actor_id", "resource_id", "since", "until")
    wanted = {name: chosen.get(name) for name in names}
    # (What pgtrail records of itself is of the present.)
    until = min(wanted["until"] or datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
    since = {"since": str(wanted["since"])} if wanted["since"] else {}
    asked = Jsonb(wanted | since | {"until": str(until)})
    live = [
        row[0] for row in su.execute("select id from audit_internal.newest_events(audit.filter(%s), %s)", [asked, most])
    ]
    assert [event["id"] for event in archive.newest(wanted, most)] == live
    count = "select count(*) from audit.event, audit.filter(%s) as filter where audit.matches_filter(event, filter)"
    assert (archive.count(wanted),) == su.execute(count, [asked]).fetchone()


def test_every_event_reads_as_the_database_writes_it(both):
    su, archive = both
    events = list(archive.oldest_first(dict.fromkeys((*reading.LISTS, "actor_id", "resource_id", "since", "until"))))
    assert len(events) == 500
    stored = su.execute(
        "select audit.event_json(event)::text, details::text from audit.event "
        "cross join lateral audit_internal.short_details(before, after, changed, 61) as details where occurred_at < '2021-01-01' order by occurred_at, id"
    ).fetchall()
    assert [(as_json(event), event["summary"]) for event in events] == stored
    for view, ours in (
        ("audit.export", csv_header() + b"".join(map(csv_line, events))),
        (
            "audit.export_fields",
            csv_header(by_field=True) + b"".join(line for event in events for line in field_lines(event)),
        ),
    ):
        with su.cursor().copy(
            f"copy (select * from {view} where timestamp_utc < '2021') to stdout (format csv, header)"
        ) as pieces:
            assert b"".join(pieces) == ours


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(1, 256))
def test_an_organization_is_looked_for_in_the_file_it_was_written_to(tmp_path_factory, org, parts):
    with engine(tmp_path_factory.mktemp("part"), jobs=1) as working:
        working.execute(
            "create or replace temp table asked as select part_of($org, $parts) as part", {"org": org, "parts": parts}
        )
        assert working.execute("from asked").fetchone() == (part_of(org, parts),)
        assert run(working, "moment", {"description": "no time"}).fetchone() == (None,)


def test_an_event_in_another_file_than_it_is_looked_for_in_is_named(both, tmp_path):
    _, archive = both
    (month,) = archive.months
    shutil.copytree(archive.location.root, tmp_path / "place")
    place = Folder(tmp_path / "place")
    one, other = (place.uri(month.path(file)) for file in month.of_kind(EVENTS)[:2])
    with engine(tmp_path, jobs=1) as working:
        working.execute(
            "create table was as select * from read_parquet($file, hive_partitioning = false)", {"file": one}
        )
        (moved,) = working.execute("select min(id) from was").fetchone()
        working.execute(
            "create table into_other as select * from read_parquet($file, hive_partitioning = false)", {"file": other}
        )
        working.execute(f"insert into into_other from was where id = {moved}")
        working.execute(f"copy (from was where id <> {moved}) to '{one}' (format parquet)")
        working.execute(f"copy into_other to '{other}' (format parquet)")
    found = [problem for problem in check_month(place, month, tmp_path, jobs=1) if "SHA-256" not in problem[1]]
    assert found == [(f"event {moved}", "it is in the wrong file")]
