"""Splunk's HTTP Event Collector: help.splunk.com, "Format events for HTTP Event Collector"."""

import re
from datetime import datetime
from decimal import Decimal

import pytest

pytestmark = pytest.mark.any_server

# The keys of an event and its metadata that Splunk documents.
METADATA = {"time", "host", "source", "sourcetype", "index", "fields", "event"}


@pytest.fixture
def check(one_line):
    def check(event, text):
        shown = one_line(text)
        assert {"time", "source", "sourcetype", "event", "fields"} <= shown.keys() <= METADATA
        # Seconds and milliseconds, as a plain number: no exponent.
        assert re.search(r'"time" ?: ?-?\d+\.\d{3,}[,}]', text)
        exact = Decimal(str(datetime.fromisoformat(event["occurred_at"]).timestamp()))
        assert abs(Decimal(str(shown["time"])) - exact) <= Decimal("0.001")
        assert shown["sourcetype"] == "pgtrail:audit"
        # "Event field is required" (12) and "Event field cannot be blank" (13) would be poison.
        assert shown["event"]["id"] == f"evt_{event['id']}"
        # "Error in handling indexed fields" (15).
        assert all(isinstance(value, str) for value in shown["fields"].values())
        assert shown["fields"]["event_id"] == f"evt_{event['id']}"
        assert shown["fields"]["action"] == event["action"]
        for name in ("org_id", "resource_id"):
            assert shown["fields"].get(name) == event[name]

    return check


def test_every_action_is_an_event_of_splunk(rendered, check):
    for event in rendered("splunk_hec"):
        check(event.event, event.text)


def test_any_event_is_an_event_of_splunk(holds_of_any_event, check):
    holds_of_any_event("splunk_hec", check)
