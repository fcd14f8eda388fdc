"""For how long events are kept: months that go, and months that stay."""

import json
import re
from hashlib import sha256

import psycopg
import pytest
from tests.verifying import problems, verified
from tests.web.conftest import serving

pytestmark = pytest.mark.any_server


@pytest.fixture
def aged(nemo):
    """Two months of 2020 with 20 and 10 events, sealed, of two organizations; and the present one."""
    su = nemo.connect()
    su.execute("set role audit_owner")
    for month in (1, 2):
        su.execute(
            f"create table audit.event_2020_0{month} (like audit.event including defaults including constraints)"
        )
        su.execute(
            f"select audit_internal.attach_partition('event_2020_0{month}', '2020-0{month}-01Z', '2020-0{month + 1}-01Z')"
        )
    su.execute("reset role")
    su.execute(
        "insert into audit.event (occurred_at, org_id, category, action, operation, resource_type, resource_id, resource_label, "
        "actor_type, actor_id, actor_label, actor_ip, reason, before, after, changed, imported_from, resource_hash) "
        "select case when n <= 20 then timestamptz '2020-01-05Z' else '2020-02-05Z' end + n * interval '1 hour', "
        "case n % 2 when 0 then 'a' else 'b' end, 'teams', 'profile.updated', 'UPDATE', 'profile', n::text, E'\\\\N', "
        "'user', 'ann', E'x\\n\"y\"', '192.0.2.7', case n % 3 when 0 then '' when 1 then E'\\\\odd' end, "
        "'{\"email\": \"a@x\"}', jsonb_build_object('n', n, 'x', E'é\\t'), '{n,x}', case n % 5 when 0 then E'\\\\tool 1' end, hashtextextended(n::text, 0) from generate_series(1, 30) as n"
    )
    seal(su)
    return nemo


def seal(connection):
    while connection.execute("select number from audit.seal(7) where number is not null").fetchone():
        pass


def months(database):
    return [
        row[0]
        for row in database.connect().execute(
            "select partition::text from audit_internal.partition_bounds() where ends < now() order by begins"
        )
    ]


def test_nothing_is_dropped_that_nobody_set(aged, pgtrail, tmp_path):
    done = pgtrail("retention", "run", "--archive", str(tmp_path), dsn=aged.dsn("admin"))
    assert (done.returncode, done.stdout) == (0, "")
    assert len(months(aged)) == 2


