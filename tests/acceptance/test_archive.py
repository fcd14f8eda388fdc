"""Months that move to Parquet files, are read there as they were in the database, and hold by themselves."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import duckdb
import psycopg
import pytest
from tests import command
from tests.verifying import problems

from pgtrail.archive.checking import check_archive

ODD = (
    "", " ", "\\N", "\\", '"', "'", ",", "null", "=1+1", "@x", "\ttab", "\rcr", "a\nb", "a\r\nb", "é", "ß", "日本語", "𝔘", "\x01\x0b\x1f\x7f",
    "\\u000B", "e\u0301", "\u2028", "\ufeff", "\ufffe", "%s", "{}", "[]", "*", "a,b", "x" * 5000,
)  # fmt: skip
ROWS = (
    '{"a": 1, "bb": "x"}', '{"a": 1.10, "n": 1e400, "big": 123456789012345678901234567890.5}', '{"é": "\\u001f\\\\ \\"", "": null}',
    '{"o": {"x": 1, "y": {"z": [1, {"q": null}]}}, "a": true}', '{"o": {"x": 1.0, "y": {"z": [2]}}, "t": "' + "y" * 200 + '"}',
)  # fmt: skip


def fill(connection, month, events):
    """Events of a month of 2020, with every odd text in every column of text, and every kind of row."""
    columns = [
        "org_id",
        "resource_id",
        "resource_label",
        "actor_id",
        "actor_label",
        "user_agent",
        "request_id",
        "reason",
        "table_name",
        "application_name",
    ]
    # (A column a shift: each text meets each other.)
    texts = {
        name: [None if (n + shift) % 7 == 0 else ODD[(n * (shift + 1)) % len(ODD)] for n in range(events)]
        for shift, name in enumerate(columns)
    }
    texts["org_id"] = [("a", "b", "c", None)[n % 4] for n in range(events)]
    operations = ["UPDATE", "INSERT", "DELETE", None]
    rows = [ROWS[n % len(ROWS)] for n in range(events)]
    before = [None if n % 4 in (1, 3) else '{"a": 7}' if n % 3 == 0 else rows[(n + 1) % events] for n in range(events)]
    changed = [(["a"] if n % 3 == 0 else ["a", "o", "é", 'q,"}']) if n % 4 == 0 else None for n in range(events)]
    with connection.transaction():
        for n in range(events):
            event = {name: values[n] for name, values in texts.items()} | {
                "occurred_at": f"2020-{month:02}-{1 + n % 28:02}T{n % 24:02}:{n % 60:02}:00.{n % 1000000:06}Z",
                "category": ("teams", "members", "api_keys")[n % 3],
                "action": ("key.created", "key.rotated", "team.updated")[n % 3],
                "operation": operations[n % 4],
                "resource_type": ("profile", "key", "té\\am")[n % 3],
                "actor_type": ("user", "service")[n % 2],
                "actor_ip": (None, "192.0.2.7", "2001:db8::/32", "::1")[n % 4],
                "client_addr": (None, "10.0.0.0/8")[n % 2],
                "before": before[n],
                "after": None if n % 4 in (2, 3) else rows[n],
                "changed": changed[n],
                "imported_from": "supa_audit \\x.y 1" if n % 11 == 0 else None,
            }
            connection.execute(
                f"insert into audit.event ({', '.join(event)}, resource_hash) "
                f"values ({', '.join(f'%({name})s' for name in event)}, hashtextextended(%(resource_id)s, 0))",
                event,
            )


def seal(connection):
    while connection.execute("select number from audit.seal(70) where number is not null").fetchone():
        pass


@pytest.fixture
def aged(nemo):
    """Two months of 2020, sealed, with an erased actor; and the present one."""
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
    fill(su, 1, 120)
    fill(su, 2, 90)
    seal(su)
    return nemo


@pytest.fixture
def pgtrail(pgtrail):
    """In the database's time zone, whatever that of this machine is."""
    return lambda *arguments, **options: pgtrail(*arguments, **{"TZ": "UTC", "COLUMNS": "200", **options})


def months(database):
    return (
        database.connect()
        .execute("select count(*) from audit_internal.partition_bounds() where ends < now()")
        .fetchone()[0]
    )


