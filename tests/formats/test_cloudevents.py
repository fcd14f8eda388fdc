"""CloudEvents 1.0.2: the JSON format, and the extensions sequence and authcontext."""

import re
import unicodedata

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

pytestmark = pytest.mark.any_server

# RFC 3986, 4.1: a relative reference that begins with a slash, of unreserved characters and escapes alone.
URI_REFERENCE = re.compile(r"(/([A-Za-z0-9._~-]|%[0-9A-F]{2})+)+")
# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#naming-conventions
ATTRIBUTE_NAME = re.compile(r"[a-z0-9]{1,20}")
# https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/authcontext.md
AUTH_TYPES = {"app_user", "user", "service_account", "api_key", "system", "unauthenticated", "unknown"}


def parse(text):
    message = HTTPMessage({"content-type": "application/cloudevents+json; charset=utf-8"}, text.encode())
    return from_structured(message, JSONFormat(), CloudEvent)


@pytest.fixture
def check(one_line):
    def check(event, text):
        shown = one_line(text)
        parsed = parse(text)
        assert parsed.get_id() == f"evt_{event['id']}"
        assert parsed.get_type() == f"dev.pgtrail.{event['action']}"
        assert parsed.get_time().utcoffset().total_seconds() == 0
        assert parsed.get_datacontenttype() == "application/json"
        assert parsed.get_data() == shown["data"]
        assert shown["data"].keys() >= {"before", "after", "changed"}
        assert shown["data"]["before"] == event["row_before"]
        assert shown["data"]["after"] == event["after"]
        assert URI_REFERENCE.fullmatch(parsed.get_source())
        assert parsed.get_source().startswith("/orgs/") == bool(event["org_id"])
        assert parsed.get_subject().startswith(event["resource_type"])
        assert re.fullmatch(r"\d{20}", parsed.get_extension("sequence"))
        assert parsed.get_extension("authtype") in AUTH_TYPES
        for name, value in shown.items():
            if name != "data":
                assert ATTRIBUTE_NAME.fullmatch(name)
                assert isinstance(value, str)
                assert value
                # No String of the specification has a control character.
                assert not any(unicodedata.category(letter) == "Cc" for letter in value)
        assert "@" not in shown.get("authid", "")

    return check


@pytest.mark.parametrize("name", ["cloudevents", "cloudevents_batch"])
def test_every_action_is_a_cloudevent(rendered, check, name):
    for event in rendered(name):
        check(event.event, event.text)


@pytest.mark.parametrize("name", ["cloudevents", "cloudevents_batch"])
def test_any_event_is_a_cloudevent(holds_of_any_event, check, name):
    holds_of_any_event(name, check)


def test_pieces_framed_as_the_format_says_are_a_batch(nemo, rendered, one_line):
    prefix, separator, suffix, content_type = (
        nemo.connect()
        .execute("select prefix, separator, suffix, content_type from audit.format where name = 'cloudevents_batch'")
        .fetchone()
    )
    events = rendered("cloudevents_batch")
    body = prefix + separator.join(event.text for event in events) + suffix
    assert content_type.startswith("application/cloudevents-batch+json")
    batch = one_line(body)
    assert [one["id"] for one in batch] == [f"evt_{event.event['id']}" for event in events]
    assert batch == [one_line(event.text) for event in events]


@pytest.mark.parametrize(
    ("org", "source"),
    [
        (None, "/audit"),
        ("", "/audit"),
        ("org_1", "/orgs/org_1/audit"),
        ('a b/ü"%🦊\n', "/orgs/a%20b%2F%C3%BC%22%25%F0%9F%A6%8A%0A/audit"),
    ],
)
def test_the_source_is_a_uri_whatever_the_organization_is_called(render_made, org, source):
    assert parse(render_made("cloudevents", org_id=org).text).get_source() == source


def test_who_did_it_is_told_by_id_never_by_address(render_made, one_line):
    def authid(actor):
        return one_line(render_made("cloudevents", actor_id=actor).text).get("authid")

    assert [authid(actor) for actor in ("usr_1", "auth0|1", None, "", "ann@acme.example")] == [
        *("usr_1", "auth0|1", None, None, None)
    ]
