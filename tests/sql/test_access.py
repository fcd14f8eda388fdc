"""Who may do what, as each role: allowed and refused."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

A, B = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
VIEWS = ("event", "log", "diff", "export", "teams", "today", "last_7_days", "last_30_days")


@pytest.fixture
def two_orgs(nemo):
    """Organizations A and B with a team each; the reader may read A."""
    su = nemo.connect()
    su.execute(
        f"insert into nemo.organization (id, name, slug) values ('{A}', 'A', 'a'), ('{B}', 'B', 'b'); "
        f"insert into nemo.team (org_id, name) values ('{A}', 'team of A'), ('{B}', 'team of B')"
    )
    su.execute("select audit.grant_org('reader', %s)", [A])
    return nemo


@pytest.mark.parametrize("view", VIEWS)
def test_a_reader_sees_the_organizations_granted_to_it_and_no_other(two_orgs, view):
    reader = two_orgs.connect("reader")
    assert {row[0] for row in reader.execute(f"select org_id from audit.{view}")} == {A}
    auditor = two_orgs.connect("auditor")
    assert {A, B} <= {row[0] for row in auditor.execute(f"select org_id from audit.{view}")}
    two_orgs.connect().execute("select audit.revoke_org('reader', %s)", [A])
    assert reader.execute(f"select count(*) from audit.{view}").fetchone() == (0,)


@pytest.mark.parametrize(
    "right",
    [
        "grant audit_owner to {}",
        "alter role {} bypassrls",
        "create policy own on audit.event for select to {} using (true)",
    ],
    ids=["owner", "bypassrls", "policy"],
)
def test_a_search_finds_whatever_row_level_security_lets_through(two_orgs, right):
    su = two_orgs.connect()
    su.execute("create role looker login in role audit_reader")
    try:
        su.execute(right.format("looker"))
        with two_orgs.connect("looker") as looker:
            rows = looker.execute("select org_id from audit.log").fetchall()
            assert {A, B, None} <= {row[0] for row in rows}
            found = looker.execute(
                "select count(*) from audit_internal.newest_events(audit_internal.restrict_to_visible(audit.filter('{}')), 1000)"
            )
            assert found.fetchone() == (len(rows),)
            assert looker.execute("select audit_internal.visible_orgs()").fetchone() == (None,)
            looker.execute("select * from audit_internal.visible_nodes(10)")
    finally:
        su.execute("drop policy if exists own on audit.event")
        su.execute("drop role looker")


def test_a_batch_and_a_grant_of_another_are_hidden_from_a_reader(two_orgs):
    su = two_orgs.connect()
    su.execute("select audit.grant_org('auditor', %s)", [B])
    reader = two_orgs.connect("reader")
    rows = reader.execute("select org_id from audit_internal.events_between('1:1:', pg_current_snapshot())").fetchall()
    assert {row[0] for row in rows} == {A}
    assert reader.execute("select role_name, org_id from audit.org_grant").fetchall() == [("reader", A)]


@pytest.mark.parametrize("view", VIEWS)
def test_an_application_sees_nothing(two_orgs, view):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        two_orgs.connect("app").execute(f"select * from audit.{view}")


def test_an_application_names_its_actor_without_any_grant(two_orgs):
    two_orgs.connect("app").execute("select audit.set_actor('x')")


@pytest.mark.parametrize("user", ["app", "reader", "auditor", "admin"])
def test_only_the_forwarder_reads_a_signing_secret(two_orgs, user):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        two_orgs.connect(user).execute("select * from audit.destination_secret")
    two_orgs.connect("forwarder").execute("select * from audit.destination_secret")


@pytest.mark.parametrize("user", ["app", "reader", "auditor", "forwarder"])
@pytest.mark.parametrize(
    "call",
    [
        "audit.track('nemo.team')",
        "audit.untrack('nemo.team')",
        "audit.add_destination('x', 'https://x.example')",
        "audit.grant_org('app', 'o')",
        "audit.make_partitions(1)",
    ],
)
def test_nobody_but_an_admin_configures(two_orgs, user, call):
    if user == "forwarder" and "make_partitions" in call:
        call = "audit.remove_destination('x')"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        two_orgs.connect(user).execute(f"select {call}")


def test_an_admin_who_owns_a_table_tracks_it(db):
    su = db.connect()
    su.execute("create schema shop authorization admin")
    admin = db.connect("admin")
    admin.execute("create table shop.item (id int primary key, name text)")
    admin.execute("select audit.track('shop.item', label => 'name')")
    admin.execute("select audit.rule('shop.item', 'item.renamed', 'item', 'UPDATE', 'new.name <> old.name')")
    admin.execute("insert into shop.item values (1, 'a')")
    admin.execute("update shop.item set name = 'b'")
    rows = admin.execute("select action, actor_id from audit.event where category = 'item' order by id").fetchall()
    assert rows == [("item.created", "admin"), ("item.renamed", "admin")]
    admin.execute("select audit.untrack('shop.item')")


def test_the_owner_itself_has_no_right_to_change_what_is_recorded(db):
    held = "select has_table_privilege('audit_owner', 'audit.event', privilege) from unnest('{update,delete,truncate}'::text[]) as privilege"
    assert db.connect().execute(held).fetchall() == [(False,)] * 3


@pytest.mark.parametrize("user", ["postgres", "audit_owner", "admin", "auditor", "app"])
@pytest.mark.parametrize("change", ["update {} set action = 'x'", "delete from {}", "truncate {}"])
def test_nobody_changes_what_is_recorded_the_owner_and_a_superuser_included(two_orgs, user, change):
    su = two_orgs.connect()
    partition = su.execute("select tableoid::regclass::text from audit.event limit 1").fetchone()[0]
    before = su.execute("select count(*), md5(string_agg(event::text, '' order by id)) from audit.event").fetchone()
    for table in ("audit.event", partition):
        connection = two_orgs.connect("postgres" if user == "audit_owner" else user)
        if user == "audit_owner":
            connection.execute("set role audit_owner")
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(change.format(table))
        assert raised.value.sqlstate in ("PT008", "42501")
    assert (
        su.execute("select count(*), md5(string_agg(event::text, '' order by id)) from audit.event").fetchone()
        == before
    )


def test_every_definer_has_the_pinned_path_and_no_public_execute(nemo):
    su = nemo.connect()
    definers = su.execute(
        """
        select proname, proconfig, has_function_privilege('public', oid, 'execute')
        from pg_proc
        where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and prosecdef
        """
    ).fetchall()
    assert len(definers) > 30
    for name, config, public in definers:
        assert "search_path=pg_catalog, pg_temp" in (config or ()), name
        assert not public, name


def test_of_schema_audit_the_public_may_call_set_actor_and_nothing_else(nemo):
    rows = nemo.connect().execute(
        "select proname from pg_proc where pronamespace = 'audit'::regnamespace and has_function_privilege('public', oid, 'execute')"
    )
    assert rows.fetchall() == [("set_actor",)]


def test_everything_has_a_comment(nemo):
    missing = (
        nemo.connect()
        .execute(
            """
        select relname::text from pg_class
        where relnamespace = 'audit'::regnamespace and relkind in ('r', 'p', 'v') and obj_description(oid, 'pg_class') is null
        union all
        select relname || '.' || attname from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = 'audit'::regnamespace and relkind in ('r', 'p') and not relispartition
            and attnum > 0 and not attisdropped and col_description(attrelid, attnum) is null
        union all
        select proname from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and obj_description(oid, 'pg_proc') is null
        """
        )
        .fetchall()
    )
    assert missing == []


def test_what_a_caller_puts_into_its_temporary_schema_never_runs_as_the_owner(two_orgs):
    app = two_orgs.connect("app")
    app.execute("create domain pg_temp.text as pg_catalog.text check (current_user = 'app')")
    app.execute("create temporary table event (id int)")
    app.execute("create temporary table new_rows (id int)")
    for name, arguments in (
        ("current_setting", "text, boolean"), ("to_jsonb", "anyelement"), ("array_remove", "anyarray, anyelement"),
        ("format", "text"), ("set_config", "text, text, boolean"), ("clock_timestamp", ""), ("coalesce_", "text"),
        ("pg_try_advisory_xact_lock", "bigint"), ("claimed_actor", ""), ("wake", ""),
    ):  # fmt: skip
        app.execute(
            f"create function pg_temp.{name}({arguments}) returns pg_catalog.text language plpgsql as "
            "$$ begin raise exception 'ran as %', current_user; end $$"
        )
    app.execute("set search_path = pg_temp, public")
    app.execute(f"insert into nemo.team (org_id, name) values ('{A}', 'x')")
    app.execute("update nemo.team set name = 'y' where name = 'x'")
    app.execute("delete from nemo.team where name = 'y'")
    rows = two_orgs.connect().execute("select action from audit.event where db_role = 'app' order by id").fetchall()
    assert rows == [("team.created",), ("team.updated",), ("team.deleted",)]


ACTOR = "select actor_type, actor_id, actor_label, db_role from audit.event order by id desc limit 1"


def write(connection):
    connection.execute("update nemo.team set rpm_limit = coalesce(rpm_limit, 0) + 1 where name = 'team of A'")


def test_the_actor_is_what_is_set_else_the_claims_else_the_role(two_orgs):
    su, app = two_orgs.connect(), two_orgs.connect("app")
    write(app)
    assert su.execute(ACTOR).fetchone() == ("database", "app", None, "app")
    with app.transaction():
        app.execute("""select set_config('request.jwt.claims', '{"sub": "u2", "email": "b@c"}', true)""")
        write(app)
        assert su.execute(ACTOR).fetchone() != ("user", "u2", "b@c", "app")
    assert su.execute(ACTOR).fetchone() == ("user", "u2", "b@c", "app")
    with app.transaction():
        app.execute("""select set_config('request.jwt.claims', '{"sub": "u2"}', true)""")
        app.execute("select audit.set_actor('u1', 'a@c', 'service')")
        write(app)
    assert su.execute(ACTOR).fetchone() == ("service", "u1", "a@c", "app")
    write(app)
    assert su.execute(ACTOR).fetchone() == ("database", "app", None, "app")


def test_a_role_that_was_set_shows_and_so_does_the_one_that_logged_in(two_orgs):
    su = two_orgs.connect()
    su.execute("set role app")
    write(su)
    su.execute("reset role")
    assert su.execute(ACTOR).fetchone() == ("database", "app", None, "postgres")


def test_everything_that_set_actor_takes_is_recorded(two_orgs):
    app = two_orgs.connect("app", application_name="gateway 2.1")
    with app.transaction():
        app.execute(
            "select audit.set_actor('u1', ip => '2001:db8::1', user_agent => 'curl', request_id => 'r-1', reason => 'why')"
        )
        write(app)
    row = two_orgs.connect().execute(
        "select host(actor_ip), user_agent, request_id, reason, application_name, client_addr "
        "from audit.event order by id desc limit 1"
    )
    assert row.fetchone() == ("2001:db8::1", "curl", "r-1", "why", "gateway 2.1", None)


GARBAGE = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    setting=st.sampled_from(["pgtrail.actor", "request.jwt.claims"]),
    value=GARBAGE
    | st.sampled_from(["{", '"x"', "[]", "null", '{"id": {}}', '{"id": "x", "ip": "no"}', '{"sub": 1}', "[" * 20_000]),
)
def test_garbage_in_a_setting_costs_the_application_nothing(two_orgs, setting, value):
    app = two_orgs.connect("app")
    app.execute("select set_config(%s, %s, false)", [setting, value])
    write(app)
    assert two_orgs.connect().execute(ACTOR).fetchone()[3] == "app"
    app.close()