def test_old_months_move_and_read_as_they_did(aged, pgtrail, tmp_path):
    dsn = aged.dsn("admin")
    su = aged.connect()
    su.execute("select audit.erase_actor('日本語', 'ticket 1')")
    seal(su)
    asked = [
        ("log", "--until", "2021-01-01"),
        ("log", "--json", "--limit", "1000", "--until", "2021-01-01", "--org", "a", "--org", "b"),
        ("log", "--json", "--limit", "30", "--actor", "*E*", "--until", "400d"),
        ("log", "--resource", "x*", "--action", "key.*", "--since", "2020-01-05T12:00+02", "--until", "2020-02-20"),
        ("export", "-", "--until", "2021-01-01"),
        ("export", "-", "--actor-id", "\\N", "--category", "teams"),
    ]
    live = {words: pgtrail(*words, dsn=dsn) for words in asked}
    dry = pgtrail("archive", str(tmp_path), "--dry-run", dsn=dsn)
    assert dry.stdout.split() == [
        "audit.event_2020_01",
        "audit.event_2020_02",
    ], dry.stderr
    done = pgtrail("archive", str(tmp_path), dsn=dsn)
    assert (done.returncode, done.stdout.split()) == (0, ["audit.event_2020_01", "audit.event_2020_02"]), done.stderr
    assert months(aged) == 0
    assert problems(su) == []
    for words, was in live.items():
        assert was.returncode == 0, was.stderr
        now = pgtrail(*words, "--archive", str(tmp_path))
        assert (now.stdout, now.returncode) == (was.stdout, 0), (words, now.stderr)
    assert any(was.stdout.count("\n") > 100 for was in live.values())


def archived(database, pgtrail, place, *options):
    done = pgtrail("archive", str(place), *options, dsn=database.dsn("admin"))
    assert done.returncode == 0, done.stderr
    return place


def january(place):
    return place / "month=2020-01" / "part=0" / "event_2020_01.parquet"


@pytest.mark.any_server
def test_an_archive_and_each_month_of_it_hold_by_themselves(aged, pgtrail, tmp_path):
    archived(aged, pgtrail, tmp_path)
    whole = pgtrail("verify", "--archive", str(tmp_path))
    assert (whole.returncode, whole.stdout) == (0, ""), whole.stderr
    assert "210 events of 2 months" in whole.stderr
    alone = pgtrail("verify", "--archive", str(tmp_path / "month=2020-01"))
    assert (alone.returncode, alone.stdout) == (0, ""), alone.stderr
    assert "120 events of 1 months" in alone.stderr
    # Other programs, which ignore what begins with an underscore, see one table.
    visible = [str(file) for file in tmp_path.rglob("[!_]*") if file.is_file()]
    with duckdb.connect() as engine:
        table = engine.sql(
            "select month, part, count(*) from read_parquet($1, hive_partitioning = true) group by all order by all",
            params=[visible],
        )
        assert table.fetchall() == [("2020-01", 0, 120), ("2020-02", 0, 90)]
    # The month's manifest is what the log recorded; its seals are an anchor.
    manifest = (tmp_path / "month=2020-01" / "_event_2020_01.manifest.json").read_bytes()
    (event,) = (
        aged.connect()
        .execute("select after from audit.event where action = 'audit.partition_dropped' order by id limit 1")
        .fetchone()
    )
    assert event["archive"] == "month=2020-01/_event_2020_01.manifest.json"
    assert event["archive_sha256"] == hashlib.sha256(manifest).hexdigest()
    seals = tmp_path / "month=2020-01" / "_event_2020_01.seals.jsonl"
    against = pgtrail("verify", "--anchor", str(seals), dsn=aged.dsn("auditor"))
    assert against.returncode == 0, against.stdout
    assert pgtrail("verify", "--archive", str(tmp_path), "--anchor", str(seals)).returncode == 0
    other = json.loads(seals.read_text().splitlines()[0]) | {"hash": "00" * 32}
    (tmp_path / "anchor").write_text(json.dumps(other))
    forged = pgtrail("verify", "--archive", str(tmp_path), "--anchor", str(tmp_path / "anchor"))
    assert (forged.returncode, "seal 1: it was rewritten" in forged.stdout) == (1, True)


def rewritten(file, statement):
    """The same file, with what a statement makes of its rows (the table `was`)."""
    with duckdb.connect() as engine:
        engine.execute("create table was as select * from read_parquet(?, hive_partitioning = false)", [str(file)])
        engine.execute(f"copy ({statement}) to '{file}' (format parquet)")