def test_old_months_are_archived_then_dropped_and_both_chain_and_archive_hold(aged, pgtrail, tmp_path):
    dsn = aged.dsn("admin")
    su = aged.connect()
    su.execute("select audit.erase_actor('ann', 'ticket 1')")
    seal(su)
    assert pgtrail("retention", "set", "400d", dsn=dsn).returncode == 0
    assert pgtrail("retention", "run", dsn=dsn).returncode == 2, "with or without an archive must be said"
    dry = pgtrail("retention", "run", "--dry-run", dsn=dsn)
    assert dry.stdout.split() == ["audit.event_2020_01", "audit.event_2020_02"]
    done = pgtrail("retention", "run", "--archive", str(tmp_path), dsn=dsn)
    assert (done.returncode, done.stdout) == (0, dry.stdout), done.stderr
    assert months(aged) == []
    assert problems(su) == []
    checked = pgtrail("verify", "--archive", str(tmp_path))
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
    manifest = "month=2020-01/_event_2020_01.manifest.json"
    (event,) = su.execute(
        "select after from audit.event where action = 'audit.partition_dropped' order by id limit 1"
    ).fetchone()
    digest = sha256((tmp_path / manifest).read_bytes()).hexdigest()
    assert (event["events"], event["archive"], event["archive_sha256"]) == (20, manifest, digest)
    written = [path for path in tmp_path.rglob("*") if "month=" in str(path)]
    assert {path.stat().st_mode & 0o077 for path in written} == {0}, "beside the events lie the salts"
    listed = pgtrail("verify", dsn=aged.dsn("auditor"))
    assert listed.returncode == 0, listed.stdout
    assert [line.split(":")[0] for line in listed.stdout.splitlines()][:2] == [
        "removal audit.event_2020_01",
        "removal audit.event_2020_02",
    ]
    assert f"20 events, archive {manifest} (not checked here)" in listed.stdout
    seal(su)
    with su.transaction():
        su.execute("set local session_replication_role = replica")
        su.execute("update audit.dropped_partition set ids = ids + '{[1,100000)}'")
    assert any("the event of its removal" in str(problem) for problem in problems(su))


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ("select audit.place_hold('case', 'why', p_org => 'a')", "legal hold case"),
        ("select audit.place_hold('case', 'why', p_until => '2020-01-06Z')", "legal hold case"),
        (
            "select audit.add_destination('siem', 'https://x.example', options => '{\"since\": \"2019-01-01\"}')",
            "destination siem has not received 16 of its events",
        ),
        (
            "select audit.add_destination('siem', 'https://x.example', options => '{\"since\": \"2019-01-01\"}'); select audit.pause_destination('siem')",
            "destination siem has not received 16 of its events",
        ),
        (
            (
                "select audit.add_destination('siem', 'https://x.example'); insert into audit.dead_letter (destination_id, event_id, error) "
                "select destination.id, min(event.id), 'no' from audit.destination, audit.event_2020_01 as event group by destination.id"
            ),
            "destination siem has 1 dead letters in it",
        ),
        (
            "select audit.add_destination('siem', 'https://x.example'); select audit.replay_events('siem', 'why', since => '2019-01-01')",
            "a replay to destination siem is not finished",
        ),
    ],
)
def test_what_must_stay_stays_and_says_why(aged, pgtrail, prepare, reason):
    su, dsn = aged.connect(), aged.dsn("admin")
    su.execute(prepare)
    pgtrail("retention", "set", "400d", dsn=dsn)
    done = pgtrail("retention", "run", "--without-archive", dsn=dsn)
    assert done.returncode == 1
    assert f"kept audit.event_2020_01: {reason}" in done.stderr
    assert "audit.event_2020_01" in months(aged)
    with pytest.raises(psycopg.Error) as raised:
        aged.connect("admin").execute("select audit.drop_partition('audit.event_2020_01')")
    assert raised.value.sqlstate == "PT024"
    given_up = pgtrail("retention", "run", "--without-archive", "--include-undelivered", dsn=dsn)
    assert ("audit.event_2020_01" in months(aged)) == ("hold" in reason)
    assert given_up.returncode == (1 if "hold" in reason else 0)
    if "hold" in reason:
        pgtrail("retention", "release", "case", dsn=dsn)
        assert pgtrail("retention", "run", "--without-archive", dsn=dsn).returncode == 0
        assert months(aged) == []


def test_what_is_not_sealed_stays(aged):
    su = aged.connect()
    su.execute("select audit.set_retention('400 days')")
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type) values ('2020-01-09Z', 'teams', 'a.b', 'x', 'user')"
    )
    plan = su.execute("select partition, kept_because from audit.retention_plan()").fetchall()
    assert plan == [("audit.event_2020_01", ["1 events are not sealed yet"]), ("audit.event_2020_02", [])]


def test_the_longest_keep_of_its_categories_holds_a_month(aged):
    su = aged.connect()
    su.execute("select audit.set_retention('400 days'), audit.set_retention('100 years', 'teams')")
    assert su.execute("select count(*) from audit.retention_plan()").fetchone() == (0,)
    su.execute("select audit.clear_retention(), audit.set_retention('400 days', 'teams')")
    assert su.execute("select count(*) from audit.retention_plan()").fetchone() == (2,)
    su.execute("select audit.set_retention('400 days', 'members'), audit.clear_retention('teams')")
    assert su.execute("select count(*) from audit.retention_plan()").fetchone() == (0,)


