"""Archived events as JSON and CSV, as the database writes them. Pure: no I/O."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import simplejson

from pgtrail.sql_functions import sql_functions
from pgtrail.verify.canonical import spans

Event = Mapping[str, Any]
EXPORTED = (
    "id", "timestamp_utc", "date_utc", "org_id", "organization", "category", "action", "actor_type", "actor_id",
    "actor", "actor_ip", "user_agent", "request_id", "reason", "resource_type", "resource_id", "resource", "operation",
    "table_name", "details", "db_role", "client_addr", "application_name", "imported_from", "node", "node_id",
)  # fmt: skip
"""The columns of audit.export."""
EXPORTED_FIELDS = (
    "id", "timestamp_utc", "date_utc", "org_id", "organization", "actor", "action", "resource_type", "resource_id",
    "resource", "field", "before", "after", "node", "node_id",
)  # fmt: skip
"""The columns of audit.export_fields."""
NEVER_FORMULAS = frozenset({"id", "timestamp_utc", "date_utc", "operation", "details", "node", "node_id"})
SIGNS = frozenset("=+-@＝＋－＠﹦﹢﹣﹫")
BLANKS = (
    "".join(re.findall("E'([^']+)'", sql_functions()["invisible_characters"].body)).encode().decode("unicode_escape")
)
MAX_CELL_CHARS = 32_000
OPTIONAL = ("node", "imported_from")
"""Members of an event in JSON that are left out where they are null."""


def event_name(event: Event) -> str:
    """audit_internal.event_reference()"""
    return str(event["id"]) if event["node"] is None else f"{event['node']}:{event['node_id']}"


def as_json(event: Event) -> str:
    """audit.event_json()"""
    # (In the order of jsonb: the shorter name first.)
    document = {
        "id": f"evt_{event_name(event).replace(':', '_')}",
        "node": event["node"],
        "actor": {
            "id": event["actor_id"],
            "ip": _host(event["actor_ip"]),
            "type": event["actor_type"],
            "label": event["actor_label"],
            "user_agent": event["user_agent"],
        },
        "after": _raw(event["after"]),
        "action": event["action"],
        "before": _raw(event["row_before"]),
        "org_id": event["org_id"],
        "reason": event["reason"],
        "changed": event["changed"] and json.loads(event["changed"]),
        "category": event["category"],
        "resource": {
            "id": event["resource_id"],
            "type": event["resource_type"],
            "label": event["resource_label"],
            "table": event["table_name"],
        },
        "operation": event["operation"],
        "org_label": event["org_label"],
        "connection": {
            "role": event["db_role"],
            "address": _host(event["client_addr"]),
            "application_name": event["application_name"],
        },
        "request_id": event["request_id"],
        "occurred_at": event["time"],
        "imported_from": event["imported_from"],
    }
    shown = {name: value for name, value in document.items() if value is not None or name not in OPTIONAL}
    return str(simplejson.dumps(shown, ensure_ascii=False))


def _raw(text: str | None) -> simplejson.RawJSON | None:
    """JSON as Postgres wrote it: no number is read."""
    return None if text is None else simplejson.RawJSON(text)


def _host(address: str | None) -> str | None:
    return None if address is None else address.split("/")[0]


def csv_header(by_field: bool = False) -> bytes:
    """The first line of the CSV."""
    return _line(EXPORTED_FIELDS if by_field else EXPORTED)


def csv_line(event: Event) -> bytes:
    """The line of an event."""
    cells = _cells(event)
    return _line(map(cells.get, EXPORTED))


def field_lines(event: Event) -> Iterator[bytes]:
    """A line for each field that changed; without any, one."""
    cells = _cells(event)
    for name, before, after in changes(event["fields"]) if event["fields"] else [(None, None, None)]:
        own = {"field": name and spreadsheet_safe(name), "before": _value(before), "after": _value(after)}
        yield _line(map((cells | own).get, EXPORTED_FIELDS))


def changes(fields: str) -> Iterator[tuple[str, str, str]]:
    """Name, before and after of each field, as JSON."""
    for name, member in spans(fields):
        after, before = (side for _, side in spans(member[member.index(': {"after": ') + len(": ") :]))
        yield name, before.removeprefix('"before": '), after.removeprefix('"after": ')


def _cells(event: Event) -> dict[str, str | None]:
    cells: dict[str, str | None] = {
        **{name: None if event[name] is None else str(event[name]) for name in EXPORTED if name in event},
        "timestamp_utc": event["time"].removesuffix("Z"),
        "date_utc": event["time"][:10],
        "organization": event["org_id"] if event["org_label"] is None else event["org_label"],
        "actor": event["actor_id"] if event["actor_label"] is None else event["actor_label"],
        "resource": event["resource_id"] if event["resource_label"] is None else event["resource_label"],
        "actor_ip": _host(event["actor_ip"]),
        "client_addr": _host(event["client_addr"]),
    }
    return {
        name: cell if cell is None or name in NEVER_FORMULAS else spreadsheet_safe(cell) for name, cell in cells.items()
    }


def spreadsheet_safe(cell: str) -> str:
    """audit_internal.spreadsheet_safe()"""
    return f"'{cell}" if cell[:1] in {"\t", "\n", "\r"} or cell.lstrip(BLANKS)[:1] in SIGNS else cell


def _value(value: str | None) -> str | None:
    """audit_internal.spreadsheet_value(), of JSON as text."""
    if value is None or value == "null":
        return None
    is_text = value.startswith('"')
    text = json.loads(value) if is_text else value
    cut = text[:MAX_CELL_CHARS]
    return (spreadsheet_safe(cut) if is_text else cut) + ("…" if len(text) > MAX_CELL_CHARS else "")


def _line(cells: Iterable[str | None]) -> bytes:
    return (",".join(map(_cell, cells)) + "\n").encode()


def _cell(cell: str | None) -> str:
    """As COPY writes it: null is nothing, nothing is two quotes."""
    if cell is None:
        return ""
    if not cell or any(mark in cell for mark in ',"\n\r'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
