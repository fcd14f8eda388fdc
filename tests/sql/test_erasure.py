"""A person becomes a pseudonym: nothing of theirs stays, everything else does, and the seals hold."""

import hashlib
import json

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.verifying import problems

pytestmark = pytest.mark.any_server


@pytest.fixture
def acme(nemo):
    """An organization in which Bob acts, and is acted upon, under two addresses; and Ann, who stays."""
    su, app = nemo.connect(), nemo.connect("app")
    org = su.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme') returning id").fetchone()[0]
    for statement in (
        "insert into nemo.profile (org_id, email, full_name) values (%s, 'bob@x.example', 'Bob Builder')",
        "insert into nemo.profile (org_id, email, full_name) values (%s, 'ann@x.example', 'Ann Arbor')",
        "insert into nemo.member (org_id, email, role, status) values (%s, 'bob@x.example', 'admin', 'invited')",
    ):
        app.execute(statement, [org])
    with app.transaction():
        app.execute("select audit.set_actor('bob@x.example', 'Bob B.', ip => '203.0.113.9', user_agent => 'Firefox')")
        app.execute(
            "insert into nemo.team (org_id, name, description) values (%s, 'ops', 'run by bob@x.example')", [org]
        )
        app.execute(
            "update nemo.profile set full_name = 'Robert', email = 'rob@y.example' where full_name = 'Bob Builder'"
        )
    with app.transaction():
        app.execute("select audit.set_actor('ann@x.example', 'Ann', ip => '203.0.113.7')")
        app.execute("insert into nemo.guardrail (org_id, name, kind, mode, config) values (%s, 'g', 'pii', 'pre_call', %s)",
                    [org, json.dumps({"owners": [{"mail": "rob@y.example"}, "ann@x.example"]})])  # fmt: skip
        app.execute("delete from nemo.member")
    return nemo


def erase(connection, actor="bob@x.example", also=()):
    return connection.execute("select audit.erase_actor(%s, 'ticket 17', %s)", [actor, list(also)]).fetchone()[0]


def seal(connection):
    while connection.execute("select number from audit.seal() where number is not null").fetchone():
        pass


@pytest.mark.parametrize("sealed", [True, False])
def test_nothing_that_names_the_person_stays_and_everything_else_does(acme, sealed):
    su = acme.connect()
    if sealed:
        seal(su)
    before = su.execute("select * from audit.event order by id").fetchall()
    done = erase(su)
    pseudonym = done["pseudonym"]
    rows = su.execute("select id, event::text from audit.event order by id").fetchall()
    names = ("bob@x.example", "rob@y.example", "Bob B.", "Bob Builder", "Robert", "203.0.113.9", "Firefox")
    left = {id: [name for name in names if name in text] for id, text in rows if any(name in text for name in names)}
    assert list(left.values()) == [["bob@x.example"]], "inside another text: the description of a team"
    assert done["mentions"] == 1
    acts = su.execute(
        "select count(*) from audit.event where actor_id = %s and actor_label = %s", [pseudonym, pseudonym]
    )
    assert acts.fetchone() == (2,)
    assert su.execute(
        "select count(*) from audit.event where actor_id = 'ann@x.example' and actor_ip = '203.0.113.7'"
    ).fetchone() == (2,)
    (config,) = su.execute("select after -> 'config' from audit.event where resource_type = 'guardrail'").fetchone()
    assert config == {"owners": [{"mail": pseudonym}, "ann@x.example"]}
    assert len(before) + 1 == len(rows)
    seal(su)
    assert problems(su) == []


def test_the_erasure_is_an_event_which_does_not_name_the_person(acme):
    su = acme.connect()
    done = erase(su)
    action, resource, after, everything = su.execute(
        "select action, resource_id, after, event::text from audit.event order by id desc limit 1"
    ).fetchone()
    assert (action, resource) == ("audit.actor_erased", done["pseudonym"])
    assert after["reason"] == "ticket 17"
    assert after["events"] == done["events"]
    assert "bob" not in everything.lower()


