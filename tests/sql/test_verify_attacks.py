"""What a superuser tries so that `pgtrail verify` stays green: each is named."""

import json
from datetime import timedelta
from hashlib import sha256

import pytest
from tests.verifying import problems, verified

pytestmark = pytest.mark.any_server


@pytest.fixture
def log(su):
    """Ten events of a tracked table in two seals."""
    su.execute("create table public.thing (id serial primary key, name text, role text, email text)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    for _ in range(2):
        su.execute(
            "insert into public.thing (name, role) select 'thing ' || n, 'viewer' from generate_series(1, 5) as n"
        )
        seal(su)
    assert problems(su) == []
    return su


def seal(connection):
    while connection.execute("select number from audit.seal() where number is not null").fetchone():
        pass


def meddle(connection, statement, *arguments):
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(statement, *arguments)


def some_event(connection, offset=2):
    return connection.execute(
        "select id from audit.event where resource_type = 'thing' order by id offset %s limit 1", [offset]
    ).fetchone()[0]


def found(connection):
    return [problem for _, _, problem in problems(connection)]


# Rows that no seal can have ---------------------------------------------------------------------------------------


def test_an_event_without_a_transaction_is_named(log):
    event = some_event(log)
    log.execute("alter table audit.event alter xid drop not null")
    meddle(log, "update audit.event set xid = null where id = %s", [event])
    assert f"event {event}: it has no transaction, so that it is in no seal" in found(log)


def test_a_new_event_without_a_transaction_is_named(log):
    log.execute("alter table audit.event alter xid drop not null")
    meddle(
        log,
        "insert into audit.event (xid, category, action, resource_type, actor_type) values (null, 'teams', 'a.b', 'thing', 'user')",
    )
    seal(log)
    assert any("it has no transaction" in problem for problem in found(log))


@pytest.mark.parametrize("occurred_at", ["occurred_at + interval '1 month'", "occurred_at + interval '1 second'"])
@pytest.mark.parametrize("xid", ["xid", "pg_current_xact_id()"])
def test_a_second_event_of_one_id_is_named(log, occurred_at, xid):
    event = some_event(log)
    meddle(
        log,
        f"insert into audit.event (id, xid, occurred_at, category, action, resource_type, actor_type) "
        f"select id, {xid}, {occurred_at}, category, 'thing.forged', resource_type, actor_type from audit.event where id = %s",
        [event],
    )
    seal(log)
    assert f"event {event}: there are 2 of it" in found(log)


# Time -------------------------------------------------------------------------------------------------------------


def forge(connection, occurred_at):
    connection.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type) "
        f"values ({occurred_at}, 'teams', 'thing.forged', 'thing', 'user')"
    )


def test_an_event_of_a_transaction_that_was_open_for_long_may_not_claim_to_be_older_than_that(log, db):
    late = db.connect(autocommit=False)
    late.execute("select pg_current_xact_id()")
    seal(log)
    log.execute("insert into public.thing (name) values ('x')")
    seal(log)
    forge(late, "now() - interval '1 hour'")
    late.commit()
    seal(log)
    assert any("but was recorded after" in problem for problem in found(log))


def test_a_clock_that_was_set_back_accuses_nobody_and_only_its_own_seal_says_so(log):
    # As if the seals before had been made by a clock that was ahead.
    log.execute("update audit.seal_head set from_time = from_time + interval '10 minutes'")
    log.execute("insert into public.thing (name) values ('x')")
    seal(log)
    log.execute("insert into public.thing (name) values ('y')")
    seal(log)
    said, warnings, _ = verified(log)
    assert said == []
    assert [(each.number, each.problem) for each in warnings] == [
        (3, "the clock was set back before it was made: 1 of its events have times that do not fit")
    ]


def test_a_clock_that_was_set_back_excuses_no_event_of_long_ago(log):
    log.execute("update audit.seal_head set from_time = from_time + interval '10 minutes'")
    forge(log, "now() - interval '3 days'")
    seal(log)
    assert any("but was recorded after" in problem for problem in found(log))