def with_digests(place):
    """Let the manifest of January say what its files are now, as whoever forges one would."""
    manifest = place / "month=2020-01" / "_event_2020_01.manifest.json"
    content = json.loads(manifest.read_text())
    for file in content["files"]:
        file["sha256"] = hashlib.sha256((manifest.parent / file["name"]).read_bytes()).hexdigest()
    manifest.write_text(json.dumps(content))


FIRST = "(select min(id) from was)"


@pytest.mark.any_server
@pytest.mark.parametrize("forged", [False, True], ids=["files", "files and manifest"])
def test_an_archive_that_was_touched_is_named(aged, pgtrail, tmp_path, forged):
    whole = tmp_path / "place"
    whole.mkdir()
    archived(aged, pgtrail, whole)
    for number, (name, statement, problem) in enumerate([
        ("part=0/event_2020_01.parquet", f"select * replace (if(id = {FIRST}, 'x', action) as action) from was", "it was changed"),
        ("part=0/event_2020_01.parquet", "select * replace (null as reason) from was", "it was changed"),
        ("part=0/event_2020_01.parquet", f"select * from was where id <> {FIRST}", "events: there are 119 of 120"),
        ("part=0/event_2020_01.parquet", f"select * from was union all select * from was where id = {FIRST}", "it is there twice"),
        ("part=0/event_2020_01.parquet", f"select * from was union all select * replace (999999 as id) from was where id = {FIRST}", "event 999999: it is in no seal"),
        ("part=0/event_2020_01.parquet", f"select * replace (if(id = {FIRST}, occurred_at + interval '1 microsecond', occurred_at) as occurred_at) from was", "it was changed"),
        ("_event_2020_01.leaves.parquet", f"select * replace (if(id = {FIRST}, repeat('0', 64), leaf) as leaf) from was", "it has a different root"),
        ("_event_2020_01.salts.parquet", "select * replace (repeat('0', 64) as salt) from was", "it was changed"),
    ]):  # fmt: skip
        place = tmp_path / str(number)
        shutil.copytree(whole, place)
        rewritten(place / "month=2020-01" / name, statement)
        if forged:
            with_digests(place)
        found = [
            f"{subject}: {problem}" for subject, problem in check_archive(str(place / "month=2020-01"), 1).problems
        ]
        assert any("its SHA-256 differs" in line for line in found) != forged
        assert any(problem in line for line in found), (statement, found)


def test_what_only_a_manifest_holds_is_compared_with_what_was_recorded_of_it(aged, pgtrail, tmp_path):
    """What an event showed is in no leaf: who rewrites it and its manifest is found by the event of the removal."""
    place = archived(aged, pgtrail, tmp_path)
    rewritten(january(place), """select * replace ('{"a": {"after": 1, "before": 2}}' as details) from was""")
    with_digests(place)
    assert pgtrail("verify", "--archive", str(place)).returncode == 0
    recorded = pgtrail("log", "--json", "--action", "audit.partition_dropped", dsn=aged.dsn("auditor")).stdout
    seals = (place / "month=2020-01" / "_event_2020_01.seals.jsonl").read_text()
    anchor = tmp_path / "anchor"
    for known, status, says in (("", 0, "of 2 months were not compared"), (recorded, 1, "1 problems")):
        anchor.write_text(seals + known)
        done = pgtrail("verify", "--archive", str(place), "--anchor", str(anchor))
        assert (done.returncode, says in done.stderr) == (status, True), done.stderr
    assert "_event_2020_01.manifest.json: it is not what was recorded" in done.stdout


@pytest.mark.any_server
def test_an_archived_event_of_a_removal_is_compared_with_the_manifest(aged, pgtrail, tmp_path):
    su = aged.connect()
    dropped = {"archive": "month=2020-01/_event_2020_01.manifest.json", "archive_sha256": "00" * 32}
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type, after) "
        "values ('2020-02-09Z', 'audit', 'audit.partition_dropped', 'partition', 'database', %s)",
        [json.dumps(dropped)],
    )
    seal(su)
    done = pgtrail("verify", "--archive", str(archived(aged, pgtrail, tmp_path)))
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "_event_2020_01.manifest.json: it is not what was recorded" in done.stdout