def test_the_salts_that_could_confirm_a_guess_are_gone_and_the_others_stay(acme):
    su = acme.connect()
    seal(su)
    erase(su)
    salts = su.execute("select kind, id from audit.salt").fetchall()
    assert ("actor", "ann@x.example") in salts
    assert ("actor", "bob@x.example") not in salts
    bobs = su.execute("select distinct resource_id from audit.event where resource_label like 'erased-%'").fetchall()
    assert len(bobs) == 2
    assert not {("resource", id) for (id,) in bobs} & set(salts)
    commitments = [c for (c,) in su.execute("select commitment from audit.erased_part where part = 'actor'").fetchall()]
    guess = '["bob@x.example", "Bob B.", "203.0.113.9", "Firefox"]'
    assert hashlib.sha256(guess.encode()).digest() not in commitments


def test_whoever_acts_again_has_a_new_salt_and_can_be_erased_again(acme):
    su, app = acme.connect(), acme.connect("app")
    seal(su)
    first = erase(su)["pseudonym"]
    with app.transaction():
        app.execute("select audit.set_actor('bob@x.example', 'Bob B.')")
        app.execute("update nemo.team set rpm_limit = 9")
    seal(su)
    second = erase(su)["pseudonym"]
    assert first != second
    seal(su)
    assert problems(su) == []


def test_two_persons_in_one_event_are_erased_one_after_the_other(acme):
    su = acme.connect()
    seal(su)
    erase(su)
    erase(su, "ann@x.example")
    seal(su)
    (config,) = su.execute("select after -> 'config' from audit.event where resource_type = 'guardrail'").fetchone()
    assert all(text.startswith("erased-") for text in (config["owners"][0]["mail"], config["owners"][1]))
    assert problems(su) == []


def test_what_was_recorded_of_the_person_by_other_names_goes_with_also(acme):
    su = acme.connect()
    erase(su, "u-1", ["bob@x.example"])
    assert su.execute("select count(*) from audit.event where event::text like '%rob@y%'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update audit.event set actor_label = 'Eve' where id = %s", "its actor was changed after the erasure"),
        ("update audit.event set after = '{}' where id = %s", "it was changed"),
        ("update audit.event set action = 'x.y' where id = %s", "it was changed"),
        ("update audit.erased_part set commitment = redacted where event_id = %s", "it was changed"),
        ("update audit.erased_part set redacted = commitment where event_id = %s", "it was changed"),
        ("delete from audit.erased_part where event_id = %s", "it was changed"),
    ],
)
def test_what_is_changed_under_cover_of_an_erasure_is_named(acme, statement, problem):
    su = acme.connect()
    seal(su)
    erase(su)
    seal(su)
    event = su.execute(
        "select event_id from audit.erased_part where salt is null group by event_id having count(*) > 1 and bool_or(part = 'actor') order by 1 limit 1"
    ).fetchone()[0]
    assert problems(su) == []
    with su.transaction():
        su.execute("set local session_replication_role = replica")
        su.execute(statement, [event])
    assert any(problem in found for _, _, found in problems(su))


def test_a_forged_erasure_is_named(acme):
    su = acme.connect()
    seal(su)
    with su.transaction():
        su.execute("insert into audit.erasure (pseudonym, reason) values ('nobody', 'none of yours')")
        su.execute("update audit.event set actor_label = 'Eve' where actor_id = 'bob@x.example'")
    assert {found for _, _, found in problems(su)} >= {
        "it was changed",
        "erasure nobody: it is not what its event says",
    }


@pytest.mark.parametrize("column", ["action", "resource_id", "occurred_at", "reason", "db_role"])
def test_inside_an_erasure_too_nothing_but_personal_fields_can_be_changed(acme, column):
    su = acme.connect(autocommit=False)
    su.execute("insert into audit.erasure (pseudonym, reason) values ('nobody', 'none of yours')")
    with pytest.raises(psycopg.Error) as raised:
        su.execute(f"update audit.event set {column} = {'now()' if column == 'occurred_at' else repr('x')}")
    assert raised.value.sqlstate == "PT008"


