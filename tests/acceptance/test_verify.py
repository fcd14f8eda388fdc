"""`seal`, `verify`, `proof`, `erase-actor` and exports, as a person runs them."""

import json
import re
import signal

import pytest
from tests import command
from tests.conftest import clone, run_pgtrail, wait

# What is decided in SQL is tested on each server by tests/sql/test_seals.py.
pytestmark = pytest.mark.any_server

A_PROOF_OF_ITS_OWN = ("event", "salt", "seal", "seal_hash", "leaf_index", "path", "fields")


@pytest.fixture(scope="module")
def history(server, nemo_template, tmp_path_factory):
    """The name of a database with three seals, and what `seal --json` wrote of them."""
    for database in clone(server, nemo_template):
        su, app = database.connect(), database.connect("app")
        (org,) = su.execute(
            "insert into nemo.organization (name, slug) values ('Acme', 'acme') returning id"
        ).fetchone()
        written = ""
        for number in range(3):
            with app.transaction():
                app.execute("select audit.set_actor('ann@x.example', 'Ann')")
                app.execute("insert into nemo.team (org_id, name) values (%s, %s)", [org, f"team {number}"])
            done = run_pgtrail(tmp_path_factory.mktemp("home"), "seal", "--json", dsn=database.dsn("admin"))
            assert done.returncode == 0, done.stderr
            written += done.stdout
        database.close()
        yield database.name, written


@pytest.fixture
def sealed(server, history, tmp_path):
    """A database with three seals, and the file that has what `seal --json` wrote of them."""
    name, written = history
    anchor = tmp_path / "seals.jsonl"
    anchor.write_text(written)
    yield from ((database, anchor) for database in clone(server, name))


def meddle(database, statement):
    with database.connect() as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(statement)


def test_an_untouched_history_holds_alone_and_against_its_anchor(sealed, pgtrail):
    database, anchor = sealed
    events = database.connect().execute("select count(*) from audit.event").fetchone()[0]
    for options in ((), ("--anchor", str(anchor)), ("--jobs", "7")):
        done = pgtrail("verify", *options, dsn=database.dsn("auditor"))
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert f"{events} events in 3 seals hold" in done.stderr
        assert ("--anchor FILE" in done.stderr) == ("--anchor" not in options)


def test_what_was_changed_is_named_and_the_status_is_1(sealed, pgtrail):
    database, _ = sealed
    (changed,) = database.connect().execute("select max(id) from audit.event").fetchone()
    meddle(database, f"update audit.event set reason = E'x\\x1b[31m' where id = {changed}")
    meddle(database, "delete from audit.seal where number = 2")
    done = pgtrail("verify", dsn=database.dsn("auditor"))
    assert done.returncode == 1
    assert f"event {changed}: it was changed (seal 3)" in done.stdout.splitlines()
    assert "seal 2: it is missing" in done.stdout.splitlines()
    as_json = pgtrail("verify", "--json", dsn=database.dsn("auditor"))
    assert {"subject": f"event {changed}", "problem": "it was changed (seal 3)"} in [
        json.loads(line) for line in as_json.stdout.splitlines()
    ]


REWRITTEN = """
    update audit.event set reason = 'forged' where id = (select min(id) from audit.event);
    update audit.seal_leaves set leaves = (
        select string_agg(leaf, '' order by event_id)
        from audit.seal cross join lateral audit_internal.event_leaves(seal, seal_leaves.secret) where seal.number = seal_leaves.number
    );
    update audit.seal set root = audit_internal.merkle_root((select leaves from audit.seal_leaves where seal_leaves.number = seal.number));
    update audit.seal set hash = audit_internal.seal_hash(seal) where number = 1;
    update audit.seal set previous = (select hash from audit.seal where number = 1) where number = 2;
    update audit.seal set hash = audit_internal.seal_hash(seal) where number = 2;
    update audit.seal set previous = (select hash from audit.seal where number = 2) where number = 3;
    update audit.seal set hash = audit_internal.seal_hash(seal) where number = 3;
    update audit.seal_head set hash = (select hash from audit.seal where number = 3);
"""


