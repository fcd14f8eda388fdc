"""What an event tells, as the views and functions of 60_views.sql and 65_render.sql have it. Pure: no I/O."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pgtrail_cli.archive.jsonb import array_of, equal, members, object_of, quoted

Event = Mapping[str, Any]
Part = tuple[str, str | None, str | None]
"""A field, or a member of one, before and after."""
DEEPEST = 12


def row_before(event: Event) -> str | None:
    """audit.row_before()"""
    before: str | None = event["before"]
    if event["operation"] != "UPDATE" or event["changed"] is None or event["imported_from"] is not None:
        return before
    if before is None or event["after"] is None:
        return None
    moved = dict.fromkeys(json.loads(event["changed"]), "null")
    return object_of({**members(event["after"]), **moved, **members(before)})


def told_fields(event: Event) -> Iterable[str]:
    """audit.told_fields()"""
    if event["changed"] is not None:
        return list(json.loads(event["changed"]))
    row = event["before"] if event["before"] is not None else event["after"]
    return [name for name, value in members(row).items() if value != "null"]


def details(event: Event) -> str | None:
    """audit.details()"""
    before, after = members(event["before"]), members(event["after"])
    told = {name: _sides(before.get(name), after.get(name)) for name in told_fields(event)}
    return object_of(told) if told else None


def _sides(before: str | None, after: str | None) -> str:
    return f'{{"after": {after or "null"}, "before": {before or "null"}}}'


def short_details(event: Event, longest: int) -> str | None:
    """audit.short_details()"""
    told = {name: _sides(*sides) for name, sides in short_parts(event, longest).items()}
    return object_of(told) if told else None


def short_parts(event: Event, longest: int) -> dict[str, tuple[str | None, str | None]]:
    """The same, by the names of the fields and members: what they were, and what they are."""
    before, after = members(event["before"]), members(event["after"])
    told: dict[str, tuple[str | None, str | None]] = {}
    for name in told_fields(event):
        was, becomes = before.get(name), after.get(name)
        both = _is_object(was) and _is_object(becomes)
        for part, one, other in _changed_members(name, was, becomes) if both else [(name, was, becomes)]:
            told[part] = _cut(one, longest), _cut(other, longest)
    return told


def _is_object(value: str | None) -> bool:
    return value is not None and value.startswith("{")


def _changed_members(name: str, was: str | None, becomes: str | None) -> Iterator[Part]:
    level = [(name, was, becomes)]
    for depth in range(DEEPEST + 1):
        below: list[Part] = []
        for part, one, other in level:
            both = _is_object(one) and _is_object(other)
            if not both or depth == DEEPEST or equal(one, other):
                yield part, one, other
            else:
                below += _differing(part, members(one), members(other))
        level = below


def _differing(name: str, was: dict[str, str], becomes: dict[str, str]) -> Iterator[Part]:
    for member in dict.fromkeys((*was, *becomes)):
        if not equal(was.get(member), becomes.get(member)):
            yield f"{name}.{member}", was.get(member), becomes.get(member)


def _cut(value: str | None, longest: int) -> str | None:
    """audit.cut_value()"""
    if value is None or len(value) <= longest:
        return value
    text = str(json.loads(value)) if value.startswith('"') else value
    return quoted(text[:longest]) if len(text) > longest else value


def event_name(event: Event) -> str:
    """audit.event_name()"""
    return str(event["id"]) if event["node"] is None else f"{event['node']}:{event['node_id']}"


def as_json(event: Event) -> str:
    """audit.event_json()"""
    text = {name: quoted(value) for name, value in event.items() if value is None or isinstance(value, str)}
    changed = event["changed"] and array_of(map(quoted, json.loads(event["changed"])))
    shown = {
        "id": quoted(f"evt_{event['id']}" if event["node"] is None else f"evt_{event['node']}_{event['node_id']}"),
        "occurred_at": text["time"],
        **{
            name: text[name]
            for name in ("org_id", "org_label", "category", "action", "operation", "request_id", "reason")
        },
        "actor": object_of(
            {
                "type": text["actor_type"],
                "id": text["actor_id"],
                "label": text["actor_label"],
                "ip": quoted(host(event["actor_ip"])),
                "user_agent": text["user_agent"],
            }
        ),
        "resource": object_of(
            {
                "type": text["resource_type"],
                "id": text["resource_id"],
                "label": text["resource_label"],
                "table": text["table_name"],
            }
        ),
        "connection": object_of(
            {
                "role": text["db_role"],
                "address": quoted(host(event["client_addr"])),
                "application_name": text["application_name"],
            }
        ),
        "before": row_before(event),
        "after": event["after"],
        "changed": changed,
        **{name: text[name] for name in ("imported_from", "node") if event[name] is not None},
    }
    return object_of(shown)


def host(address: str | None) -> str | None:
    """host()"""
    return None if address is None else address.split("/")[0]
