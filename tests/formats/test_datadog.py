"""Datadog's v2 log intake: docs.datadoghq.com, "Send logs" and "Attributes and aliasing"."""

from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.any_server

STRINGS = {"ddsource", "ddtags", "service", "message", "hostname", "status"}
OLDEST = timedelta(hours=18)


def milliseconds(moment):
    return moment.timestamp() * 1000


@pytest.fixture
def check(one_line):
    def check(event, text):
        shown = one_line(text)
        assert (shown["ddsource"], shown["service"]) == ("pgtrail", "audit")
        assert all(isinstance(shown[name], str) for name in STRINGS & shown.keys())
        assert shown["message"].strip()
        tags = shown["ddtags"].split(",")
        assert tags[0] == f"category:{event['category']}"
        assert len(tags) == 1 + (event["org_id"] is not None)
        assert shown["evt"] == {"id": f"evt_{event['id']}", "name": event["action"]}
        assert shown.get("usr", {}).get("id") == event["actor_id"]
        assert shown.get("network", {}).get("client", {}).get("ip") in (None, event["actor_ip"], event["client_addr"])
        assert shown.get("http", {}).get("useragent") == event["user_agent"]
        assert shown["audit"].keys() >= {"resource", "before", "after", "changed", "org_id", "occurred_at"}
        assert shown["audit"]["before"] == event["row_before"]
        occurred_at = datetime.fromisoformat(event["occurred_at"])
        assert isinstance(shown["timestamp"], int)
        assert shown["timestamp"] > milliseconds(datetime.now(UTC) - OLDEST)
        clamped = shown["audit"].get("timestamp_clamped", False)
        assert clamped or abs(shown["timestamp"] - milliseconds(occurred_at)) < 1
        assert datetime.fromisoformat(shown["audit"]["occurred_at"]) == occurred_at

    return check


def test_every_action_is_a_log_of_datadog(rendered, check):
    for event in rendered("datadog"):
        check(event.event, event.text)


def test_any_event_is_a_log_of_datadog(holds_of_any_event, check):
    holds_of_any_event("datadog", check)


@pytest.mark.parametrize(("hours", "clamped"), [(0, False), (17, False), (19, True), (24 * 400, True)])
def test_what_is_older_than_datadog_takes_is_clamped_and_says_so(render_made, one_line, hours, clamped):
    before = datetime.now(UTC)
    occurred_at = before - timedelta(hours=hours)
    shown = one_line(render_made("datadog", occurred_at=occurred_at.isoformat()).text)
    assert shown["audit"].get("timestamp_clamped", False) == clamped
    assert datetime.fromisoformat(shown["audit"]["occurred_at"]) == occurred_at
    if clamped:
        slack = shown["timestamp"] - milliseconds(before - OLDEST)
        assert 55_000 < slack < 120_000
    else:
        assert abs(shown["timestamp"] - milliseconds(occurred_at)) <= 1
