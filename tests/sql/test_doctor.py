"""audit.doctor(): each thing that can be wrong is provoked, found, fixed as it says, and found no more."""

import re

import psycopg
import pytest

from pgtrail.install import migrate

pytestmark = pytest.mark.any_server

HEARD = "select audit_internal.record_heartbeat('worker-1', '30 seconds')"
BURN = """
    create temporary table burnt ();
    do $$
    begin
        -- Each block is a subtransaction that writes, and so has an id of its own.
        for i in 1..1000100 loop
            begin
                insert into burnt default values;
            exception when others then raise;
            end;
        end loop;
    end
    $$
"""


@pytest.fixture
def found(su):
    """The findings, as rows, but for what `unwatched` gives each time; only those of a problem if one is named."""

    def look(problem=None):
        rows = su.execute(
            "select problem, subject, finding, hint from audit.doctor() where subject <> 'event triggers'"
        ).fetchall()
        return [row for row in rows if problem in (None, row[0])]

    return look


@pytest.fixture
def fixed(su, found):
    """Do what the one finding of a problem says, and see that it is gone."""

    def hint(problem):
        ((_, _, _, statement),) = found(problem)
        assert statement.startswith(("select", "alter", "create event trigger")), statement
        su.execute(statement)
        assert found(problem) == []

    return hint


@pytest.fixture
def siem(su):
    """The id of the cursor of a destination that a worker serves, with nothing to send."""
    su.execute("select audit.add_destination('siem', 'https://siem.example')")
    su.execute(f"alter database {su.info.dbname} set pgtrail.notify = off")
    su.execute("set pgtrail.notify = off")
    su.execute(HEARD)
    return su.execute("select id from audit.cursor").fetchone()[0]


def take(su, cursor):
    su.execute(HEARD)
    return su.execute(
        "select lease_token, event_ids from audit_internal.next_batch(%s, 'worker-1')", [cursor]
    ).fetchone()


def settle(su, cursor, **failure):
    """An attempt to send all that waits: a failure, if one is given."""
    token, ids = take(su, cursor)
    delivered = [] if failure else ids
    arguments = {"p_failed": min(ids), **failure} if failure else {}
    named = "".join(f", {name} => %({name})s" for name in arguments)
    done = su.execute(
        f"select audit_internal.record_delivery(%(cursor)s, %(token)s, %(ids)s::bigint[], %(through)s{named})",
        {"cursor": cursor, "token": token, "ids": delivered, "through": max(delivered, default=0), **arguments},
    ).fetchone()
    assert done == (True,)


def test_a_healthy_database_has_nothing(found, thing):
    assert found() == []


def test_the_reference_application_has_nothing(nemo):
    assert nemo.connect().execute("select * from audit.doctor()").fetchall() == []


