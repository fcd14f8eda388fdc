"""Every action of the catalogue, from ordinary SQL of an application that has no grant on `audit`."""

import pytest

from pgtrail_cli.demo import scenario

ORG = "00000000-0000-0000-0000-0000000000aa"
IDS = {
    name: f"00000000-0000-0000-0000-0000000000{number:02d}"
    for number, name in enumerate(("profile", "team", "member", "key", "budget", "guardrail"), start=1)
}

SETUP = f"""
    insert into nemo.organization (id, name, slug) values ('{ORG}', 'Acme', 'acme');
    insert into nemo.profile (id, org_id, email, password_hash) values ('{IDS["profile"]}', '{ORG}', 'a@acme', 'S3CRET');
    insert into nemo.team (id, org_id, name) values ('{IDS["team"]}', '{ORG}', 'Search');
    insert into nemo.member (id, org_id, email, invite_token_hash) values ('{IDS["member"]}', '{ORG}', 'b@acme', 'S3CRET');
    insert into nemo.api_key (id, org_id, name, key_prefix, key_hash)
        values ('{IDS["key"]}', '{ORG}', 'ci', 'sk-1', 'S3CRET');
    insert into nemo.budget (id, org_id, name, max_spend) values ('{IDS["budget"]}', '{ORG}', 'cap', 100);
    insert into nemo.guardrail (id, org_id, name, kind, config)
        values ('{IDS["guardrail"]}', '{ORG}', 'pii', 'pii', '{{"api_key": "S3CRET", "level": 1}}');
    insert into nemo.setting (org_id, name, value) values ('{ORG}', 'router', '1'), ('{ORG}', 'data_policy', '1'),
        ('{ORG}', 'theme', '1');
"""

