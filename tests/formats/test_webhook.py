"""Standard Webhooks 1.0.0, and the event on a line of its own."""

import base64
import re
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from pgtrail_worker.signature import sign

pytestmark = pytest.mark.any_server

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
KEYS = {
    *(
        "id",
        "occurred_at",
        "org_id",
        "org_label",
        "category",
        "action",
        "operation",
        "actor",
        "request_id",
        "reason",
        "resource",
    ),
    *("connection", "before", "after", "changed"),
}
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def check_event(event, shown):
    assert shown.keys() == KEYS
    assert shown["id"] == f"evt_{event['id']}"
    assert UTC_TIME.fullmatch(shown["occurred_at"])
    assert shown["actor"].keys() == {"type", "id", "label", "ip", "user_agent"}
    assert shown["resource"].keys() == {"type", "id", "label", "table"}
    assert shown["connection"].keys() == {"role", "address", "application_name"}
    for name in ("org_id", "category", "action", "operation", "request_id", "reason", "after", "changed"):
        assert shown[name] == event[name]
    assert shown["before"] == event["row_before"]
    for name in ("id", "label", "user_agent"):
        assert shown["actor"][name] == event["user_agent" if name == "user_agent" else f"actor_{name}"]
    for name in ("type", "id", "label"):
        assert shown["resource"][name] == event[f"resource_{name}"]


@pytest.fixture
def check_webhook(one_line):
    def check(event, text):
        body = text.encode()
        headers = sign(f"evt_{event['id']}", int(datetime.now(UTC).timestamp()), body, [SECRET])
        payload = Webhook(SECRET).verify(body, headers)
        SvixWebhook(SECRET).verify(body, headers)
        assert payload == one_line(text)
        assert payload.keys() == {"type", "timestamp", "data"}
        assert payload["type"] == event["action"]
        assert payload["timestamp"] == payload["data"]["occurred_at"]
        assert datetime.fromisoformat(payload["timestamp"]) == datetime.fromisoformat(event["occurred_at"])
        check_event(event, payload["data"])

    return check


@pytest.fixture
def check_ndjson(one_line):
    return lambda event, text: check_event(event, one_line(text))


def test_every_action_is_a_standard_webhook(rendered, check_webhook):
    for event in rendered("webhook"):
        check_webhook(event.event, event.text)


def test_any_event_is_a_standard_webhook(holds_of_any_event, check_webhook):
    holds_of_any_event("webhook", check_webhook)


def test_every_action_is_an_event_on_a_line(rendered, check_ndjson):
    for event in rendered("ndjson"):
        check_ndjson(event.event, event.text)


def test_any_event_is_an_event_on_a_line(holds_of_any_event, check_ndjson):
    holds_of_any_event("ndjson", check_ndjson)