def test_a_chain_that_was_rewritten_whole_is_named_by_the_anchor_alone(sealed, pgtrail):
    database, anchor = sealed
    meddle(database, REWRITTEN)
    assert pgtrail("verify", dsn=database.dsn("auditor")).returncode == 0
    done = pgtrail("verify", "--anchor", str(anchor), dsn=database.dsn("auditor"))
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["seal 1", "seal 2", "seal 3"]


def test_a_log_that_was_cut_off_is_named_by_the_anchor(sealed, pgtrail):
    database, anchor = sealed
    meddle(
        database,
        "delete from audit.event where id > (select last_id from audit.seal where number = 2); delete from audit.seal where number = 3; "
        "delete from audit.seal_leaves where number = 3; "
        "update audit.seal_head set number = 2, hash = (select hash from audit.seal where number = 2), "
        "from_snapshot = (select to_snapshot from audit.seal where number = 2)",
    )
    assert pgtrail("verify", dsn=database.dsn("auditor")).returncode == 0
    done = pgtrail("verify", "--anchor", str(anchor), dsn=database.dsn("auditor"))
    assert done.returncode == 1
    assert f"seal 3: it is missing: {anchor} has it" in done.stdout


def test_what_was_changed_of_pgtrail_itself_is_named(sealed, pgtrail):
    database, _ = sealed
    su = database.connect()
    su.execute("alter function audit.prove(bigint) set search_path = evil")
    su.execute(
        "create or replace function audit_internal.seal_hash(seal audit.seal) returns bytea language sql as 'select null::bytea'"
    )
    done = pgtrail("verify", dsn=database.dsn("auditor"))
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
        "function audit.prove(bigint)",
        "function audit_internal.seal_hash(audit.seal)",
    ]


@pytest.mark.parametrize("user", ["auditor", "postgres"])
def test_a_policy_that_hides_events_is_named_and_nothing_is_called_whole(sealed, pgtrail, user):
    database, _ = sealed
    database.connect().execute("create policy hide on audit.event as restrictive using (action <> 'team.created')")
    done = pgtrail("verify", dsn=database.dsn(user))
    assert done.returncode == 1
    assert done.stdout == "policy hide on audit.event: pgtrail did not create it: find out who did\n"
    assert ("the events were not checked" in done.stderr) == (user == "auditor")
    assert " hold" not in done.stderr


EVIL = """
    create schema evil;
    create table public.called (what text);
    grant all on public.called to public;
    create function public.unnest(bigint[]) returns setof bigint language plpgsql as
        $$ begin insert into public.called values ('unnest'); return query select 1::bigint where false; end $$;
    create function public.sha256(bytea) returns bytea language plpgsql immutable as
        $$ begin raise 'called'; end $$;
    create function public.evil_eq(bigint, bigint) returns boolean language plpgsql as $$ begin raise 'called'; end $$;
    create operator public.= (leftarg = bigint, rightarg = bigint, function = public.evil_eq);
    create operator public.> (leftarg = bigint, rightarg = bigint, function = public.evil_eq);
"""


def test_nothing_that_a_superuser_named_like_something_of_postgres_is_called(sealed, pgtrail):
    database, _ = sealed
    su = database.connect()
    meddle(database, "update audit.event set reason = 'forged' where id = (select max(id) from audit.event)")
    su.execute(EVIL)
    su.execute(f"alter database {database.name} set search_path = public, pg_catalog")
    done = pgtrail("verify", dsn=database.dsn("postgres"))
    assert done.returncode == 1
    assert "it was changed (seal 3)" in done.stdout
    assert su.execute("select count(*) from public.called").fetchone() == (0,)