# action, category, resource type, its id, its label, the statement, changed (None: a row that came or went)
CASES = [
    (
        "key.created",
        "api_keys",
        "key",
        None,
        "new",
        f"insert into nemo.api_key (org_id, name, key_prefix, key_hash) values ('{ORG}', 'new', 'sk-2', 'S3CRET')",
        None,
    ),
    (
        "key.updated",
        "api_keys",
        "key",
        IDS["key"],
        "ci",
        "update nemo.api_key set rpm_limit = 60, spend = 1",
        ["rpm_limit"],
    ),
    ("key.rotated", "api_keys", "key", IDS["key"], "ci", "update nemo.api_key set key_hash = 'S3CRET2'", ["key_hash"]),
    ("key.deleted", "api_keys", "key", IDS["key"], "ci", "delete from nemo.api_key", None),
    (
        "member.invited",
        "members",
        "member",
        None,
        "c@acme",
        f"insert into nemo.member (org_id, email, invite_token_hash) values ('{ORG}', 'c@acme', 'S3CRET')",
        None,
    ),
    (
        "member.accepted",
        "members",
        "member",
        IDS["member"],
        "b@acme",
        "update nemo.member set status = 'active', invite_token_hash = null",
        ["status", "invite_token_hash"],
    ),
    (
        "member.role_changed",
        "members",
        "member",
        IDS["member"],
        "b@acme",
        "update nemo.member set role = 'admin'",
        ["role"],
    ),
    (
        "member.updated",
        "members",
        "member",
        IDS["member"],
        "b2@acme",
        "update nemo.member set email = 'b2@acme'",
        ["email"],
    ),
    ("member.removed", "members", "member", IDS["member"], "b@acme", "delete from nemo.member", None),
    (
        "team.created",
        "teams",
        "team",
        None,
        "Ops",
        f"insert into nemo.team (org_id, name) values ('{ORG}', 'Ops')",
        None,
    ),
    ("team.updated", "teams", "team", IDS["team"], "Search", "update nemo.team set models = '{gpt-6}'", ["models"]),
    ("team.deleted", "teams", "team", IDS["team"], "Search", "delete from nemo.team", None),
    (
        "organization.created",
        "organization",
        "organization",
        None,
        "New",
        "insert into nemo.organization (name, slug) values ('New', 'new')",
        None,
    ),
    (
        "organization.updated",
        "organization",
        "organization",
        ORG,
        "Acme 2",
        "update nemo.organization set name = 'Acme 2'",
        ["name"],
    ),
    ("organization.deleted", "organization", "organization", ORG, "Acme", "delete from nemo.organization", None),
    (
        "budget.created",
        "budgets",
        "budget",
        None,
        "b",
        f"insert into nemo.budget (org_id, name, max_spend) values ('{ORG}', 'b', 1)",
        None,
    ),
    (
        "budget.updated",
        "budgets",
        "budget",
        IDS["budget"],
        "cap",
        "update nemo.budget set max_spend = 200, spend = 9",
        ["max_spend"],
    ),
    ("budget.deleted", "budgets", "budget", IDS["budget"], "cap", "delete from nemo.budget", None),
    (
        "guardrail.created",
        "guardrails",
        "guardrail",
        None,
        "kw",
        f"insert into nemo.guardrail (org_id, name, kind) values ('{ORG}', 'kw', 'keywords')",
        None,
    ),
    (
        "guardrail.updated",
        "guardrails",
        "guardrail",
        IDS["guardrail"],
        "pii",
        'update nemo.guardrail set config = \'{"api_key": "S3CRET3", "level": 1}\'',
        ["config"],
    ),
    ("guardrail.deleted", "guardrails", "guardrail", IDS["guardrail"], "pii", "delete from nemo.guardrail", None),
    (
        "plan.changed",
        "plan",
        "organization",
        ORG,
        "Acme",
        "update nemo.organization set plan_tier = 'tier_2'",
        ["plan_tier"],
    ),
    (
        "settings.router_updated",
        "settings",
        "settings",
        f"{ORG},router",
        "router",
        "update nemo.setting set value = '2' where name = 'router'",
        ["value"],
    ),
    (
        "settings.updated",
        "settings",
        "settings",
        f"{ORG},theme",
        "theme",
        "update nemo.setting set value = '2' where name = 'theme'",
        ["value"],
    ),
    (
        "data_policy.updated",
        "data_policy",
        "settings",
        f"{ORG},data_policy",
        "data_policy",
        "update nemo.setting set value = '2' where name = 'data_policy'",
        ["value"],
    ),
    (
        "profile.created",
        "profile",
        "profile",
        None,
        "x@acme",
        f"insert into nemo.profile (org_id, email) values ('{ORG}', 'x@acme')",
        None,
    ),
    (
        "profile.updated",
        "profile",
        "profile",
        IDS["profile"],
        "a@acme",
        "update nemo.profile set full_name = 'Ann'",
        ["full_name"],
    ),
    ("profile.deleted", "profile", "profile", IDS["profile"], "a@acme", "delete from nemo.profile", None),
    (
        "password.changed",
        "password",
        "profile",
        IDS["profile"],
        "a@acme",
        "update nemo.profile set password_hash = 'S3CRET4'",
        ["password_hash"],
    ),
]

LAST = """
    select event.*, audit.row_before(event) as row_before, audit_internal.details(before, after, changed) as details
    from audit.event
    where xid = (select max(xid) from audit.event)
    order by id
"""


@pytest.fixture
def app(nemo):
    connection = nemo.connect("app")
    connection.execute(SETUP)
    return connection


@pytest.fixture
def last_events(nemo):
    """The events of the last transaction that recorded any."""
    auditor = nemo.connect("auditor")

    def read():
        cursor = auditor.execute(LAST)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    return read


def test_no_action_of_the_catalogue_is_left_out():
    assert sorted(case[0] for case in CASES) == sorted(scenario.ACTIONS)