@pytest.mark.parametrize(
    "occurred_at", ["from_time - interval '10 seconds'", "clock_timestamp() + interval '10 seconds'"]
)
def test_a_clock_that_steps_back_between_two_seals_accuses_nobody_and_is_said(log, occurred_at):
    """Such a step shows in no seal, once more time has passed than it took back."""
    (moment,) = log.execute(f"select ({occurred_at})::text from audit.seal_head").fetchone()
    forge(log, f"'{moment}'")
    log.execute("insert into public.thing (name) values ('x')")
    seal(log)
    log.execute("insert into public.thing (name) values ('y')")
    seal(log)
    said, warnings, _ = verified(log)
    assert said == []
    assert [(each.number, each.problem) for each in warnings] == [
        (3, "1 of its events have times up to 10 s off: a clock was set back, or forged")
    ]


@pytest.mark.parametrize(
    "occurred_at", ["from_time - interval '1001 seconds'", "clock_timestamp() + interval '1002 seconds'"]
)
def test_no_clock_is_set_so_far_unseen(log, occurred_at):
    (moment,) = log.execute(f"select ({occurred_at})::text from audit.seal_head").fetchone()
    forge(log, f"'{moment}'")
    seal(log)
    assert any("but was recorded" in problem for problem in found(log))


NEW_EPOCH = "it begins a new epoch, as after a restore, but the seal before it is of the same cluster"


def test_a_forged_restore_is_named_and_dates_nothing_back(log):
    log.execute("update audit.seal_head set system_identifier = 1, from_snapshot = '99999999:99999999:'")
    forge(log, "now() - interval '400 days'")
    seal(log)
    assert NEW_EPOCH in found(log)
    assert any("but was recorded after" in problem for problem in found(log))


def restored_from_another_cluster(log):
    """As if the log came from a cluster that was further, with an event that was not sealed there."""
    meddle(
        log,
        "insert into audit.event (xid, category, action, resource_type, actor_type) "
        "values ('5000000000', 'teams', 'thing.renamed', 'thing', 'user')",
    )
    log.execute("update audit.seal_head set system_identifier = 7")
    # (Recorded in the new cluster before what was left of the old one is sealed.)
    log.execute("insert into public.thing (name) values ('x')")


def test_a_restore_is_no_problem_and_listed(log):
    restored_from_another_cluster(log)
    seal(log)
    said, warnings, _ = verified(log)
    assert said == []
    (here,) = log.execute("select system_identifier from pg_control_system()").fetchone()
    assert [(each.number, each.problem) for each in warnings] == [
        (4, f"a new epoch begins with it: the database was restored into cluster {here}")
    ]


@pytest.mark.parametrize("late", [False, True], ids=["in its first seal", "in a later one"])
def test_no_event_is_dated_back_across_a_restore(log, db, late):
    restored_from_another_cluster(log)
    if late:
        open_for_long = db.connect(autocommit=False)
        open_for_long.execute("select pg_current_xact_id()")
        seal(log)
        forge(open_for_long, "now() - interval '400 days'")
        open_for_long.commit()
    else:
        forge(log, "now() - interval '400 days'")
    seal(log)
    assert any("but was recorded after" in problem for problem in found(log))


def test_the_clock_of_another_cluster_accuses_nobody(log):
    restored_from_another_cluster(log)
    forge(log, "now() - interval '1 hour'")
    seal(log)
    said, warnings, _ = verified(log)
    assert said == []
    assert (
        4,
        "1 of its events have times before its epoch began: another cluster's clock, or forged",
    ) in [(each.number, each.problem) for each in warnings]


def test_the_beginning_of_a_batch_can_not_be_set_back(log):
    log.execute("update audit.seal_head set from_time = from_time - interval '401 days'")
    forge(log, "now() - interval '400 days'")
    seal(log)
    assert "it does not begin where the seal before it ends" in found(log)


def test_the_first_seal_leaves_no_event_out(db):
    su = db.connect()
    (last,) = su.execute("select max(id) from audit.event").fetchone()
    su.execute("update audit.seal_head set epoch = %s, above_id = %s", [last, last])
    forge(su, "now()")
    seal(su)
    assert "it does not begin where the seal before it ends" in found(su)


# Removals ---------------------------------------------------------------------------------------------------------

REMOVAL = """
    insert into audit.dropped_partition (name, begins, ends, events, ids, event_id)
    values ('audit.event_2020_01', %(begins)s, %(ends)s, 1, %(ids)s, {event})
"""