@pytest.mark.any_server
def test_what_is_missing_or_cut_off_is_named_in_a_line(aged, pgtrail, tmp_path):
    place = archived(aged, pgtrail, tmp_path)
    file = january(place)
    content = file.read_bytes()
    for damage in (lambda: file.write_bytes(content[:-100]), lambda: file.write_bytes(b""), file.unlink):
        damage()
        done = pgtrail("verify", "--archive", str(place))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "SHA-256 differs" in done.stdout or "it is missing" in done.stdout
        read = pgtrail("log", "--archive", str(place), "--until", "2020-02-01")
        assert (read.returncode, read.stderr.count("\n")) == (1, 1), read.stderr
    file.write_bytes(content)
    seals = place / "month=2020-01" / "_event_2020_01.seals.jsonl"
    lines = seals.read_text().splitlines()
    last = json.loads(lines[-1])
    seals.write_text("\n".join([*lines[:-1], json.dumps(last | {"seal": last["seal"].replace("1:1:", "2:2:")})]))
    with_digests(place)
    assert "it was changed: its hash differs" in pgtrail("verify", "--archive", str(place)).stdout
    manifest = place / "month=2020-01" / "_event_2020_01.manifest.json"
    for garbage in (
        "",
        "{}",
        manifest.read_text().replace("part=0/event", "../../../event"),
        manifest.read_text()[:100],
    ):
        manifest.write_text(garbage)
        for words in (
            ("verify", "--archive", str(place)),
            ("log", "--archive", str(place)),
        ):
            done = pgtrail(*words)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


@pytest.mark.any_server
def test_what_must_stay_stays_and_says_why(aged, pgtrail, tmp_path):
    """For every reason that retention has; test_retention.py has them all."""
    aged.connect().execute("select audit.place_hold('case', 'why', p_org => 'a')")
    done = pgtrail("archive", str(tmp_path), dsn=aged.dsn("admin"))
    assert (done.returncode, "kept audit.event_2020_01: legal hold case" in done.stderr) == (1, True)
    assert not (tmp_path / "month=2020-01").exists()
    young = pgtrail("archive", str(tmp_path), "--before", "2020-01-31", dsn=aged.dsn("admin"))
    assert (young.returncode, young.stdout) == (0, "")
    assert "no month is old enough" in young.stderr


@pytest.mark.any_server
def test_a_second_run_gives_up_in_a_line(aged, pgtrail, tmp_path):
    first = aged.connect("admin")
    first.execute("select pg_advisory_lock(hashtextextended('pgtrail archive', 0))")
    done = pgtrail("archive", str(tmp_path), dsn=aged.dsn("admin"))
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, "")
    assert "another archive of this database is being written" in done.stderr
    assert pgtrail("archive", str(tmp_path), "--dry-run", dsn=aged.dsn("admin")).stdout.count("\n") == 2


