"""The preset on LiteLLM's real schema: what its proxy does gives the right events, counters none, and no secret is in them."""

import hashlib
import re
from pathlib import Path

import pytest
from tests.presets.conftest import CALLS, apply_preset, bring_litellm_to, play

pytestmark = pytest.mark.any_server

ACME, ANN = "org-acme", "ann@acme.example"
TOKENS = [hashlib.sha256(key.encode()).hexdigest() for key in ("sk-the-first-key", "sk-the-second-key")]
SECRETS = [
    *TOKENS, "invitation-secret-71c2", "scrypt:hashed-password-of-ann", "langfuse-secret-of-red", "langsmith-key-of-deploy",
    "lakera-key-in-the-clear", "encrypted-azure-key", "encrypted-azure-base", "encrypted-model", "encrypted-model-key",
    "mcp-auth-value", "mcp-env-token", "mcp-header-token", "mcp-argument-token", "sk-master-key-of-all", "encrypted-smtp-password",
    "redis-password-of-router",
]  # fmt: skip

EVENTS = {
    "/budget/new": [("budget.created", "budgets", None, "gold", None)],
    "/organization/new": [("organization.created", "organization", ACME, "Acme", None)],
    "/budget/update": [("budget.updated", "budgets", None, "gold", ["max_budget"])],
    "/user/new": [("user.created", "members", ACME, ANN, None)],
    "/invitation/new": [("member.invited", "members", ACME, "u-ann", None)],
    "/onboarding/claim_token": [
        ("member.accepted", "members", ACME, "u-ann", ["is_accepted"]),
        ("password.changed", "password", ACME, ANN, ["password", "password_reset_required"]),
    ],
    "/user/update": [("user.role_changed", "members", ACME, ANN, ["user_role"])],
    "/team/new": [("team.created", "teams", ACME, "Red", None)],
    "/team/member_add": [
        ("user.updated", "members", ACME, ANN, ["teams"]),
        ("member.added", "members", ACME, "u-ann", None),
        ("team.members_changed", "members", ACME, "Red", ["members_with_roles"]),
    ],
    "/team/update": [("team.updated", "teams", ACME, "Red", ["tpm_limit"])],
    "/team/block": [("team.blocked", "teams", ACME, "Red", ["blocked"])],
    "/team/unblock": [("team.unblocked", "teams", ACME, "Red", ["blocked"])],
    "/organization/member_add": [("member.added", "members", ACME, "u-ann", None)],
    "/organization/member_update": [("member.role_changed", "members", ACME, "u-ann", ["user_role"])],
    "/key/generate": [("key.created", "api_keys", ACME, "deploy", None)],
    "/key/update": [("key.updated", "api_keys", ACME, "deploy", ["rpm_limit"])],
    "/key/block": [("key.blocked", "api_keys", ACME, "deploy", ["blocked"])],
    "/key/unblock": [("key.unblocked", "api_keys", ACME, "deploy", ["blocked"])],
    "/jwt/key/mapping/new": [("jwt_key_mapping.created", "api_keys", ACME, ANN, None)],
    "/key/regenerate": [
        ("deprecated_key.created", "api_keys", ACME, None, None),
        ("key.rotated", "api_keys", ACME, "deploy", ["token"]),
        # By its foreign key's ON UPDATE CASCADE.
        ("jwt_key_mapping.updated", "api_keys", ACME, ANN, ["token"]),
    ],
    "automatic rotation, afterwards": [],
    # The first request of an end user makes a row.
    "spend": [("end_user.created", "end_users", None, None, None)],
    "reset of budgets": [],
    "/guardrails": [("guardrail.created", "guardrails", None, "pii", None)],
    "PATCH /guardrails": [("guardrail.updated", "guardrails", None, "pii", ["litellm_params"])],
    "/credentials": [("credential.created", "credentials", None, "azure-eu", None)],
    "/model/new": [("model.created", "models", None, "gpt-6", None)],
    "/model/update": [("model.updated", "models", None, "gpt-6", ["litellm_params"])],
    "/model/block": [("model.blocked", "models", None, "gpt-6", ["blocked"])],
    "/v1/mcp/server": [
        # Of a trigger that LiteLLM has on the table; once, for the row is then there.
        ("settings.updated", "settings", None, "mcp_catalog", None),
        ("mcp_server.created", "mcp_servers", None, "github", None),
    ],
    "health check of an MCP server": [],
    "/config/update": [
        ("settings.updated", "settings", None, "general_settings", None),
        ("settings.environment_updated", "settings", None, "environment_variables", None),
        ("settings.router_updated", "settings", None, "router_settings", None),
    ],
    "/config/update, again": [("settings.router_updated", "settings", None, "router_settings", ["param_value"])],
    "reload of the configuration": [],
    "/access_group": [("access_group.created", "permissions", None, "beta", None)],
    "/team/member_delete": [
        ("team.members_changed", "members", ACME, "Red", ["members_with_roles"]),
        ("user.updated", "members", ACME, ANN, ["teams"]),
        ("member.removed", "members", ACME, "u-ann", None),
    ],
    "/key/delete": [
        ("key.deleted", "api_keys", ACME, "deploy", None),
        ("jwt_key_mapping.deleted", "api_keys", ACME, ANN, None),
    ],
    "/team/delete": [("team.deleted", "teams", ACME, "Red", None)],
    "/credentials, deleted": [("credential.deleted", "credentials", None, "azure-eu", None)],
    "/guardrails, deleted": [("guardrail.deleted", "guardrails", None, "pii", None)],
    "/user/delete": [
        ("invitation.deleted", "members", ACME, "u-ann", None),
        ("member.removed", "members", ACME, "u-ann", None),
        ("user.deleted", "members", ACME, ANN, None),
    ],
}
"""Action, category, organization, label of the resource and changed fields of what each call gives."""