def remove(connection, begins="2020-01-01Z", ends="2020-02-01Z", *, told=False, times=1):
    """An event is deleted, and a removal invented for it; with an event of that, if it is to be told."""
    event = some_event(connection)
    meddle(connection, "delete from audit.event where id = %s", [event])
    ids = f"{{[{event},{event + 1})}}"
    record = (
        "(select audit.record('audit.partition_dropped', 'partition', 'audit.event_2020_01', 'audit.event_2020_01', null, "
        "jsonb_build_object('events', 1, 'begins', %(begins)s::timestamptz, 'ends', %(ends)s::timestamptz, "
        "'ids_sha256', encode(sha256(convert_to(%(ids)s, 'UTF8')), 'hex'))))"
    )
    said = {"begins": begins, "ends": ends, "ids": ids}
    number = connection.execute(f"select {record}", said).fetchone()[0] if told else event + 1
    meddle(connection, REMOVAL.format(event=number), said)
    seal(connection)
    return event


def test_an_invented_removal_excuses_nothing(log):
    event = remove(log)
    assert {"it was deleted", "removal audit.event_2020_01: it is not what the event of its removal says"} <= set(
        found(log)
    )
    assert event


def test_an_invented_removal_with_an_event_does_not_fit_the_seals_and_is_listed(log):
    remove(log, told=True)
    said, _, evidence = verified(log)
    assert [problem for *_, problem in said] == [
        "removal audit.event_2020_01: it removed 1 events of seal 1, which has 0 of its month"
    ]
    ((kind, name, text),) = evidence.listed
    assert (kind, name) == ("removal", "audit.event_2020_01")
    assert "UTC by postgres, 1 events, no archive" in text


def test_a_removal_of_the_events_month_takes_all_of_it(log):
    (begins, ends) = log.execute(
        "select date_trunc('month', now() at time zone 'UTC') at time zone 'UTC', "
        "(date_trunc('month', now() at time zone 'UTC') + interval '1 month') at time zone 'UTC'"
    ).fetchone()
    remove(log, begins, ends, told=True)
    assert any("it removed 1 events of seal 1, which has" in problem for problem in found(log))


def test_a_removal_is_of_whole_months(log):
    remove(log, ends="2020-01-03Z", told=True)
    assert "removal audit.event_2020_01: it is not a whole month" in found(log)


CLAIM = """
    with month as (
        select to_date(split_part(months[1], ' ', 1), 'YYYY-MM')::timestamp at time zone 'UTC' as begins,
            split_part(months[1], ' ', 2)::bigint as events,
            (select range_agg(int8range(id, id, '[]')) from seal_leaves, unnest(ids) as id where seal_leaves.number = seal.number) as ids
        from seal
        where number = 1
    ),
    told as materialized (
        select month.*, record(
            'audit.partition_dropped', 'partition', %(name)s, %(name)s, null,
            jsonb_build_object(
                'events', events, 'begins', begins, 'ends', begins + interval '1 month',
                'ids_sha256', encode(sha256(convert_to(ids::text, 'UTF8')), 'hex')
            )
        ) as event_id
        from month
    )
    insert into dropped_partition (name, begins, ends, events, ids, event_id)
    select %(name)s, begins, (begins at time zone 'UTC' + interval '1 month') at time zone 'UTC', events, ids, event_id from told
"""


def claim_whole_month(connection, name="audit.event_gone"):
    """A removal that took all of seal 1, as its event says too, though most of it is still there."""
    with connection.transaction():
        connection.execute("set local search_path = audit, pg_catalog; set local timezone = 'UTC'")
        connection.execute(CLAIM, {"name": name})


def test_a_removal_does_not_hide_one_event_behind_those_that_are_still_there(db):
    su = db.connect()
    su.execute("create table public.thing (id int primary key)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing select generate_series(1, 5)")
    seal(su)
    meddle(su, "delete from audit.event where id = %s", [some_event(su)])
    claim_whole_month(su)
    (events,) = su.execute("select events - 1 from audit.seal where number = 1").fetchone()
    assert (
        f"removal audit.event_gone: it claims to have removed {events} events of seal 1 that are still there"
        in found(su)
    )


def test_two_removals_do_not_take_the_same_event(log):
    claim_whole_month(log)
    claim_whole_month(log, "audit.event_gone_too")
    assert "removal audit.event_gone_too: it removed events that the removal of audit.event_gone had removed" in found(
        log
    )


FORGED_EVIDENCE = """
    insert into audit.event (category, action, resource_type, resource_id, actor_type, after)
    values ('audit', 'audit.partition_dropped', 'partition', 'audit.event_2020_01', 'database', %s::jsonb)
    returning id
"""