@pytest.mark.parametrize("partition", ["audit.event_default", "audit.event", "nemo.team", "audit.seal"])
def test_nothing_but_an_old_month_is_ever_dropped(aged, partition):
    su = aged.connect()
    su.execute("select audit.set_retention('1 day')")
    present = su.execute(
        "select partition::text from audit_internal.partition_bounds() where ends > now() order by begins limit 1"
    ).fetchone()[0]
    for name in (partition, present):
        with pytest.raises(psycopg.Error) as raised:
            su.execute("select audit.drop_partition(%s)", [name])
        assert raised.value.sqlstate == "PT024"


def test_status_shows_what_is_kept_for_how_long_and_what_is_held(aged, pgtrail):
    dsn = aged.dsn("admin")
    for arguments, shown in (
        (("set", "400d"), "400 days"),
        (("set", "forever", "--category", "audit"), "400 days, audit: forever"),
        (("set", "default", "--category", "audit"), "400 days"),
        (("set", "7 years", "--category", "teams"), "400 days, teams: 7 years"),
        (("set", "forever"), "forever, teams: 7 years"),
    ):
        assert pgtrail("retention", *arguments, dsn=dsn).returncode == 0
        assert re.search(rf"kept\s+{shown} *$", pgtrail("status", dsn=dsn).stdout, re.MULTILINE)
    assert pgtrail("retention", "set", "default", dsn=dsn).returncode == 2
    assert pgtrail("retention", "hold", "case", "--org", "a", "--reason", "why", dsn=dsn).returncode == 0
    assert re.search(r"^case\s+a\s+why", pgtrail("status", dsn=aged.dsn("auditor")).stdout, re.MULTILINE)
    as_json = json.loads(pgtrail("status", "--json", dsn=dsn).stdout)
    assert as_json["retention"] == [{"category": "teams", "keep": "7 years"}]
    assert [hold["hold"] for hold in as_json["legal_holds"]] == ["case"]