def test_a_destination_that_is_served_has_nothing(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    settle(su, siem)
    assert found() == []


@pytest.mark.parametrize("operation", ["insert", "update", "delete", "truncate"])
def test_a_trigger_that_was_dropped(su, found, fixed, thing, operation):
    su.execute(f"drop trigger pgtrail_{operation} on public.thing")
    ((problem, subject, finding, _),) = found()
    assert (problem, subject) == ("trigger missing", "public.thing")
    assert finding.startswith(f"pgtrail_{operation} is not there")
    fixed("trigger missing")
    assert found() == []


@pytest.mark.parametrize("state", ["disable", "enable replica"])
@pytest.mark.parametrize("operation", ["insert", "update", "delete", "truncate"])
def test_a_trigger_that_does_not_fire(su, found, fixed, thing, operation, state):
    su.execute(f"alter table public.thing {state} trigger pgtrail_{operation}")
    assert [row[:2] for row in found()] == [("trigger disabled", "public.thing")]
    fixed("trigger disabled")
    assert found() == []


def test_a_trigger_that_fires_always_is_none(su, found, thing):
    su.execute("alter table public.thing enable always trigger pgtrail_update")
    assert found() == []


@pytest.fixture
def parts(su):
    su.execute("create table public.part (id int primary key, name text) partition by range (id)")
    su.execute("create table public.part_1 partition of public.part for values from (0) to (10)")
    su.execute("select audit.track('public.part')")


def test_a_partition_that_came_later_lacks_what_records_a_truncate(su, found, fixed, parts, unwatched):
    assert found() == []
    su.execute("create table public.part_2 partition of public.part for values from (10) to (20)")
    ((problem, subject, finding, _),) = found()
    assert (problem, subject) == ("trigger missing", "public.part_2")
    assert "pgtrail_truncate" in finding
    fixed("trigger missing")
    assert found() == []


def test_a_partitions_own_copy_of_a_trigger_is_disabled(su, found, fixed, parts):
    su.execute("alter table public.part_1 disable trigger pgtrail_update")
    assert [row[:2] for row in found()] == [("trigger disabled", "public.part_1")]
    fixed("trigger disabled")
    assert found() == []


@pytest.mark.parametrize(
    "change",
    [
        "alter table public.thing add column api_token text",
        "alter table public.thing drop column hits",
        "alter table public.thing rename column name to title",
        "alter table public.thing rename to other",
        "alter table public.thing set schema audit",
        "alter table public.thing drop constraint thing_pkey; alter table public.thing add primary key (name)",
        "update audit.tracked_table set secret = '{name}', label = null where resource = 'thing'",
        "insert into audit.rule (relation, operation, action, category) values ('public.thing', 'DELETE', 'thing.gone', 'thing')",
        """create or replace function audit_internal."capture public.thing delete"() returns trigger language plpgsql as 'begin return null; end'""",
    ],
)
def test_what_was_compiled_is_out_of_date(su, found, fixed, thing, unwatched, change):
    su.execute(change)
    ((problem, _, finding, _),) = found()
    assert problem == "compiled out of date"
    assert "its columns have changed" in finding if "column" in change else "key, settings and rules" in finding
    fixed("compiled out of date")
    assert found() == []


def test_a_rule_that_a_schema_change_broke(su, found, thing):
    su.execute("select audit.rule('public.thing', 'thing.hit', 'thing', 'UPDATE', 'new.name like ''hit%''')")
    assert found() == []
    su.execute("alter table public.thing rename column name to title")
    ((problem, subject, finding, hint),) = found()
    assert (problem, subject) == ("rule broken", "public.thing")
    assert "thing.hit" in finding
    assert "name" in finding
    drop = hint[hint.index("select audit.drop_rule") :]
    su.execute(drop)
    assert found() == []


@pytest.mark.parametrize(
    "switched_off",
    ["alter event trigger {} disable", "alter event trigger {} enable replica", "drop event trigger {}"],
)
@pytest.mark.parametrize("name", ["pgtrail_follow_ddl", "pgtrail_follow_drop", "pgtrail_follow_rewrite"])
def test_an_event_trigger_that_does_not_fire(su, found, fixed, thing, told, name, switched_off):
    su.execute(switched_off.format(name))
    assert [row[:2] for row in found()] == [
        ("event trigger missing" if "drop" in switched_off else "event trigger disabled", name)
    ]
    fixed(found()[0][0])
    assert found() == []
    su.execute("drop trigger pgtrail_update on public.thing")
    su.execute("alter table public.thing disable trigger pgtrail_delete")
    assert "audit.capture_disabled" in [event[0] for event in told()]


def test_a_table_that_was_dropped(su, found, fixed, thing, unwatched):
    oid = su.execute("select 'public.thing'::regclass::oid").fetchone()[0]
    su.execute("drop table public.thing")
    assert [row[:2] for row in found()] == [("table gone", str(oid))]
    fixed("table gone")
    assert found() == []


REPLACED = "drop table public.thing; create table public.thing (id int primary key, name text, hits int default 0)"


def look_after_a_replaced_table(su, found, recorded):
    su.execute("insert into public.thing values (1, 'x')")
    assert recorded() == []
    ((_, subject, finding, hint),) = found("table replaced")
    assert subject == "public.thing"
    assert finding.endswith("nothing of it is recorded")
    assert hint.startswith("select audit.track('public.thing', …)")
    return hint


@pytest.mark.parametrize("ended", ["tracked", "untracked", "dropped", "renamed"])
def test_a_table_that_was_dropped_and_made_anew_under_its_name(su, found, thing, ended):
    su.execute(REPLACED)
    hint = look_after_a_replaced_table(su, found, thing)
    (event,) = re.findall(r"pgtrail show (\d+)", hint)
    settings = "select before ->> 'label' from audit.event where id = %s and action = 'audit.table_untracked'"
    assert su.execute(settings, [event]).fetchone() == ("name",)
    su.execute(
        {
            "tracked": "select audit.track('public.thing')",
            "untracked": "select audit.track('public.thing'); select audit.untrack('public.thing')",
            "dropped": "drop table public.thing",
            "renamed": "alter table public.thing rename to other",
        }[ended]
    )
    assert found() == []


def test_one_that_no_event_trigger_has_followed_is_found_before_it_is_forgotten_and_after(su, found, thing, unwatched):
    su.execute(REPLACED)
    assert [row[0] for row in found()] == ["table replaced", "table gone"]
    look_after_a_replaced_table(su, found, thing)
    su.execute("select audit.recompile(); delete from public.thing")
    assert [row[0] for row in found()] == ["table replaced"]
    look_after_a_replaced_table(su, found, thing)


def test_a_partition_and_a_view_of_that_name_are_none(su, found, parts):
    su.execute(
        "drop table public.part_1; create table public.part_1 partition of public.part for values from (0) to (10)"
    )
    assert found() == []
    su.execute("drop table public.part; create view public.part as select 1")
    assert found() == []


def test_a_table_whose_name_the_present_role_can_not_use_is_found(su, found):
    su.execute('create schema "Odd.s"; revoke all on schema "Odd.s" from public')
    su.execute('create table "Odd.s"."T ""x"" %s" (id int primary key)')
    su.execute("""select audit.track('"Odd.s"."T ""x"" %s"')""")
    su.execute('drop table "Odd.s"."T ""x"" %s"; create table "Odd.s"."T ""x"" %s" (id int primary key)')
    ((_, subject, _, _),) = found("table replaced")
    assert subject == '"Odd.s"."T ""x"" %s"'


@pytest.mark.parametrize("scope", ["for all tables", "for tables in schema audit"])
def test_a_publication_refuses_no_change_of_a_table_of_ours(su, found, thing, scope):
    su.execute(f"create publication everything {scope}")
    assert found() == []


@pytest.mark.parametrize("identity", ["nothing", "default", "full"])
def test_a_table_of_ours_that_a_publication_refuses_to_change(su, found, fixed, thing, identity):
    su.execute("create publication everything for all tables")
    su.execute(f"alter table audit.salt replica identity {identity}")
    if identity == "full":
        assert found() == []
        return
    ((problem, subject, _, hint),) = found()
    assert (problem, subject, hint) == (
        "publication blocks",
        "audit.salt",
        "alter table audit.salt replica identity full",
    )
    fixed("publication blocks")
    month = su.execute("select partition::text from audit_internal.partition_bounds() limit 1").fetchone()[0]
    su.execute(f"alter table {month} replica identity nothing")
    assert found()[0][1::2] == (month, f"alter table {month} replica identity default")
    fixed("publication blocks")
    su.execute("alter table audit.salt replica identity nothing")
    su.execute("alter publication everything set (publish = 'insert')")
    assert found() == []


def test_a_person_is_erased_though_a_publication_has_every_table(db, su, thing):
    su.execute("create publication everything for all tables")
    su.execute("select audit.make_partitions(14)")
    su.execute(
        "begin; select audit.set_actor('ann@acme.example', 'Ann'); insert into public.thing values (1, 'x'); commit"
    )
    su.execute("select audit.seal()")
    su.execute("select audit.erase_actor('ann@acme.example', 'request 17')")
    assert su.execute("select count(*) from audit.event where actor_label = 'Ann'").fetchone() == (0,)
    su.execute("update audit.installation set files_hash = 'another'")
    assert migrate(db.dsn()).replaced


def test_without_a_superuser_the_limits_are_information(su, unwatched):
    rows = su.execute("select problem, subject, hint from audit.doctor()").fetchall()
    assert [row[:2] for row in rows] == [("information", "event triggers")]
    assert "audit.recompile()" in rows[0][2]


@pytest.fixture
def months(su):
    """The partitions of this month and the next."""
    rows = su.execute(
        "select partition::text from audit_internal.partition_bounds() where ends > now() order by begins limit 2"
    ).fetchall()
    return [row[0] for row in rows]


def test_a_partition_that_nobody_made(su, found, fixed, months):
    su.execute(f"drop table {months[1]}")
    ((problem, subject, finding, _),) = found()
    assert (problem, subject) == ("partition missing", "audit.event")
    assert finding.endswith(months[1].removeprefix("audit.event_").replace("_", "-"))
    fixed("partition missing")
    assert found() == []


def test_events_that_were_recorded_before_their_partition(su, found, fixed, thing, months):
    su.execute(f"drop table {months[0]}")
    su.execute("insert into public.thing values (1, 'x')")
    assert [row[0] for row in found()] == ["partition missing", "default partition filled"]
    fixed("default partition filled")
    assert found() == []


def test_events_that_no_partition_can_be_made_for_are_information(su, found):
    for year in (2001, 2201):
        su.execute(
            "insert into audit.event (occurred_at, category, action, resource_type, actor_type) "
            "values (make_timestamptz(%s, 1, 1, 0, 0, 0), 'audit', 'a.b', 'x', 'y')",
            [year],
        )
    ((problem, subject, _, hint),) = found()
    assert (problem, subject) == ("information", "audit.event_default")
    assert hint.startswith("nothing")


def test_a_destination_that_was_restored_into_another_cluster(su, found, siem):
    su.execute("update audit.cursor set system_identifier = 1")
    ((problem, subject, finding, hint),) = found()
    assert (problem, subject) == ("restored elsewhere", "siem")
    assert "never" in finding
    assert hint == "pgtrail destination rebase siem --since …"
    su.execute("select audit.rebase_destination('siem', now())")
    assert found() == []


def test_no_worker(su, found, siem):
    su.execute("select audit_internal.remove_worker('worker-1')")
    ((problem, subject, finding, hint),) = found()
    assert (problem, subject, hint) == ("no worker", "pgtrail forward", "pgtrail forward")
    assert finding.startswith("no worker is known")
    su.execute(HEARD)
    assert found() == []
    su.execute("update audit.worker set seen_at = now() - interval '61 seconds'")
    ((_, _, finding, _),) = found("no worker")
    assert re.search(r"for 00:0\d:\d\d", finding), "as long as it is by the time of the question"
    su.execute(HEARD)
    assert found() == []


def test_where_nothing_is_to_be_forwarded_no_worker_is_missed(su, found, siem):
    su.execute("select audit_internal.remove_worker('worker-1')")
    su.execute("select audit.pause_destination('siem')")
    assert found() == []


def test_a_receiver_that_wants_an_operator(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    settle(
        su, siem, p_status=401, p_error="the receiver responded with HTTP 401", p_retry_in="15 min", p_hold="attention"
    )
    ((problem, subject, finding, hint),) = found()
    assert (problem, subject) == ("needs attention", "siem")
    assert finding.endswith("the receiver responded with HTTP 401")
    assert "pgtrail destination resume siem" in hint
    su.execute("select audit.pause_destination('siem', false)")
    settle(su, siem)
    assert found() == []


def test_a_receiver_that_has_failed_for_five_minutes(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    settle(su, siem, p_status=500, p_error="the receiver responded with HTTP 500", p_retry_in="1 hour")
    assert found() == []
    su.execute("update audit.cursor set failing_since = now() - interval '5 minutes 1 second'")
    ((problem, subject, finding, hint),) = found()
    assert (problem, subject) == ("retrying", "siem")
    assert finding.endswith("(1 attempts): the receiver responded with HTTP 500")
    assert "pgtrail destination test siem" in hint
    su.execute("select audit.pause_destination('siem')")
    assert found() == []
    su.execute("select audit.pause_destination('siem', false)")
    settle(su, siem)
    assert found() == []


def test_a_destination_that_is_served_and_far_behind_is_information(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    settle(su, siem)
    su.execute("insert into public.thing values (2, 'y')")
    su.execute("alter table audit.event disable trigger refuse_change")
    su.execute("update audit.event set occurred_at = occurred_at - interval '301 seconds' where resource_id = '2'")
    ((problem, subject, finding, _),) = [row for row in found() if row[1] == "siem"]
    assert (problem, subject) == ("information", "siem")
    assert re.search(r"wait: \d, the oldest for 00:05:\d\d; the last delivery was 00:00:\d\d ago", finding)


def test_a_receiver_that_has_failed_for_five_days(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    settle(su, siem, p_status=500, p_error="the receiver responded with HTTP 500", p_retry_in="1 hour")
    assert found() == []
    su.execute("update audit.cursor set failing_since = now() - interval '5 days 1 second'")
    ((problem, subject, finding, _),) = found()
    assert (problem, subject) == ("suspended", "siem")
    assert finding.endswith("the receiver responded with HTTP 500")
    su.execute("select audit.pause_destination('siem', false)")
    settle(su, siem)
    assert found() == []


def test_a_replay_that_is_held_is_found_as_its_destination(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    settle(su, siem)
    replay = su.execute("select audit.replay_events('siem', 'lost there', since => '1970-01-01')").fetchone()[0]
    cursor = su.execute("select id from audit.cursor where replay_id is not null").fetchone()[0]
    settle(su, siem)
    settle(su, cursor, p_status=401, p_error="HTTP 401", p_retry_in="15 min", p_hold="attention")
    settle(su, siem)
    ((problem, subject, finding, _),) = found()
    assert (problem, subject) == ("needs attention", "siem")
    assert finding.endswith(f"HTTP 401 (replay {replay})")


def test_a_receiver_that_is_gone(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    settle(su, siem, p_status=410, p_error="the receiver responded with HTTP 410", p_retry_in="1 hour", p_hold="gone")
    ((problem, subject, _, hint),) = found()
    assert (problem, subject) == ("receiver gone", "siem")
    assert hint.startswith("pgtrail destination resume siem")
    su.execute("select audit.pause_destination('siem', false)")
    settle(su, siem)
    assert found() == []
    su.execute("select audit.pause_destination('siem')")
    assert found() == [], "an operator paused it"


def test_a_destination_that_is_paused_for_more_than_a_week(su, found, siem):
    su.execute("select audit.pause_destination('siem')")
    assert found() == []
    # Time passes; only a superuser can make it.
    su.execute("alter table audit.event disable trigger refuse_change")
    su.execute(
        "update audit.event set occurred_at = occurred_at - interval '7 days 1 minute' where 'paused' = any (changed)"
    )
    ((_, subject, _, hint),) = found("paused for long")
    assert subject == "siem"
    assert hint == "pgtrail destination resume siem, or: pgtrail destination remove siem"
    su.execute("select audit.pause_destination('siem', false)")
    assert found("paused for long") == []


def test_events_that_nobody_tries_to_send(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    assert found() == []
    su.execute("alter table audit.event disable trigger refuse_change")
    su.execute("update audit.event set occurred_at = occurred_at - interval '61 seconds' where category = 'thing'")
    ((_, subject, finding, hint),) = found("standstill")
    assert subject == "siem"
    assert "events that wait: " in finding
    assert re.search(r"the oldest for 00:0\d:\d\d", finding), "as long as it is by the time of the question"
    assert "pgtrail forward" in hint
    settle(su, siem)
    assert found("standstill") == []


@pytest.mark.parametrize(
    "reason",
    [
        "paused = true",
        "last_attempt_at = now() - interval '50 seconds'",
        "last_attempt_at = now() - interval '1 hour', retry_at = now() - interval '10 seconds'",
        "retry_at = now() + interval '1 hour'",
    ],
)
def test_events_that_wait_for_a_reason_are_no_standstill(su, found, thing, siem, reason):
    su.execute("insert into public.thing values (1, 'x')")
    su.execute("alter table audit.event disable trigger refuse_change")
    su.execute("update audit.event set occurred_at = occurred_at - interval '2 hours' where category = 'thing'")
    su.execute(
        "update audit.cursor set last_attempt_at = now() - interval '2 hours', retry_at = now() - interval '2 hours'"
    )
    assert len(found("standstill")) == 1
    su.execute(f"update audit.{'destination' if reason.startswith('paused') else 'cursor'} set {reason}")
    assert found("standstill") == []


def test_dead_letters_that_nobody_looked_at(su, found, thing, siem):
    su.execute("insert into public.thing values (1, 'x')")
    token, ids = take(su, siem)
    event = max(ids)
    su.execute(
        "select audit_internal.record_delivery(%s, %s, %s, %s, p_dead_ids => %s, p_dead_statuses => '{422}', p_dead_errors => '{\"no such field\"}')",
        [siem, token, ids[:-1], event, [event]],
    )
    ((problem, subject, finding, hint),) = found()
    assert (problem, subject, finding) == (
        "dead letters",
        "siem",
        "events that it refused: 1, the last one with: no such field",
    )
    assert "pgtrail destination redrive siem --reason …" in hint
    su.execute("select audit.redrive_dead_letters('siem', 'the field is there now')")
    settle(su, su.execute("select id from audit.cursor where replay_id is not null").fetchone()[0])
    settle(su, siem)
    assert found() == []


def test_a_cursor_that_is_a_million_transactions_behind(su, found, thing, siem):
    su.execute(BURN)
    ((problem, subject, finding, hint),) = found()
    assert (problem, subject) == ("cursor stale", "siem")
    assert int(finding.split()[3]) > 1_000_000
    assert "pgtrail forward" in hint
    su.execute("insert into public.thing values (1, 'x')")
    # What a worker does: some 100,000 transactions at a time.
    while take(su, siem)[1]:
        settle(su, siem)
    assert found() == []


def test_prepared_transactions_silence_the_wakeups_unless_somebody_chose(su, found, siem):
    su.execute(f"alter database {su.info.dbname} reset pgtrail.notify")
    su.execute("reset pgtrail.notify")
    ((problem, subject, _, hint),) = found()
    assert (problem, subject) == ("information", "NOTIFY")
    su.execute(hint.split(" where ")[0])
    assert found()
    su.execute("set pgtrail.notify = on")
    assert found() == []


def test_what_is_lost_comes_before_what_is_late_and_information_comes_last(su, found, thing, siem, unwatched):
    su.execute("reset pgtrail.notify")
    su.execute("drop trigger pgtrail_update on public.thing")
    su.execute("select audit_internal.remove_worker('worker-1')")
    su.execute("create table public.gone (id int primary key)")
    su.execute("select audit.track('public.gone')")
    su.execute("drop table public.gone")
    assert [row[0] for row in found()] == ["trigger missing", "no worker", "table gone", "information"]


@pytest.mark.parametrize("user", ["auditor", "admin", "forwarder"])
def test_whoever_sees_the_configuration_may_ask_the_doctor(db, user):
    db.connect(user).execute("select * from audit.doctor()")


@pytest.mark.parametrize("user", ["reader", "app"])
def test_others_may_not(db, user):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.connect(user).execute("select * from audit.doctor()")


def test_a_session_that_keeps_the_writers_from_notifying_is_named(db, found, siem, thing):
    holder = db.connect("app")
    holder.execute("select pg_advisory_lock(31638947224447341)")
    assert found("wake-up held") == []
    holder.execute("select pg_advisory_lock(31638947224447340)")
    ((_, subject, _, hint),) = found("wake-up held")
    assert subject == "app"
    with db.connect() as su:
        su.execute(hint.split(",")[0])
    assert found("wake-up held") == []


def test_neither_a_writer_nor_a_worker_is_taken_for_one_who_holds_the_wake_up(db, su, found, siem, thing):
    writer, worker = db.connect(autocommit=False), db.connect("forwarder")
    writer.execute("set pgtrail.notify = on")
    writer.execute("insert into public.thing values (1, 'x')")
    assert su.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() == (1,)
    assert found("wake-up held") == []
    writer.rollback()
    worker.execute("select pg_advisory_lock(audit_internal.notify_lock_key())")
    assert found("wake-up held") == []


def test_a_destination_whose_filters_raise_is_found_and_hides_no_other(su, found, siem, thing):
    su.execute("select audit.add_destination('odd', 'https://odd.example')")
    su.execute("update audit.destination set actions = array[repeat('*a', 40000)] where name = 'odd'")
    su.execute("insert into public.thing values (1, 'x')")
    ((_, subject, finding, _),) = found("filters fail")
    assert subject == "odd"
    assert "SQLSTATE 2201B" in finding
    states = su.execute("select name, state, events_behind is null from audit.destination_status order by name")
    assert states.fetchall() == [("odd", "needs_attention", True), ("siem", "active", False)]


def test_a_destination_that_no_worker_can_serve_is_found_until_one_can(su, found, siem):
    note = "select audit_internal.report_broken(%s, %s, %s)"
    su.execute(note, [siem, "worker-1", "its settings can't be used"])
    ((_, subject, finding, _),) = found("needs attention")
    assert (subject, finding) == ("siem", "no worker can serve it: its settings can't be used")
    assert su.execute("select state, last_error from audit.destination_status").fetchone() == (
        "needs_attention",
        "its settings can't be used",
    )
    # A second worker that serves it knows better.
    take(su, siem)
    su.execute(note, [siem, "worker-2", "other"])
    assert found("needs attention")[0][2].endswith("its settings can't be used")
    su.execute(note, [siem, "worker-1", None])
    assert found("needs attention") == []
    actions = su.execute("select action from audit.event where action ~ 'needs_attention|recovered' order by id")
    assert [row[0] for row in actions] == ["audit.destination_needs_attention", "audit.destination_recovered"]