@pytest.mark.parametrize("content", ['{"carried": "boom"}', '{"carried": {"1": 2}}', '"carried"', '["carried"]'])
def test_evidence_that_is_garbage_is_named(log, content):
    (event,) = log.execute(FORGED_EVIDENCE, [content]).fetchone()
    seal(log)
    assert f"event {event}: what it says of earlier removals: it does not have the form that pgtrail gives it" in found(
        log
    )


SAID = f'{{"events": 0, "ids_sha256": "{sha256(b"{}").hexdigest()}", '


@pytest.mark.parametrize(
    "content",
    ['"x"', "[1]", "{}", SAID + '"begins": 1}', SAID + '"begins": "2020-01-01", "ends": "x"}'],
)
def test_a_removal_whose_event_is_garbage_is_named(log, content):
    (event,) = log.execute(FORGED_EVIDENCE, [content]).fetchone()
    meddle(
        log,
        "insert into audit.dropped_partition (name, begins, ends, events, ids, event_id) "
        "values ('audit.event_2020_01', '2020-01-01Z', '2020-02-01Z', 0, '{}', %s)",
        [event],
    )
    seal(log)
    assert "removal audit.event_2020_01: it is not what the event of its removal says" in found(log)


@pytest.mark.parametrize("carried", ['"boom"', '{"1": {"events": 1}}', "[]"])
def test_a_rule_makes_no_evidence(log, carried):
    log.execute("create table public.part (id int primary key, carried jsonb)")
    log.execute("select audit.track('public.part', resource => 'partition', category => 'audit')")
    log.execute("select audit.rule('public.part', 'audit.partition_dropped', 'audit', 'INSERT')")
    log.execute("insert into public.part values (1, %s)", [carried])
    seal(log)
    assert log.execute("select count(*) from audit.event where action = 'audit.partition_dropped'").fetchone() == (1,)
    assert found(log) == []


def test_an_event_of_a_node_that_nobody_knows_is_named(log):
    (event,) = log.execute(
        "insert into audit.event (occurred_at, category, action, resource_type, actor_type, node, node_id, node_xid) "
        "values (now() - interval '400 days', 'teams', 'thing.forged', 'thing', 'user', 'ghost', 1, '5') returning id"
    ).fetchone()
    seal(log)
    assert f"event {event}: it says that it is of node ghost, which audit.node does not have" in found(log)


# Erasures ---------------------------------------------------------------------------------------------------------


