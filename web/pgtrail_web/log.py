"""The table: filters, chart, counts, one page of events."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.responses import Response

from pgtrail.details import MAX_VALUE_CHARS, SCAN_LIMIT, parse_json, short_changes
from pgtrail_web import chart
from pgtrail_web.database import Connection, read_frame, rows
from pgtrail_web.filters import EPOCH, RANGES, SIZES, Cursor, Filters, parse
from pgtrail_web.page import Page
from pgtrail_web.viewer import Viewer

SCAN_LIMIT_OF_TEXTS = 1_000
"""SCAN_LIMIT where whole rows are read."""
SCAN_LIMIT_OF_ONE = 500
"""SCAN_LIMIT for one resource or actor, whose events are stored far apart."""
OLDER_FACTOR = 10
"""How many times as many events are looked at for the pages after the first one: whoever goes on may wait."""
MAX_COUNTED = 10_000
"""Events that are counted for the chart."""
RECENT_SECONDS = 60.0
"""How long the list of actions is cached."""


async def show(page: Page, request: Request, viewer: Viewer) -> Response:
    """The table, or one resource's history, or one actor's activity."""
    filters = parse(request.query_params.multi_items())
    async with page.database.session(viewer) as connection:
        found = await _search(connection, filters)
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
            drawn=await _chart(connection, filters, frame),
            heading=_heading(filters, found["events"]),
            **found,
        )


async def _actions(page: Page, connection: Connection, viewer: Viewer) -> list[str]:
    """The actions to choose from, as of the last minute: to find them costs as much as a page of events."""
    if viewer.org is not None:
        # (An organization must not learn what others do.)
        return []
    until, actions = page.recent_actions
    if until < monotonic():
        actions = [kind["action"] for kind in await rows(connection, "actions")]
        page.recent_actions = monotonic() + RECENT_SECONDS, actions
    return actions


async def _nodes(connection: Connection, filters: Filters) -> list[str]:
    """The nodes to choose from, with the one that is chosen."""
    nodes = [node["name"] for node in await rows(connection, "nodes", scan_limit=SCAN_LIMIT)]
    return nodes if filters.node in ("", *nodes) else [*nodes, filters.node]


def _max_counted(filters: Filters) -> int:
    narrow = filters.is_searching or filters.actor_id or filters.resource_id
    return _scan_limit(filters) if narrow else MAX_COUNTED


def _scan_limit(filters: Filters) -> int:
    if filters.actor_id or filters.resource_id:
        return SCAN_LIMIT_OF_ONE
    return SCAN_LIMIT_OF_TEXTS if filters.q else SCAN_LIMIT


def _heading(filters: Filters, events: Sequence[DictRow]) -> str:
    """The newest label of the one resource or actor."""
    event = events[0] if events else {}
    if filters.resource_id:
        return event.get("resource") or filters.resource_id
    return event.get("actor") or filters.actor_id


async def _search(connection: Connection, filters: Filters) -> dict[str, Any]:
    """One page of events, where the next one begins, and from when on events are visible."""
    wanted = filters.as_json() | (filters.before.as_json() if filters.before else {})
    scan_limit = _scan_limit(filters) * (OLDER_FACTOR if filters.before else 1)
    *events, last = await rows(
        connection,
        "search",
        filter=Jsonb(wanted),
        limit=filters.size + 1,
        scan_limit=scan_limit,
        max_chars=MAX_VALUE_CHARS + 1,
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
        # Where the search stopped with nothing more found, and more to look at.
        "horizon": horizon and _minute(horizon["occurred_at"]),
        "further": horizon and Cursor(_microseconds(horizon["occurred_at"]), horizon["id"]),
        "visible_from": [
            {"moment": _minute(limit["moment"]), "reason": limit["reason"]}
            for limit in summary["visible_from"]
            if limit["moment"]
        ],
    }


def _minute(moment: str) -> str:
    """A time in JSON, which is in the session's zone, for people."""
    return moment[:16].replace("T", " ")


def _microseconds(moment: str) -> int:
    return (datetime.fromisoformat(moment) - EPOCH) // timedelta(microseconds=1)


async def _chart(connection: Connection, filters: Filters, frame: DictRow) -> dict[str, Any]:
    """The chart, and how many events there are of each category; those that are not chosen are counted too."""
    last = min(filters.last or frame["today"], frame["today"])
    days = (last - filters.first).days + 1 if filters.first else filters.days
    first = filters.first or (frame["today"] - timedelta(days=days - 1) if days else None)
    unit = chart.unit_for(days)
    wanted = Jsonb(filters.but(categories=()).as_json())
    counted = await rows(connection, "counted", filter=wanted, unit=unit, max_events=_max_counted(filters))
    counts = [
        chart.Count(each["begins"], each["category"], each["events"])
        for each in counted
        if each["category"] is not None
    ]
    totals = Counter[str]()
    for count in counts:
        totals[count.category] += count.events
    chosen = set(filters.categories or totals)
    order = [category["name"] for category in frame["categories"]]
    bars = chart.bars([count for count in counts if count.category in chosen], unit, first, last, order)
    counted_from = counted[0]["counted_from"] if counted else None
    # Left of this nothing was counted.
    uncounted = [bar.x for bar in bars if counted_from and bar.last < counted[0]["counted_from_day"]]
    return {
        "bars": bars,
        "unit": unit,
        "max": max((bar.events for bar in bars), default=0),
        "totals": totals,
        "events": sum(totals[name] for name in chosen),
        "counted_from": counted_from,
        "uncounted": max(uncounted, default=0),
        "width": chart.WIDTH,
        "height": chart.HEIGHT,
    }