@pytest.mark.parametrize(
    ("action", "category", "resource_type", "resource_id", "label", "statement", "changed"),
    CASES,
    ids=[c[0] for c in CASES],
)
def test_an_ordinary_write_is_recorded_as(
    app, last_events, action, category, resource_type, resource_id, label, statement, changed
):
    with app.transaction():
        app.execute("select audit.set_actor('u1', 'ann@acme', ip => '203.0.113.7', reason => 'because')")
        app.execute(statement)
    named = [event for event in last_events() if event["action"] == action]
    assert len(named) == 1
    (event,) = named
    assert event["category"] == category
    assert (event["actor_type"], event["actor_id"], event["actor_label"]) == ("user", "u1", "ann@acme")
    assert (str(event["actor_ip"]), event["reason"], event["db_role"]) == ("203.0.113.7", "because", "app")
    assert (event["resource_type"], event["resource_label"]) == (resource_type, label)
    row = event["after"] or event["before"]
    assert event["resource_id"] == (resource_id or row["id"])
    assert event["org_id"] == (row["id"] if resource_type == "organization" else ORG)
    assert (sorted(event["changed"]) if event["changed"] else None) == (sorted(changed) if changed else None)
    before, after = event["row_before"], event["after"]
    if changed:
        assert event["before"] == {name: before[name] for name in changed if before[name] is not None}
        assert {key for key in before if before[key] != after[key]} <= set(changed)
        assert before.keys() == after.keys()
    else:
        assert (before is None) == (event["operation"] == "INSERT")
        assert (after is None) == (event["operation"] == "DELETE")
    assert "spend" not in row
    assert set(event["details"]) >= set(changed or {})


@pytest.mark.parametrize("statement", [case[5] for case in CASES if case[6]], ids=[c[0] for c in CASES if c[6]])
def test_a_change_of_one_resource_is_one_event(app, last_events, statement):
    before = len(last_events())
    app.execute(statement)
    assert before
    assert len(last_events()) == 1


def test_a_statement_that_changes_plan_and_name_gives_an_event_of_each(app, last_events):
    app.execute("update nemo.organization set plan_tier = 'tier_3', name = 'Acme 3'")
    assert [(event["action"], event["category"]) for event in last_events()] == [
        ("plan.changed", "plan"),
        ("organization.updated", "organization"),
    ]


def test_within_a_category_the_first_rule_names_the_event(app, last_events):
    app.execute("update nemo.member set status = 'active', role = 'owner'")
    assert [event["action"] for event in last_events()] == ["member.accepted"]


def test_deleting_an_organization_keeps_its_trail_one_event_for_each_row(app, last_events):
    app.execute("delete from nemo.organization")
    actions = sorted(event["action"] for event in last_events())
    assert actions == sorted([
        "organization.deleted", "profile.deleted", "team.deleted", "member.removed", "key.deleted", "budget.deleted",
        "guardrail.deleted", "settings.router_updated", "data_policy.updated", "settings.updated",
    ])  # fmt: skip
    assert {event["org_id"] for event in last_events()} == {ORG}


def test_no_secret_is_anywhere(nemo, app):
    for case in CASES:
        with app.transaction(force_rollback=case[0].endswith("deleted")):
            app.execute(case[5])
    su = nemo.connect()
    for query in (
        "select event::text from audit.event",
        "select export::text from audit.export",
        "select audit_internal.render_webhook(event) from audit.event",
        "select diff::text from audit.diff",
    ):
        texts = [row[0] for row in su.execute(query)]
        assert len(texts) > 20
        assert not any("S3CRET" in text for text in texts)


def test_an_update_of_ignored_columns_alone_is_no_event(nemo, app):
    counted = "select count(*) from audit.event"
    auditor = nemo.connect("auditor")
    before = auditor.execute(counted).fetchone()
    app.execute("update nemo.api_key set spend = spend + 1, last_used_at = now(), updated_at = now()")
    app.execute("update nemo.budget set spend = 3, resets_at = now()")
    app.execute("update nemo.team set name = name")
    app.execute("update nemo.team set name = 'x' where false")
    assert auditor.execute(counted).fetchone() == before
    app.execute("update nemo.team set name = 'x'")
    assert auditor.execute(counted).fetchone() != before


def test_what_is_rolled_back_is_not_recorded(nemo, app):
    auditor = nemo.connect("auditor")
    last = auditor.execute("select max(id) from audit.event").fetchone()[0]
    with app.transaction(force_rollback=True):
        app.execute("update nemo.team set name = 'never'")
    with app.transaction():
        app.execute("update nemo.team set name = 'kept'")
        with app.transaction(force_rollback=True):
            app.execute("update nemo.team set name = 'never'")
        app.execute("update nemo.team set description = 'kept too'")
    rows = auditor.execute("select after ->> 'name', changed from audit.event where id > %s order by id", [last])
    assert rows.fetchall() == [("kept", ["name"]), ("kept", ["description"])]