@pytest.mark.any_server
@pytest.mark.parametrize("point", ["spool", "part", "manifest", "dropped"])
def test_killed_at_any_point_it_ends_well_when_run_again(aged, pgtrail, tmp_path, wait_until, point):
    temp, place = tmp_path / "temp", tmp_path / "place"
    temp.mkdir(), place.mkdir()
    before = pgtrail("export", "-", "--until", "2021-01-01", dsn=aged.dsn("admin")).stdout
    words = ("archive", str(place), "--temp", str(temp), "--dsn", aged.dsn("admin"))
    su = aged.connect()
    reached = {
        "spool": lambda: [*temp.glob("*/leaves.csv")],
        "part": lambda: [*place.glob("month=2020-01/part=*/*")],
        "manifest": lambda: [*place.glob("month=2020-01/*.manifest.json")],
        "dropped": lambda: su.execute("select from audit.dropped_partition").fetchone() is not None,
    }[point]
    run = command.start(
        *words, env=os.environ | {"HOME": str(tmp_path)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(reached)
    run.kill()
    run.wait(60)
    # (Until the server has noticed, the lock is held.)
    wait_until(
        lambda: (
            su.execute(
                "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"
            ).fetchone()
            == (0,)
        )
    )
    archived(aged, pgtrail, place, "--temp", str(temp))
    assert months(aged) == 0
    assert pgtrail("verify", "--archive", str(place)).returncode == 0
    assert pgtrail("export", "-", "--until", "2021-01-01", "--archive", str(place)).stdout == before
    assert [*temp.iterdir()] == []
    assert not [*place.rglob("*.part")]


def test_a_month_that_comes_again_is_archived_beside_the_first(aged, pgtrail, tmp_path):
    """As an import makes one, of events that are older than the archive."""
    archived(aged, pgtrail, tmp_path)
    su = aged.connect()
    su.execute("set role audit_owner")
    su.execute("create table audit.event_2020_01_2 (like audit.event including defaults including constraints)")
    su.execute("select audit_internal.attach_partition('event_2020_01_2', '2020-01-01Z', '2020-02-01Z')")
    su.execute("reset role")
    fill(su, 1, 40)
    seal(su)
    archived(aged, pgtrail, tmp_path)
    shown = pgtrail("log", "--archive", str(tmp_path), "--until", "2020-02-01", "--json", "--limit", "1000").stdout
    events = [json.loads(line) for line in shown.split("\n") if line]
    assert len(events) == 160
    order = [(event["occurred_at"], int(event["id"][4:])) for event in events]
    assert order == sorted(order, reverse=True)
    assert pgtrail("verify", "--archive", str(tmp_path)).returncode == 0


@pytest.mark.any_server
def test_the_archive_of_another_database_is_not_written_over(aged, pgtrail, tmp_path):
    archived(aged, pgtrail, tmp_path)
    manifest = tmp_path / "month=2020-01" / "_event_2020_01.manifest.json"
    content = json.loads(manifest.read_text())
    su = aged.connect()
    su.execute("set role audit_owner")
    su.execute("create table audit.event_2020_01 (like audit.event including defaults including constraints)")
    su.execute("select audit_internal.attach_partition('event_2020_01', '2020-01-01Z', '2020-02-01Z')")
    su.execute("reset role")
    fill(su, 1, 10)
    seal(su)
    done = pgtrail("archive", str(tmp_path), dsn=aged.dsn("admin"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "exists already, with other events" in done.stderr
    assert json.loads(manifest.read_text()) == content
    manifest.write_text(json.dumps(content | {"log": "another"}))
    mixed = pgtrail("log", "--archive", str(tmp_path))
    assert "more than one database" in mixed.stderr


def test_a_month_is_dropped_only_with_an_archive_of_all_of_it(aged):
    su = aged.connect()
    drop = "select audit.drop_partition('audit.event_2020_01', %s, %s, false, now() - interval '90 days', %s)"
    for archive, digest, events, sqlstate in (("x", b"x", 119, "PT024"), (None, None, None, "PT009")):
        with pytest.raises(psycopg.Error) as raised:
            su.execute(drop, [archive, digest, events])
        assert raised.value.sqlstate == sqlstate
    with pytest.raises(psycopg.Error) as raised:
        su.execute("select audit.drop_partition('audit.event_2020_01')")
    assert raised.value.sqlstate == "PT024", "no retention is set"
    assert su.execute(drop, ["x", b"x", 120]).fetchone() == (120,)


@pytest.mark.any_server
def test_what_an_archive_is_not_asked_for_is_said_in_a_line(aged, pgtrail, tmp_path):
    assert "no folder" in pgtrail("archive", str(tmp_path / "nowhere"), dsn=aged.dsn("admin")).stderr
    empty = pgtrail("log", "--archive", str(tmp_path))
    assert "there is no archived month" in empty.stderr
    place = archived(aged, pgtrail, tmp_path)
    for words, status, says in (
        (("log", "-f"), 2, "does not grow"),
        (("log", "--since", "whenever"), 2, 'invalid time "whenever"'),
        (("log", "--category", "nothing"), 1, 'no category "nothing"'),
        (("log", "--actor", "x" * 3000), 1, "longer than 2000"),
        (("verify", "--from", "2"), 2, "exclude each other"),
    ):
        done = pgtrail(*words, "--archive", str(place))
        assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
        assert says in done.stderr
    none = pgtrail("log", "--archive", str(place), "--since", "7d")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "pgtrail: no events match\n")
    (tmp_path / "blocked" / "duckdb").mkdir(parents=True)
    (tmp_path / "blocked" / "duckdb" / "__init__.py").write_text("raise ImportError")
    without = pgtrail(
        "log", "--archive", str(place), PYTHONPATH=os.pathsep.join([str(tmp_path / "blocked"), *sys.path])
    )
    assert (without.returncode, without.stderr) == (
        1,
        "pgtrail: archives need an extra (pip install 'pgtrail[archive]')\n",
    )
