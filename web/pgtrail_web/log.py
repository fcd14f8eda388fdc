"""The table: filters, chart, counts, one page of events."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.responses import Response

from pgtrail.details import LONGEST_VALUE, parse_json, short_changes
from pgtrail_web import chart
from pgtrail_web.database import Connection, read_frame, rows
from pgtrail_web.filters import EPOCH, RANGES, SCAN_LIMIT, SIZES, Cursor, Filters, parse
from pgtrail_web.viewer import Viewer

if TYPE_CHECKING:
    from pgtrail_web.page import Page

LOOK_AT_TEXTS = 1_000
"""The same where it reads whole rows."""
LOOK_AT_ONE = 500
"""The same of one resource or actor, whose events lie far apart."""
FURTHER = 10
"""As many times as many for the pages after the first one."""
COUNT = 10_000
"""Events that are counted for the chart, at most."""
REMEMBER_SECONDS = 60.0
"""So long the actions are remembered that can be asked for."""


async def show(page: "Page", request: Request, viewer: Viewer) -> Response:
    """The table, or one resource's history, or one actor's activity."""
    filters = parse(request.query_params.multi_items())
    async with page.database.session(viewer) as connection:
        found = await _found(connection, filters)
        frame = await read_frame(connection)
        return page.render(
            request,
            "log.html",
            frame=frame,
            viewer=viewer,
            filters=filters,
            ranges=RANGES,
            sizes=SIZES,
            actions=await _actions(page, connection, viewer),
            nodes=await _nodes(connection, filters) if frame["is_hub"] else [],
            drawn=await _drawn(connection, filters, frame),
            heading=_heading(filters, found["events"]),
            **found,
        )


async def _actions(page: "Page", connection: Connection, viewer: Viewer) -> list[str]:
    """What can be asked for, as it was within the last minute: to look for it costs as much as a page of events."""
    if viewer.org is not None:
        # (What others do is none of an organization's business.)
        return []
    until, actions = page.actions
    if until < monotonic():
        actions = [kind["action"] for kind in await rows(connection, "actions")]
        page.actions = monotonic() + REMEMBER_SECONDS, actions
    return actions


async def _nodes(connection: Connection, filters: Filters) -> list[str]:
    """The nodes that can be chosen, with the one that is."""
    nodes = [node["name"] for node in await rows(connection, "nodes", scan_limit=SCAN_LIMIT)]
    return nodes if filters.node in ("", *nodes) else [*nodes, filters.node]


def _max_counted(filters: Filters) -> int:
    narrow = filters.is_searching or filters.actor_id or filters.resource_id
    return _looked_at(filters) if narrow else COUNT


def _looked_at(filters: Filters) -> int:
    if filters.actor_id or filters.resource_id:
        return LOOK_AT_ONE
    return LOOK_AT_TEXTS if filters.words else SCAN_LIMIT


def _heading(filters: Filters, events: Sequence[DictRow]) -> str:
    """What the one resource or actor is called now."""
    event = events[0] if events else {}
    if filters.resource_id:
        return event.get("resource") or filters.resource_id
    return event.get("actor") or filters.actor_id


async def _found(connection: Connection, filters: Filters) -> dict[str, Any]:
    """One page of events, where the next one begins, and from when on there is anything to see."""
    asked = filters.as_json() | (filters.before.as_json() if filters.before else {})
    # (Whoever goes on is ready to wait.)
    scan_limit = _looked_at(filters) * (FURTHER if filters.before else 1)
    *events, last = await rows(
        connection,
        "search",
        filter=Jsonb(asked),
        limit=filters.size + 1,
        scan_limit=scan_limit,
        max_chars=LONGEST_VALUE + 1,
    )
    summary = last["summary"]
    more = len(events) > filters.size
    events = events[: filters.size]
    for event in events:
        event["changes"], event["more_changes"] = short_changes(parse_json(event["details"]), event["operation"])
    horizon = summary["horizon"]
    return {
        "events": events,
        "older": Cursor(events[-1]["microseconds"], events[-1]["id"]) if more else None,
        # Nothing more in what was looked at, and more to look at.
        "horizon": horizon and _minute(horizon["occurred_at"]),
        "further": horizon and Cursor(_microseconds(horizon["occurred_at"]), horizon["id"]),
        "visible_from": [
            {"moment": _minute(limit["moment"]), "reason": limit["reason"]}
            for limit in summary["visible_from"]
            if limit["moment"]
        ],
    }


def _minute(moment: str) -> str:
    """A time as it stands in JSON, in the session's zone, as people read it."""
    return moment[:16].replace("T", " ")


def _microseconds(moment: str) -> int:
    return (datetime.fromisoformat(moment) - EPOCH) // timedelta(microseconds=1)


async def _drawn(connection: Connection, filters: Filters, frame: DictRow) -> dict[str, Any]:
    """The chart, and how many events there are of each category; those that are not chosen are counted too."""
    last = min(filters.last or frame["today"], frame["today"])
    days = (last - filters.first).days + 1 if filters.first else filters.days
    first = filters.first or (frame["today"] - timedelta(days=days - 1) if days else None)
    unit = chart.unit_for(days)
    asked = Jsonb(filters.but(categories=()).as_json())
    counted = await rows(connection, "counted", filter=asked, unit=unit, max_events=_max_counted(filters))
    totals = Counter[str]()
    kept = [each for each in counted if each["category"] is not None]
    for each in kept:
        totals[each["category"]] += each["events"]
    chosen = set(filters.categories or totals)
    counts = [chart.Count(each["begins"], each["category"], each["events"]) for each in kept]
    drawn = chart.bars(
        [count for count in counts if count.category in chosen],
        unit,
        first,
        last,
        [category["name"] for category in frame["categories"]],
    )
    return {
        "bars": drawn,
        "unit": unit,
        "most": max((bar.events for bar in drawn), default=0),
        "totals": totals,
        "events": sum(totals[name] for name in chosen),
        "counted_from": counted[0]["counted_from"] if counted else None,
        # Left of this the chart knows nothing.
        "uncounted": max((bar.x for bar in drawn if bar.last < counted[0]["counted_from_day"]), default=0)
        if counted and counted[0]["counted_from"]
        else 0,
        "width": chart.WIDTH,
        "height": chart.HEIGHT,
    }
