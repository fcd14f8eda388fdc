"""Whose name an event has: what a claim can say, and what it can't."""

import json

import pytest

pytestmark = pytest.mark.any_server

RECORDED = "select actor_type, actor_id, db_role, after from audit.event order by id desc limit 1"
EXPORTED = "select audit_internal.record_export('{}', 3)"


@pytest.mark.parametrize("kind", ["database", "Database", " database\n", "data\u200bbase", "DATABASE\u00a0"])
def test_a_claim_never_looks_like_a_database_role(db, kind):
    su = db.connect()
    su.execute("create table public.thing (id int primary key)")
    su.execute("select audit.track('public.thing', 'thing')")
    for number, setting in enumerate(("pgtrail.actor", "request.jwt.claims")):
        claim = json.dumps({"type": kind, "id": "postgres", "sub": "postgres"})
        with su.transaction():
            su.execute("select set_config(%s, %s, true)", [setting, claim])
            su.execute("insert into public.thing values (%s)", [number])
        assert su.execute(RECORDED).fetchone()[:2] == ("user", "postgres")
    with su.transaction():
        su.execute("select audit.set_actor('postgres', type => %s)", [kind])
        su.execute("insert into public.thing values (9)")
    assert su.execute(RECORDED).fetchone()[:2] == ("user", "postgres")
    su.execute("insert into public.thing values (10)")
    assert su.execute(RECORDED).fetchone()[:2] == ("database", "postgres")


@pytest.mark.parametrize("user", ["reader", "auditor"])
@pytest.mark.parametrize("setting", ["pgtrail.actor", "request.jwt.claims"])
def test_a_reader_exports_in_nobody_else_s_name(nemo, user, setting):
    reader = nemo.connect(user)
    with reader.transaction():
        reader.execute("select set_config(%s, %s, true)", [setting, '{"id": "ann", "sub": "ann", "ip": "192.0.2.1"}'])
        reader.execute(EXPORTED)
    kind, actor, role, after = nemo.connect().execute(RECORDED).fetchone()
    assert (kind, actor, role) == ("database", user, user)
    assert after["claimed"] == {"type": "user", "id": "ann"}


def test_a_reader_who_claims_nothing_is_recorded_as_it_is(nemo):
    nemo.connect("reader").execute(EXPORTED)
    kind, actor, _, after = nemo.connect().execute(RECORDED).fetchone()
    assert (kind, actor) == ("database", "reader")
    assert "claimed" not in after


def test_a_page_that_was_granted_audit_org_reader_speaks_for_its_viewers(nemo, server):
    su = nemo.connect()
    su.execute("create role page_of_claims login in role audit_auditor, audit_org_reader")
    try:
        with nemo.connect("page_of_claims") as page:
            page.execute("begin")
            page.execute("select audit.set_actor('ann')")
            page.execute(EXPORTED)
            page.execute("commit")
        kind, actor, role, after = su.execute(RECORDED).fetchone()
        assert (kind, actor, role) == ("user", "ann", "page_of_claims")
        assert "claimed" not in after
    finally:
        su.execute("drop role page_of_claims")


def test_who_forwards_and_seals_does_so_in_its_own_name(nemo):
    nemo.connect().execute(
        "select audit.add_destination('siem', 'https://siem.example', options => '{\"seals\": true}')"
    )
    forwarder = nemo.connect("forwarder")
    with forwarder.transaction():
        forwarder.execute("select audit.set_actor('ann')")
        forwarder.execute("select audit.seal()")
    sealed = "select actor_type, actor_id from audit.event where action = 'audit.sealed'"
    assert set(nemo.connect().execute(sealed)) == {("database", "forwarder")}
