"""Elasticsearch's _bulk, and the Elastic Common Schema as Elastic publishes it (ecs_fields.json)."""

import ipaddress
import json
from datetime import datetime
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_server

ECS = json.loads((Path(__file__).parent / "ecs_fields.json").read_text())
PEOPLE = {"member", "profile"}

TYPES = {
    "keyword": lambda value: isinstance(value, str),
    "match_only_text": lambda value: isinstance(value, str),
    "date": lambda value: datetime.fromisoformat(value).utcoffset() is not None,
    "long": lambda value: isinstance(value, int) and -(2**63) <= value < 2**63,
    "ip": lambda value: bool(ipaddress.ip_address(value)),
}


def flatten(document, above=""):
    for name, value in document.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def check_fields(document):
    for name, value in flatten(document):
        field = ECS["fields"][name]
        assert isinstance(value, list) == field.get("array", False), name
        for one in value if isinstance(value, list) else [value]:
            assert TYPES[field["type"]](one), (name, one)
            assert one in ECS["allowed_values"].get(name, [one]), (name, one)


@pytest.fixture
def check(one_line):
    def check(event, text):
        action, document = map(one_line, text.split("\n"))
        assert action == {"create": {"_id": f"evt_{event['id']}"}}
        own = document.pop("pgtrail")
        check_fields(document)
        assert document["ecs"]["version"] == ECS["version"]
        assert datetime.fromisoformat(document["@timestamp"]) == datetime.fromisoformat(event["occurred_at"])
        shown = document["event"]
        assert (shown["id"], shown["action"]) == (f"evt_{event['id']}", event["action"])
        assert (shown["kind"], shown["sequence"]) == ("event", event["id"])
        (category,) = shown["category"]
        assert shown["type"]
        assert set(shown["type"]) <= set(ECS["expected_event_types"][category])
        assert ("target" in document.get("user", {})) <= (event["resource_type"] in PEOPLE)
        assert "" not in {*document.get("related", {}).get("user", [])}
        assert own["before"] == event["row_before"]
        assert own["after"] == event["after"]
        assert own["changed"] == event["changed"]

    return check


def test_every_action_is_a_document_of_the_common_schema(rendered, check):
    for event in rendered("elastic"):
        check(event.event, event.text)


def test_any_event_is_a_document_of_the_common_schema(holds_of_any_event, check):
    holds_of_any_event("elastic", check)


CATEGORIES = {
    "key.created": ("iam", {"creation"}),
    "key.updated": ("iam", {"change"}),
    "key.rotated": ("iam", {"change"}),
    "key.deleted": ("iam", {"deletion"}),
    "member.invited": ("iam", {"user", "creation"}),
    "member.accepted": ("iam", {"user", "change"}),
    "member.role_changed": ("iam", {"user", "change"}),
    "member.removed": ("iam", {"user", "deletion"}),
    "password.changed": ("iam", {"user", "change"}),
    "budget.updated": ("configuration", {"change"}),
    "budget.deleted": ("configuration", {"deletion"}),
    "guardrail.updated": ("configuration", {"change"}),
    "plan.changed": ("configuration", {"change"}),
    "data_policy.updated": ("configuration", None),
    "settings.router_updated": ("configuration", None),
    "audit.destination_added": ("configuration", {"creation"}),
    "audit.ping": ("configuration", {"info"}),
}


def test_an_action_has_the_category_that_an_analyst_looks_for(rendered, one_line):
    seen = {}
    for event in rendered("elastic"):
        shown = one_line(event.text.split("\n")[1])["event"]
        seen.setdefault(event.event["action"], set()).add((*shown["category"], frozenset(shown["type"])))
    for action, (category, types) in CATEGORIES.items():
        for seen_category, seen_types in seen[action]:
            assert seen_category == category, action
            assert types is None or seen_types == types, action


def test_people_are_targets_by_id_and_address(rendered, one_line):
    for event in rendered("elastic"):
        user = one_line(event.text.split("\n")[1])["user"]
        if event.event["resource_type"] in PEOPLE:
            assert user["target"]["id"] == event.event["resource_id"]
            assert user["target"]["email"] == event.event["resource_label"]