HOOKED = """
    create schema evil;
    grant usage on schema evil to public;
    create table evil.forged as
        select event.id, (audit_internal.event_leaves(seal, seal_leaves.secret)).*
        from audit.seal join audit.seal_leaves using (number) join audit.event on event.id = seal.first_id
        where number = 3;
    create table evil.map (forged bytea, original bytea);
    alter table audit.event disable trigger refuse_change;
    update audit.event set reason = 'forged' where id = (select first_id from audit.seal where number = 3);
    alter table audit.event enable trigger refuse_change;
    insert into evil.map
        select forged.leaf, original.leaf
        from audit.seal join audit.seal_leaves using (number)
        cross join lateral audit_internal.event_leaves(seal, seal_leaves.secret) as forged
        join evil.forged as original using (event_id)
        where number = 3 and forged.leaf <> original.leaf;
    create function evil.sha256(bytea) returns bytea language sql immutable as
        'select coalesce((select original from evil.map where forged = pg_catalog.sha256($1)), pg_catalog.sha256($1))';
    create function evil.set_path() returns text language sql volatile as
        $$ select set_config('search_path', 'evil, pg_catalog, pg_temp', true) $$;
    create function evil.hook() returns integer language plpgsql immutable as
        $$ begin perform evil.set_path(); return 1; end $$;
"""


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        ("create statistics evil.s on (number + evil.hook()) from audit.seal", "statistics evil.s on audit.seal"),
        ("create index hooked on audit.seal (events) where number > evil.hook() - 9", "index audit.hooked"),
        (
            "alter table audit.event_default add constraint hooked check (id > evil.hook() - 9)",
            "check hooked on audit.(partition)",
        ),
    ],
    ids=["statistics", "index", "check"],
)
def test_code_that_runs_when_a_statement_is_planned_is_named_and_nothing_is_called_whole(sealed, pgtrail, hook, name):
    """It would change the search_path within a transaction, and answer what it likes to the next statement."""
    database, _ = sealed
    su = database.connect()
    su.execute(HOOKED)
    su.execute(hook)
    assert su.execute("select count(*) from evil.map").fetchone() == (1,)
    done = pgtrail("verify", dsn=database.dsn("postgres"))
    assert done.returncode == 1
    assert f"{name}: pgtrail did not create it: find out who did" in done.stdout.splitlines()
    assert "the events were not checked" in done.stderr


def test_whoever_may_not_read_the_salts_is_told_so(sealed, pgtrail):
    database, _ = sealed
    done = pgtrail("verify", dsn=database.dsn("reader"))
    assert done.returncode == 1
    assert " hold" not in done.stderr
    assert "permission denied" in done.stderr


def test_an_erasure_is_listed(sealed, pgtrail):
    database, _ = sealed
    pseudonym = pgtrail(
        "erase-actor", "ann@x.example", "--reason", "DSAR-1", "--yes", dsn=database.dsn("admin")
    ).stdout.strip()
    done = pgtrail("verify", dsn=database.dsn("auditor"))
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"erasure {pseudonym}: 20")
    assert line.endswith("UTC by admin, 3 sealed events, reason: DSAR-1")
    as_json = json.loads(pgtrail("verify", "--json", dsn=database.dsn("auditor")).stdout)
    assert as_json == {"subject": pseudonym, "erasure": line.partition(": ")[2]}