POINTS = ("20250326", "20251119", "20260601", "9")
"""Dates of migrations: the first, two between, the newest."""


def test_what_the_proxy_does_gives_the_right_events(played):
    given = {recorded["call"]: [] for recorded in CALLS}
    for call, *event in played.connect().execute(
        "select call, action, category, org_id, resource_label, changed "
        "from public.played join audit.event using (id) order by id"
    ):
        given[call].append(tuple(event))
    assert given == EVENTS


def test_the_document_lists_these_events():
    document = (Path(__file__).parents[2] / "docs" / "dba" / "presets.md").read_text()
    listed = dict(re.findall(r"^\| ([^|]+) \| (none|`[^|]+) \|$", document, re.MULTILINE))
    told = {
        call.replace("`", ""): re.findall(r"`([a-z_.]+)`(?: \(([^)]*)\))?", events) for call, events in listed.items()
    }
    assert told == {
        call: [(action, ", ".join(changed or ())) for action, _, _, _, changed in events]
        for call, events in EVENTS.items()
    }


def test_a_storm_of_spend_gives_no_event(litellm):
    connection = litellm.connect()
    calls = list(EVENTS)
    for call in calls[: calls.index("spend") + 1]:
        play(connection, call)
    before = connection.execute("select count(*) from audit.event").fetchone()
    for _ in range(20):
        play(connection, "spend")
    assert connection.execute("select count(*) from audit.event").fetchone() == before
    # It did move all of them.
    for table in (
        "VerificationToken",
        "TeamTable",
        "TeamMembership",
        "UserTable",
        "OrganizationTable",
        "OrganizationMembership",
        "EndUserTable",
    ):
        assert connection.execute(f'select spend from "LiteLLM_{table}"').fetchall() == [(5.25,)]


def test_no_secret_is_anywhere_in_the_log(played):
    written = str(CALLS)
    assert [secret for secret in SECRETS if secret not in written] == []
    found = played.connect().execute(
        "select distinct secret from audit.event, unnest(%s::text[]) as secret where strpos(event::text, secret) > 0",
        [SECRETS],
    )
    assert found.fetchall() == []


def test_a_key_goes_by_a_digest_of_its_token(played):
    found = played.connect().execute(
        "select action, resource_id from audit.event where resource_type = 'key' and action in ('key.created', 'key.rotated') order by id"
    )
    assert found.fetchall() == [
        (action, hashlib.sha256(token.encode()).hexdigest())
        for action, token in zip(("key.created", "key.rotated"), TOKENS, strict=True)
    ]


def test_what_is_no_secret_is_told(played):
    guardrail, prices = (
        played.connect()
        .execute(
            """
        select
            (select after -> 'litellm_params' from audit.event where action = 'guardrail.updated'),
            (select after -> 'model_info' from audit.event where action = 'model.created')
        """
        )
        .fetchone()
    )
    assert guardrail == {"guardrail": "lakera_v2", "mode": "pre_call", "default_on": True, "api_key": "[redacted]"}
    assert prices == {"id": "m-1", "input_cost_per_token": 0.1}


SETTINGS = """
    select name, resource, category, label, org, ignore, secret,
        array(
            select row(operation, action, category, condition)::text
            from audit.rule
            where rule.relation = tracked_table.relation
            order by 1
        )
    from audit.tracked_table
    where name like 'public.%' order by name
"""


@pytest.mark.timeout(400)
def test_it_goes_with_the_schema_from_version_to_version(db, litellm):
    connection = db.connect()
    connection.add_notice_handler(lambda _: None)
    since, tracked = "", []
    for date in POINTS:
        bring_litellm_to(db, date, since)
        since = date
        apply_preset(db)
        tracked.append(len(connection.execute(SETTINGS).fetchall()))
    # More with each; at the end as if the newest had been there from the start.
    assert tracked == sorted(set(tracked))
    assert connection.execute(SETTINGS).fetchall() == litellm.connect().execute(SETTINGS).fetchall()
