"""Azure Monitor's Logs Ingestion API: learn.microsoft.com, "Logs Ingestion API in Azure Monitor"."""

import hashlib
import json
import re
from datetime import datetime

import pytest

pytestmark = pytest.mark.any_server

RESERVED = {"_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"}
COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,44}")
MOST_FIELD_BYTES = 65536


@pytest.fixture
def check(one_line):
    def check(event, text):
        shown = one_line(text)
        assert not {name.lower() for name in shown} & {name.lower() for name in RESERVED}
        for name, value in shown.items():
            assert COLUMN.fullmatch(name)
            assert value is None or isinstance(value, str) or name in {"Before", "After", "Changed"}
            assert len(json.dumps(value, ensure_ascii=False).encode()) <= MOST_FIELD_BYTES
        assert shown["TimeGenerated"].endswith("Z")
        assert datetime.fromisoformat(shown["TimeGenerated"]) == datetime.fromisoformat(event["occurred_at"])
        assert shown["EventId"] == f"evt_{event['id']}"
        assert shown["Before"] == event["row_before"]
        assert shown["After"] == event["after"]

    return check


def test_every_action_is_a_record_of_sentinel(rendered, check):
    columns = set()
    for event in rendered("sentinel"):
        check(event.event, event.text)
        columns.add(tuple(sorted(json.loads(event.text))))
    # A stream is declared once: every record has the same columns.
    assert len(columns) == 1


def test_any_event_is_a_record_of_sentinel(holds_of_any_event, check):
    holds_of_any_event("sentinel", check)


@pytest.mark.parametrize("letter", ["x", "ü", "\u0001"])
@pytest.mark.parametrize("length", [50_000, 70_000, 700_000])
def test_no_field_is_longer_than_azure_takes(render_made, one_line, letter, length):
    row = {"config": letter * length, "name": "ci"}
    made = render_made("sentinel", operation="UPDATE", before=row, after=row, changed=[])
    shown = one_line(made.text)
    for name in ("Before", "After"):
        assert len(json.dumps(shown[name], ensure_ascii=False).encode()) <= MOST_FIELD_BYTES
        if shown[name] != row:
            # What Postgres writes a jsonb as, which is what an auditor can compute anew.
            whole = json.dumps(row, ensure_ascii=False, sort_keys=False)
            by_length = json.dumps(dict(sorted(row.items(), key=lambda kv: (len(kv[0]), kv[0]))), ensure_ascii=False)
            assert shown[name]["[truncated]"] in [
                {"bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}
                for text in (whole, by_length)
            ]
    assert (shown["Before"] == row) == (len(json.dumps(row, ensure_ascii=False).encode()) <= 60_000)
