"""OCSF 1.8.0: the classes as the PyPI package ocsf-json-schema gives them, and what it does not check."""

from functools import cache

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

pytestmark = pytest.mark.any_server

VERSION = "1.8.0"
ENTITY, ACCOUNT, ACCESS, GROUP = 3004, 3001, 3005, 3006


@cache
def _schema():
    return get_ocsf_schema(version=VERSION)


@cache
def _class(class_uid):
    schema = OcsfJsonSchemaEmbedded(_schema())
    name = schema.lookup_class_name_from_uid(class_uid)
    return Draft202012Validator(schema.get_class_schema(name)), _schema()["classes"][name]["attributes"]


def _captions(value):
    return {number: one["caption"] for number, one in value["enum"].items()}


@pytest.fixture
def check(one_line):
    def check(event, text):
        shown = one_line(text)
        validator, attributes = _class(shown["class_uid"])
        errors = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(shown)]
        assert not errors, errors
        assert shown["type_uid"] == shown["class_uid"] * 100 + shown["activity_id"]
        assert (shown["category_uid"], shown["metadata"]["version"]) == (3, VERSION)
        # Of an enumeration, the text says what the number says; only 99 (Other) leaves it to the source.
        caption = _captions(attributes["activity_id"])[str(shown["activity_id"])]
        if shown["activity_id"] == 99:
            assert shown["activity_name"] == event["action"]
        else:
            assert shown.get("activity_name", caption) == caption
        metadata = shown["metadata"]
        assert metadata["uid"] == f"evt_{event['id']}"
        assert (metadata["sequence"], metadata["event_code"]) == (event["id"], event["action"])
        assert metadata.get("tenant_uid") == event["org_id"]
        assert shown["unmapped"]["category"] == event["category"]
        assert shown["unmapped"]["changed"] == event["changed"]
        images = shown["unmapped"]
        if shown["class_uid"] == ENTITY:
            assert shown["entity"]["type_id"] == 99
            images = {name: shown.get(place, {}).get("data") for name, place in IMAGES}
        for name, _ in IMAGES:
            assert images.get(name) == event["row_before" if name == "before" else name]

    return check


IMAGES = (("before", "entity"), ("after", "entity_result"))


def test_every_action_validates(rendered, check):
    for event in rendered("ocsf"):
        check(event.event, event.text)


def test_any_event_validates(holds_of_any_event, check):
    holds_of_any_event("ocsf", check)


TYPE_UIDS = {
    "key.created": {300401},
    "key.updated": {300403, 300409},
    "key.rotated": {300403},
    "key.deleted": {300404},
    "guardrail.updated": {300403, 300409},
    "thing.switched": {300408, 300409},
    "thing.updated": {300408, 300409},
    "thing.deleted": {300404},
    "plan.changed": {300403},
    "organization.deleted": {300404},
    "audit.destination_added": {300401},
    "audit.destination_removed": {300404},
    "password.changed": {300103},
    "member.accepted": {300603},
    "member.removed": {300604},
    "member.role_changed": {300501},
    "audit.ping": {300499},
}


def test_an_action_has_the_class_and_activity_of_its_kind(rendered, one_line):
    seen = {}
    for event in rendered("ocsf"):
        seen.setdefault(event.event["action"], set()).add(one_line(event.text)["type_uid"])
    assert {action: seen[action] for action in TYPE_UIDS} == TYPE_UIDS


def test_a_change_of_role_says_which_privileges_were_given(rendered, one_line):
    changes = [event for event in rendered("ocsf") if event.event["action"] == "member.role_changed"]
    assert changes
    for event in changes:
        assert one_line(event.text)["privileges"] == [event.event["after"]["role"]]


@pytest.mark.parametrize(
    "label", ["a@acme", "a b@acme.example", "@", "a@b@c.example", "ä@acme.example", "a@acme.example\nbcc"]
)
@pytest.mark.parametrize("category", ["password", "members"])
def test_what_is_no_address_is_none(render_made, check, one_line, label, category):
    images = {"operation": "UPDATE", "before": {}, "after": {}, "changed": ["role"]}
    event = render_made(
        "ocsf",
        actor_label=label,
        resource_label=label,
        resource_type="member",
        category=category,
        action="member.role_changed",
        **images,
    )
    check(event.event, event.text)
    assert "email_addr" not in one_line(event.text)["actor"]["user"]