def forge_erasure(connection, event, part, change, *, told=True):
    """A field is changed, and an erasure invented that excuses it, as one who has read how would."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        _pseudonym, number = connection.execute(
            "insert into audit.erasure (pseudonym, reason) values ('erased-0123456789abcdef', 'none of yours') returning pseudonym, id"
        ).fetchone()
        connection.execute(
            "insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted) "
            "select event.id, held.part, %s, held.commitment, '\\x' || repeat('00', 32) "
            "from audit.event join audit.seal on event.id between seal.first_id and seal.last_id "
            "join audit.seal_leaves using (number) "
            "cross join lateral audit_internal.sealed_parts(event, seal_leaves.secret, seal.personal) as held "
            "where event.id = %s and held.part = %s".replace("'\\x' || repeat('00', 32)", "sha256('')"),
            [number, event, part],
        )
        connection.execute(f"update audit.event set {change} where id = %s", [event])
        connection.execute(
            "update audit.erased_part set redacted = (select audit_internal.commitment(null, field.content) from audit.event "
            "cross join lateral audit_internal.parts(event) as field where event.id = erased_part.event_id and field.part = erased_part.part) "
            "where erasure_id = %s",
            [number],
        )
        if told:
            connection.execute(
                "update audit.erasure set event_id = audit.record('audit.actor_erased', 'actor', pseudonym, null, null, "
                "jsonb_build_object('pseudonym', pseudonym, 'digest', encode(audit_internal.erasure_digest(id), 'hex'))) where id = %s",
                [number],
            )
    seal(connection)


ROLE = """after = after || '{"role": "admin"}'"""


def test_a_forged_erasure_that_no_event_backs_excuses_nothing(log):
    event = some_event(log)
    forge_erasure(log, event, "after.role", ROLE, told=False)
    assert (1, event, "it was changed") in problems(log)


def test_a_forged_erasure_excuses_no_other_value_than_its_pseudonym(log):
    event = some_event(log)
    forge_erasure(log, event, "after.role", ROLE)
    assert (1, event, "its after.role was changed under cover of an erasure") in problems(log)


@pytest.mark.parametrize(
    "change",
    [
        "category = 'plan'",
        "action = 'thing.forged'",
        "reason = 'forged'",
        """after = after || '{"role": "erased-0123456789abcdef", "name": "forged"}'""",
        """after = after || '{"role": "erased-0123456789abcdef", "new": 1}'""",
        "after = after - 'id' || '{\"role\": \"erased-0123456789abcdef\"}'",
        "db_role = 'app'",
    ],
)
def test_a_forged_erasure_excuses_no_other_field(log, change):
    event = some_event(log)
    forge_erasure(log, event, "after.role", change)
    assert (1, event, "it was changed") in problems(log)


def test_a_forged_erasure_of_one_field_is_listed(log):
    forge_erasure(log, some_event(log), "after.role", """after = after || '{"role": "erased-0123456789abcdef"}'""")
    said, _, evidence = verified(log)
    assert said == []
    ((kind, name, text),) = evidence.listed
    assert (kind, name) == ("erasure", "erased-0123456789abcdef")
    assert "1 sealed events" in text


def test_what_stands_beside_an_erased_field_can_not_be_changed_later_either(log):
    app = log
    app.execute("insert into public.thing (name, email, role) values ('Ann', 'ann@x.example', 'viewer')")
    seal(log)
    log.execute("select audit.erase_actor('ann@x.example', 'ticket 1')")
    seal(log)
    assert problems(log) == []
    (event,) = log.execute("select id from audit.event where after ->> 'email' like 'erased-%'").fetchone()
    meddle(log, """update audit.event set after = after || '{"role": "admin"}' where id = %s""", [event])
    assert (3, event, "it was changed") in problems(log)


def test_a_json_key_that_is_a_person_is_erased(log):
    log.execute("create table public.share (id int primary key, grants jsonb)")
    log.execute("select audit.track('public.share', 'share')")
    log.execute("insert into public.thing (name, email) values ('Ann', 'ann@x.example')")
    grants = {"ann@x.example": {"role": "admin"}, "Ann": 1, "bob@x.example": 2, "team": ["ann@x.example"]}
    log.execute("insert into public.share values (1, %s)", [json.dumps(grants)])
    seal(log)
    pseudonym = log.execute("select audit.erase_actor('ann@x.example', 'ticket 1', '{Ann}')").fetchone()[0]["pseudonym"]
    seal(log)
    (left,) = log.execute("select after -> 'grants' from audit.event where resource_type = 'share'").fetchone()
    assert left["bob@x.example"] == 2
    assert left["team"] == [pseudonym]
    assert {key for key in left if key.startswith("erased-")} == {pseudonym, f"{pseudonym}-2"}
    assert "ann@x" not in json.dumps(left).lower()
    assert problems(log) == []


# Proofs -----------------------------------------------------------------------------------------------------------


def test_a_proof_gives_away_the_salt_of_its_own_leaf_alone(log):
    event, sibling = some_event(log, 0), some_event(log, 1)
    (proof,) = log.execute("select audit.prove(%s)", [event]).fetchone()
    (leaves, secret, ids) = log.execute("select leaves, secret, ids from audit.seal_leaves where number = 1").fetchone()
    (text,) = log.execute(
        "select audit_internal.sealed_text(event, secret, personal) from audit.event, audit.seal_leaves join audit.seal using (number) where id = %s and number = 1",
        [sibling],
    ).fetchone()
    place = ids.index(sibling) * 32
    guesses = [proof["salt"], *(field["salt"] for field in proof["fields"] if "salt" in field), ""]
    digest = "select sha256('\\x00'::bytea || %s || convert_to(%s, 'UTF8'))"
    assert leaves[place : place + 32] not in [
        log.execute(digest, [bytes.fromhex(guess), text]).fetchone()[0] for guess in guesses
    ]
    assert secret.hex() not in json.dumps(proof)
    salt = log.execute("select audit_internal.leaf_salt(%s, %s)", [secret, sibling]).fetchone()[0]
    assert leaves[place : place + 32] == log.execute(digest, [salt, text]).fetchone()[0]


def test_clocks_are_not_all_the_same(log):
    log.execute("update audit.seal_head set from_time = from_time + interval '1 second'")
    log.execute("insert into public.thing (name) values ('x')")
    seal(log)
    said, warnings, _ = verified(log)
    assert said == []
    assert timedelta(seconds=1) > timedelta(0)
    assert all(each.is_warning for each in warnings)