def test_each_setting_is_an_event_and_an_admins(aged, pgtrail):
    dsn = aged.dsn("admin")
    for arguments in (
        ("set", "400d"), ("set", "7 years", "--category", "audit"), ("set", "500d"), ("set", "default", "--category", "audit"),
        ("hold", "case", "--org", "a", "--since", "2020-01-01", "--reason", "why"), ("release", "case"),
    ):  # fmt: skip
        assert pgtrail("retention", *arguments, dsn=dsn).returncode == 0
    actions = aged.connect().execute(
        "select substr(action, 7) from audit.event where resource_type in ('retention', 'legal_hold') order by id"
    )
    assert [row[0] for row in actions] == ["retention_set"] * 3 + ["retention_cleared", "hold_placed", "hold_released"]
    for arguments, says in (
        (("set", "1 second"), "at least a day"), (("set", "long"), "interval"), (("set", "1 year", "--category", "x"), "no category"),
        (("hold", "case", "--reason", " "), "and a reason"), (("release", "nothing"), "no legal hold"),
    ):  # fmt: skip
        done = pgtrail("retention", *arguments, dsn=dsn)
        assert done.returncode == 1
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    for user in ("app", "reader", "auditor", "forwarder"):
        for call in (
            "set_retention('400 days')",
            "place_hold('x', 'y')",
            "release_hold('x')",
            "drop_partition('audit.event_2020_01')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                aged.connect(user).execute(f"select audit.{call}")


def test_a_reader_that_stays_holds_up_a_drop_but_no_writer_for_long(aged):
    su = aged.connect()
    su.execute("select audit.set_retention('400 days')")
    reader = aged.connect("auditor", autocommit=False)
    reader.execute("select count(*) from audit.event")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        su.execute("select audit.drop_partition('audit.event_2020_01')")
    reader.rollback()
    su.execute("select audit.drop_partition('audit.event_2020_01')")


def test_a_month_that_is_not_due_goes_to_an_invented_archive_and_verify_says_so(aged):
    aged.connect("admin").execute(
        "select audit.drop_partition('audit.event_2020_01', 'nowhere.csv', sha256('x'), p_before => now())"
    )
    su = aged.connect()
    seal(su)
    said, _, evidence = verified(su)
    assert said == []
    ((_, name, text),) = evidence.listed
    assert name == "audit.event_2020_01"
    assert text.endswith("20 events, archive nowhere.csv (not checked here), before retention was due")


def test_what_a_removed_month_said_of_erasures_and_removals_goes_on(aged):
    """The event of an erasure lies in a month that is dropped in its turn, and so does the event of that removal."""
    su = aged.connect()
    su.execute("select audit.erase_actor('ann', 'ticket 1')")
    seal(su)
    su.execute("select audit.set_retention('400 days')")
    su.execute("select audit.drop_partition('audit.event_2020_02')")
    seal(su)
    (carried,) = su.execute("select audit_internal.evidence_to_keep(%s::regclass)", [this_month(su)]).fetchone()
    said, _, evidence = verified(su)
    assert said == []
    assert [kind for kind, *_ in evidence.listed] == ["removal", "erasure"]
    assert len(carried) == 2
    assert {frozenset(told) & {"digest", "ids_sha256"} for told in carried.values()} == {
        frozenset({"digest"}),
        frozenset({"ids_sha256"}),
    }


def this_month(connection):
    return connection.execute(
        "select partition::text from audit_internal.partition_bounds() where now() >= begins and now() < ends"
    ).fetchone()[0]


def test_whoever_looks_further_back_than_there_is_anything_to_see_is_told_from_when_on(aged, pgtrail, tmp_path):
    su = aged.connect()
    su.execute("select audit.grant_org('reader', 'a')")
    su.execute("set timezone = 'UTC'")
    first = "select to_char(min(occurred_at), 'YYYY-MM-DD') from audit.event where org_id = 'a'"

    def told(*arguments, user="auditor"):
        done = pgtrail("log", "--limit", "1000", *arguments, dsn=aged.dsn(user), TZ="UTC")
        assert done.returncode == 0, done.stderr
        return [line for line in done.stderr.splitlines() if "visible from" in line]

    assert told() == []
    assert [line[:36] for line in told(user="reader")] == ["pgtrail: visible from 2020-01-05 02:"]
    assert told("--since", "2020-02-01", user="reader") == []
    su.execute("select audit.set_retention('400 days')")
    su.execute("select audit.drop_partition('audit.event_2020_01')")
    (gone,) = told()
    assert gone.startswith("pgtrail: visible from 2020-02-01 00:00")
    assert gone.endswith("on: months before that were dropped by retention, or moved to an archive")
    assert told("--since", "2020-02-01") == []
    assert told("--limit", "1") == [], "it does not reach so far"
    assert told("--since", "30d") == []
    dropped, begins = told(user="reader")
    assert dropped == gone
    assert su.execute(first).fetchone()[0] in begins
    assert "organizations that this role may see" in begins
    done = pgtrail("export", str(tmp_path / "x.csv"), dsn=aged.dsn("reader"), TZ="UTC")
    assert [line in done.stderr for line in (gone, begins)] == [True, True]
    with serving(aged, user="auditor") as page, page.client() as client:
        assert "Visible from 2020-02-01 00:00 on: months before" in client.get("/?range=all").text
        assert "Visible from" not in client.get("/").text
    with serving(aged, "--org", "a", user="auditor") as page, page.client() as client:
        assert client.get("/?range=all").text.count("Visible from 2020-02-") == 2


def test_who_may_see_no_organization_is_told_so(aged, pgtrail):
    aged.connect().execute("create role nobody_s login in role audit_reader")
    done = pgtrail("log", dsn=aged.dsn("nobody_s"))
    aged.connect().execute("drop role nobody_s")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nobody_s may see no organization's events: audit.grant_org() grants them" in done.stderr