@pytest.mark.parametrize("content", ["", "{}", "nothing\n", '{"number": 1, "hash": "x", "root": "y"}', "[" * 100_000])
def test_an_anchor_without_seals_is_refused(sealed, pgtrail, tmp_path, content):
    database, _ = sealed
    file = tmp_path / "anchor"
    file.write_text(content)
    done = pgtrail("verify", "--anchor", str(file), dsn=database.dsn("auditor"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "the anchor has no seals" in done.stderr


def test_it_goes_on_where_it_was_stopped(sealed, pgtrail):
    database, _ = sealed
    done = pgtrail("verify", "--from", "3", dsn=database.dsn("auditor"))
    assert done.returncode == 0
    assert "in 1 seals, from seal 3 on hold" in done.stderr


def test_a_seal_to_go_on_with_that_is_not_there_is_no_success(sealed, pgtrail):
    database, anchor = sealed
    for options in ((), ("--anchor", str(anchor))):
        done = pgtrail("verify", "--from", "99", *options, dsn=database.dsn("auditor"))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "pgtrail: there is no seal 99 to continue with (the last is 3)\n"


def test_where_the_seal_to_go_on_with_was_deleted_the_anchor_says_so_still(sealed, pgtrail):
    database, anchor = sealed
    meddle(database, "delete from audit.seal_leaves where number = 3; delete from audit.seal where number = 3")
    done = pgtrail("verify", "--from", "3", "--anchor", str(anchor), dsn=database.dsn("auditor"))
    assert done.returncode == 1
    assert "seal 3: it is missing" in done.stdout


def test_ctrl_c_says_where_to_go_on(sealed, tmp_path):
    database, _ = sealed
    su = database.connect()
    for _ in range(300):
        su.execute("update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1")
        su.execute("select audit.seal()")
    running = command.start(
        "verify", "--dsn", database.dsn("auditor"), stdout=command.PIPE, stderr=command.PIPE, text=True
    )
    # Once it has looked at the catalogue, it waits for the first slice that is locked away from it.
    at_work = "select count(*) > 1 from pg_stat_activity where application_name = 'pgtrail'"
    wait(lambda: su.execute(at_work).fetchone()[0])
    blocker = database.connect(autocommit=False)
    blocker.execute("lock table audit.seal_leaves in access exclusive mode")
    waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%%audit.seal_leaves%%')"
    wait(lambda: su.execute(waits).fetchone()[0])
    running.send_signal(signal.SIGINT)
    blocker.rollback()
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert re.search(r"continue with: pgtrail verify --from \d+", err)


def test_a_proof_holds_without_a_database_and_against_an_anchor(sealed, pgtrail, tmp_path):
    database, anchor = sealed
    file = tmp_path / "proof.json"
    ids = [row[0] for row in database.connect().execute("select id from audit.event order by id").fetchall()]
    for event in (ids[0], ids[len(ids) // 2], ids[-1]):
        file.write_text(pgtrail("proof", "make", str(event), dsn=database.dsn("auditor")).stdout)
        done = pgtrail("proof", "check", str(file), "--anchor", str(anchor))
        assert done.returncode == 0, done.stderr
        assert "the proof holds" in done.stderr
        assert f"id                {event}" in done.stdout
    assert "Ann" in done.stdout


@pytest.mark.parametrize("key", A_PROOF_OF_ITS_OWN)
def test_a_proof_of_which_anything_was_changed_does_not_hold(sealed, pgtrail, key):
    database, _ = sealed
    (event,) = database.connect().execute("select max(id) from audit.event").fetchone()
    proof = json.loads(pgtrail("proof", "make", str(event), dsn=database.dsn("auditor")).stdout)
    changes = {
        "event": lambda text: text.replace("nemo.team", "nemo.tram"),
        "seal": lambda text: text.replace('"pgtrail seal 1", 3', '"pgtrail seal 1", 2'),
        "seal_hash": lambda text: "0" + text[1:] if text[0] != "0" else "1" + text[1:],
        "leaf_index": lambda number: number + 1,
        "path": lambda path: [*path, "00" * 32],
        "salt": lambda salt: salt[2:] + salt[:2],
        "fields": lambda fields: [
            field | {"text": field["text"].replace("Ann", "Eve").replace("team 2", "team 9")} for field in fields
        ],
    }
    changed = changes[key](proof[key])
    assert changed != proof[key]
    done = pgtrail("proof", "check", "-", input=json.dumps(proof | {key: changed}))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pgtrail: the proof does not hold: ")
    for garbage in ("", "[]", "{}", json.dumps({name: proof[name] for name in proof if name != key})):
        done = pgtrail("proof", "check", "-", input=garbage)
        assert done.returncode == 1
        assert "this is not a proof" in done.stderr


def test_an_erased_person_is_gone_and_the_anchor_still_holds(sealed, pgtrail):
    database, anchor = sealed
    asked = pgtrail("erase-actor", "ann@x.example", "--reason", "DSAR-1", dsn=database.dsn("admin"))
    assert asked.returncode == 1
    done = pgtrail("erase-actor", "ann@x.example", "--reason", "DSAR-1", "--yes", dsn=database.dsn("admin"))
    assert done.returncode == 0, done.stderr
    pseudonym = done.stdout.strip()
    assert "what destinations have received" in done.stderr
    log = pgtrail("log", "--json", dsn=database.dsn("auditor")).stdout
    assert pseudonym in log
    assert "ann@x" not in log
    assert pgtrail("verify", "--anchor", str(anchor), dsn=database.dsn("auditor")).returncode == 0


def test_an_export_is_an_event_with_who_and_what(sealed, pgtrail, tmp_path):
    database, _ = sealed
    pgtrail("export", str(tmp_path / "x.csv"), "--category", "teams", dsn=database.dsn("auditor"))
    pgtrail("export", "-", "--category", "nothing", dsn=database.dsn("auditor"))
    pgtrail("export", str(tmp_path / "no" / "x.csv"), dsn=database.dsn("auditor"))
    rows = database.connect().execute(
        "select actor_id, db_role, after from audit.event where action = 'audit.exported' order by id"
    )
    assert rows.fetchall() == [("auditor", "auditor", {"filters": {"categories": ["teams"]}, "events": 3})]


def test_where_an_export_cannot_be_recorded_there_is_none(sealed, pgtrail):
    database, _ = sealed
    done = pgtrail("export", "-", dsn=database.dsn("auditor", options="-c default_transaction_read_only=on"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "an export is recorded, and this server is read-only" in done.stderr


def test_verify_calls_no_function_of_a_schema_in_the_path(sealed, pgtrail):
    """Such as one that finds no seal to check."""
    database, _ = sealed
    su = database.connect()
    su.execute(
        "create function public.unnest(bigint[]) returns setof bigint language sql as 'select 1::bigint where false'"
    )
    su.execute("alter table audit.event disable trigger user; update audit.event set action = 'x' where id = 3")
    done = pgtrail("verify", dsn=database.dsn("auditor"))
    assert done.returncode == 1
    assert "event 3: " in done.stdout


@pytest.mark.any_server
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_proof_of_a_huge_and_deep_event_holds_in_any_encoding(nemo, pgtrail, tmp_path, encoding):
    su = nemo.connect()
    su.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, resource_id, actor_type, actor_id, after) "
        "values (now(), 'teams', 'team.created', 'team', '1', 'user', 'ann', jsonb_build_object("
        "'huge', repeat('9', 10000)::numeric, 'deep', (repeat('[', 3000) || repeat(']', 3000))::jsonb, 'tiny', 1e-400))"
    )
    (event_id,) = su.execute("select max(id) from audit.event where resource_id = '1'").fetchone()
    sealed = pgtrail("seal", "--json", dsn=nemo.dsn())
    proof, anchor = tmp_path / "proof.json", tmp_path / "seals.jsonl"
    proof.write_text(pgtrail("proof", "make", str(event_id), dsn=nemo.dsn()).stdout, encoding)
    anchor.write_text(sealed.stdout, encoding)
    done = pgtrail("proof", "check", str(proof), "--anchor", str(anchor))
    assert done.returncode == 0, done.stderr
    assert "9" * 100 in done.stdout.replace("\n", "").replace(" ", "")
