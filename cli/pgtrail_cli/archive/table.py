"""The CSVs of an archive, as the views audit.export and audit.export_fields have them. Pure: no I/O."""

import json
from collections.abc import Iterable, Iterator

from pgtrail_cli.archive.details import Event, details, host, short_parts

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
AS_THEY_ARE = frozenset({"id", "timestamp_utc", "date_utc", "operation", "details", "node", "node_id"})
SIGNS = frozenset("=+-@＝＋－＠﹦﹢﹣﹫")
BLANKS = (
    "".join(map(chr, range(1, 33)))
    + "\x7f\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e"
    + "".join(map(chr, range(0x2000, 0x2010)))
    + "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064"
    + "".join(map(chr, range(0x2066, 0x2070)))
    + "\u2800\u3000\u3164\ufeff\uffa0\ufff9\ufffa\ufffb"
)
"""audit.blanks()"""
LONGEST_CELL = 32_000


def csv_header(by_field: bool = False) -> bytes:
    """The first line of the CSV."""
    return _line(EXPORTED_FIELDS if by_field else EXPORTED)


def csv_line(event: Event) -> bytes:
    """The line of an event."""
    cells = _cells(event)
    return _line(map(cells.get, EXPORTED))


def field_lines(event: Event) -> Iterator[bytes]:
    """A line for each field that the event tells of; without any, one."""
    cells = _cells(event)
    told: dict[str | None, tuple[str | None, str | None]] = dict(short_parts(event, LONGEST_CELL + 1).items())
    parts = told or {None: (None, None)}
    # (As jsonb sorts its keys.)
    for name in sorted(parts, key=lambda name: (len(encoded := (name or "").encode()), encoded)):
        before, after = parts[name]
        own = {"field": name and spreadsheet_safe(name), "before": _value(before), "after": _value(after)}
        yield _line(map((cells | own).get, EXPORTED_FIELDS))


def _cells(event: Event) -> dict[str, str | None]:
    cells: dict[str, str | None] = {
        **{name: None if event[name] is None else str(event[name]) for name in EXPORTED if name in event},
        "timestamp_utc": event["time"].removesuffix("Z"),
        "date_utc": event["time"][:10],
        "organization": event["org_id"] if event["org_label"] is None else event["org_label"],
        "actor": event["actor_id"] if event["actor_label"] is None else event["actor_label"],
        "resource": event["resource_id"] if event["resource_label"] is None else event["resource_label"],
        "actor_ip": host(event["actor_ip"]),
        "client_addr": host(event["client_addr"]),
        "details": details(event),
    }
    return {
        name: cell if cell is None or name in AS_THEY_ARE else spreadsheet_safe(cell) for name, cell in cells.items()
    }


def spreadsheet_safe(cell: str) -> str:
    """audit.spreadsheet_safe()"""
    return f"'{cell}" if cell[:1] in {"\t", "\n", "\r"} or cell.lstrip(BLANKS)[:1] in SIGNS else cell


def _value(value: str | None) -> str | None:
    """audit.spreadsheet_value(), of JSON as text."""
    if value is None or value == "null":
        return None
    is_text = value.startswith('"')
    text = json.loads(value) if is_text else value
    cut = text[:LONGEST_CELL]
    return (spreadsheet_safe(cut) if is_text else cut) + ("…" if len(text) > LONGEST_CELL else "")


def _line(cells: Iterable[str | None]) -> bytes:
    return (",".join(map(_cell, cells)) + "\n").encode()


def _cell(cell: str | None) -> str:
    """As COPY writes it: null is nothing, nothing is two quotes."""
    if cell is None:
        return ""
    if not cell or any(mark in cell for mark in ',"\n\r'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
