"""Partitions and views."""

import csv
import io

import pytest

pytestmark = pytest.mark.any_server

FAR = "insert into audit.event (occurred_at, category, action, resource_type, actor_type) values (%s, 'audit', 'a.b', 'x', 'y')"


@pytest.fixture
def su(db):
    return db.connect()


def partitions(connection):
    return connection.execute(
        "select partition::text, begins, ends from audit_internal.partition_bounds() order by 2"
    ).fetchall()


def test_partitions_are_made_ahead_once_and_follow_each_other(su):
    made = partitions(su)
    assert len(made) == 4
    assert [begin for _, begin, _ in made[1:]] == [end for _, _, end in made[:-1]]
    assert su.execute("select audit.make_partitions()").fetchone() == (0,)
    assert su.execute("select audit.make_partitions(6)").fetchone() == (3,)
    assert partitions(su)[:4] == made


def test_an_event_without_a_partition_is_caught_and_its_months_become_one_without_moving_a_row(su):
    su.execute("set timezone = 'UTC'")
    for time in ("2031-03-05", "2031-05-31 23:59:59.999999"):
        su.execute(FAR, [time])
    where = (
        "select tableoid::regclass::text, ctid::text, id from audit.event where occurred_at > '2031-01-01' order by id"
    )
    caught = su.execute(where).fetchall()
    assert {row[0] for row in caught} == {"audit.event_default"}
    su.execute("select audit.make_partitions()")
    adopted = su.execute(where).fetchall()
    assert {row[0] for row in adopted} == {"audit.event_2031_03_to_2031_05"}
    assert [row[1:] for row in adopted] == [row[1:] for row in caught]
    assert su.execute("select count(*) from audit.event_default").fetchone() == (0,)
    for table in ("audit.event_2031_03_to_2031_05", "audit.event_default"):
        with pytest.raises(Exception, match="append-only"):
            su.execute(f"truncate {table}")
    su.execute(FAR, ["2031-04-01"])
    su.execute(FAR, ["2041-04-01"])


def test_rows_that_a_partition_was_too_late_for_stay_where_they_are_and_are_read(su):
    su.execute("set timezone = 'UTC'")
    first = partitions(su)[0][1]
    su.execute(FAR, [first.replace(year=first.year - 1)])
    su.execute(FAR, [first.replace(year=first.year + 5)])
    assert su.execute("select audit.make_partitions()").fetchone() == (0,)
    assert su.execute("select count(*) from audit.log where action = 'a.b'").fetchone() == (2,)


def test_making_partitions_waits_for_no_writer_and_holds_none_up(db, su):
    su.execute("create table public.thing (id int primary key)")
    su.execute("select audit.track('public.thing')")
    su.execute("grant all on public.thing to app")
    writer = db.connect("app", autocommit=False)
    writer.execute("insert into public.thing values (1)")
    su.execute("set lock_timeout = '2s'")
    with su.transaction():
        assert su.execute("select audit.make_partitions(9)").fetchone() == (6,)
        other = db.connect("app")
        other.execute("set lock_timeout = '2s'")
        other.execute("insert into public.thing values (2)")
    writer.commit()


CATEGORIES = (
    "api_keys", "members", "teams", "organization", "budgets", "guardrails", "plan", "settings", "data_policy", "profile",
    "password",
)  # fmt: skip


@pytest.fixture
def populated(nemo):
    from pgtrail_cli.demo import scenario

    with nemo.connect("app") as app:
        scenario.play(app)
    return nemo.connect("auditor")


def test_each_category_has_a_view_of_just_its_events(populated):
    total = 0
    for category in CATEGORIES:
        rows = populated.execute(f"select distinct category, count(*) over () from audit.{category}").fetchall()
        assert [row[0] for row in rows] == [category]
        total += rows[0][1]
    assert populated.execute("select count(*) from audit.log where category <> 'audit'").fetchone() == (total,)
    ordered = populated.execute("select array_agg(name order by position) from audit.category where name <> 'audit'")
    assert tuple(ordered.fetchone()[0]) == CATEGORIES


def test_the_scenario_of_the_demo_does_every_action_of_the_catalogue(populated):
    from pgtrail_cli.demo import scenario

    done = {row[0] for row in populated.execute("select distinct action from audit.log where category <> 'audit'")}
    assert done == set(scenario.ACTIONS)


def test_the_diff_has_a_row_for_each_field_and_says_what_moved(populated):
    rotated = populated.execute("select id, changed, details from audit.log where action = 'key.rotated'").fetchone()
    rows = populated.execute("select field, before, after, changed from audit.diff where event_id = %s", [rotated[0]])
    diff = {row[0]: row[1:] for row in rows}
    assert (
        {field for field, (_, _, changed) in diff.items() if changed} == set(rotated[1]) == {"key_hash", "key_prefix"}
    )
    assert diff["key_hash"] == ("[redacted]", "[redacted]", True)
    assert diff["name"] == ("prod", "prod", False)
    assert rotated[2]["key_prefix"] == {"before": "sk-1", "after": "sk-1b"}


def test_the_newest_page_is_read_from_an_index(populated, nemo):
    su = nemo.connect()
    su.execute("set enable_seqscan = off")
    for where in ("", "where org_id = 'x'"):
        plan = su.execute(
            f"explain select * from audit.log {where} order by occurred_at desc, id desc limit 50"
        ).fetchall()
        text = "\n".join(row[0] for row in plan)
        assert "Sort  (" not in text, "a Merge Append of index scans, nothing sorted"
        assert "Index Scan Backward" in text


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(nemo):
    su = nemo.connect()
    names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "fine", "a=b", 'quo"te, and\nline']
    su.execute(
        "insert into nemo.organization (name, slug) select name, md5(name) from unnest(%s::text[]) as name", [names]
    )
    with su.cursor().copy("copy (select * from audit.export) to stdout csv header") as copy:
        text = b"".join(bytes(chunk) for chunk in copy).decode()
    rows = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["action"] == "organization.created"]
    assert [row["resource"] for row in rows] == [f"'{name}" for name in names[:6]] + names[6:]
    assert not any(cell[:1] in tuple("=+-@\t\r") for row in rows for cell in row.values() if cell)


@pytest.mark.parametrize(
    "setting", ["datestyle = 'German'", "timezone = 'Asia/Kathmandu'", "intervalstyle = 'iso_8601'"]
)
def test_the_export_is_the_same_whatever_the_client_has_set(populated, setting):
    query = "select md5(string_agg(export::text, '|')) from (select * from audit.export) as export"
    before = populated.execute(query).fetchone()
    populated.execute(f"set {setting}")
    assert populated.execute(query).fetchone() == before