@pytest.mark.parametrize(
    ("actor", "reason", "code"),
    [
        ("nobody-at-all", "ticket", "PT002"),
        ("bob@x.example", " ", "PT009"),
        ("bob@x.example", "bob@x.example wants it", "PT009"),
        ("b", "ticket", "PT009"),
        (None, "ticket", "PT009"),
    ],
)
def test_nobody_is_erased_by_mistake(acme, actor, reason, code):
    su = acme.connect()
    before = su.execute("select md5(string_agg(event::text, '' order by id)) from audit.event").fetchone()
    with pytest.raises(psycopg.Error) as raised:
        su.execute("select audit.erase_actor(%s, %s)", [actor, reason])
    assert raised.value.sqlstate == code
    assert su.execute("select md5(string_agg(event::text, '' order by id)) from audit.event").fetchone() == before


@pytest.mark.parametrize("user", ["app", "reader", "auditor", "forwarder"])
def test_only_an_admin_erases(acme, user):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        erase(acme.connect(user))
    erase(acme.connect("admin"))


NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=2, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    name=NAMES,
    value=st.recursive(
        NAMES | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=8
    ),
)
def test_a_name_is_replaced_wherever_it_is_a_value_and_nowhere_else(su, name, value):
    content = {"a": name, "b": [value, name], "c": name + "!"}
    (got,) = su.execute(
        "select audit_internal.replace_person(%s::jsonb, array[%s], 'X', false)", [json.dumps(content), name]
    ).fetchone()

    def replaced(part):
        if isinstance(part, list):
            return [replaced(each) for each in part]
        if isinstance(part, dict):
            return {"X" if key == name else key: replaced(each) for key, each in part.items()}
        return "X" if part == name else part

    assert got == replaced(content)


@pytest.mark.parametrize(
    ("column", "personal"),
    [
        ("email", True), ("e_mail", True), ("userEmail", True), ("fullName", True), ("first_name", True), ("phone", True),
        ("avatar_url", True), ("last_ip", True), ("ip_address", True), ("birthday", True), ("birth_date", True),
        ("name", False), ("ip_allowlist", False), ("description", False), ("shipping", False), ("tip", False),
    ],
)  # fmt: skip
def test_columns_that_tell_of_a_person(su, column, personal):
    assert su.execute("select audit_internal.looks_personal(%s)", [column]).fetchone() == (personal,)


def test_a_table_says_itself_whether_it_tells_of_a_person(su):
    for name, columns, said, expected in (
        ("a", "email text", "null", True), ("b", "email text", "false", False), ("c", "nom text", "true", True), ("d", "nom text", "null", False),
    ):  # fmt: skip
        su.execute(f"create table public.{name} (id int primary key, {columns})")
        su.execute(f"select audit.track('public.{name}', personal => {said})")
        assert su.execute("select %s = any (audit_internal.personal_types())", [name]).fetchone() == (expected,)


@pytest.mark.parametrize("levels", [700, 3000])
@pytest.mark.parametrize(("opens", "closes"), [('{"a":', "}"), ("[", "]")])
def test_a_name_is_erased_from_json_however_deep_it_is(su, opens, closes, levels):
    su.execute("create table public.thing (id int primary key, d jsonb)")
    su.execute("select audit.track('public.thing')")
    with su.transaction():
        su.execute("select audit.set_actor('ann@acme.example')")
        su.execute(
            "insert into public.thing select n, (repeat(%s, %s) || to_json(who)::text || repeat(%s, %s))::jsonb "
            "from (values (1, 'ann@acme.example'), (2, 'bob@acme.example')) as given (n, who)",
            [opens, levels, closes, levels],
        )
    su.execute("select audit.erase_actor('ann@acme.example', 'request 17')")
    assert su.execute("select count(*) from audit.event where event::text ~ 'ann@acme'").fetchone() == (0,)
    assert su.execute("select count(*) from audit.event where action = 'thing.created'").fetchone() == (2,)
