"""What bench/reads.py asks for: each filter with an organization, actor, resource, action or month of its own each time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from history import RESOURCE_LONG, RESOURCE_SHORT, RESOURCES

Pairs = list[tuple[str, str]]
ALL = ("range", "all")
ACTIONS = (
    "key.created",
    "key.revoked",
    "member.updated",
    "member.removed",
    "team.created",
    "team.deleted",
    "budget.created",
)
RARE_ACTIONS = ("key.rotated", "plan.changed", "password.changed", "organization.deleted")
PATTERNS = ("*.deleted", "*.created", "key.*", "member.*", "*.re*")


def large(choose: Random) -> str:
    """An organization with some percent of all events."""
    return f"org_{choose.randint(1, 5)}"


def small(choose: Random) -> str:
    """One with less than a thousandth."""
    return f"org_{choose.randint(300, 500)}"


def anyone(choose: Random) -> str:
    """Any organization."""
    return f"org_{choose.randint(1, 500)}"


READERS: dict[str, Callable[[Random], str] | None] = {"auditor": None, "large org": large, "any org": anyone}


def _resource(choose: Random) -> Pairs:
    # (Its type is that of its events; most are keys.)
    return [("resource_type", "key"), ("resource_id", f"res_{choose.randrange(RESOURCES)}"), ALL]


def _actor(number: int) -> Pairs:
    return [("actor_type", "user"), ("actor_id", f"usr_{number}"), ALL]


def _month(choose: Random) -> Pairs:
    first = datetime.now(UTC).date() - timedelta(days=choose.randint(60, 700))
    return [("from", first.isoformat()), ("to", (first + timedelta(days=30)).isoformat())]


PAGES: dict[str, Callable[[Random], Pairs]] = {
    "nothing": lambda _: [],
    "today": lambda _: [("range", "today")],
    "all time": lambda _: [ALL],
    "a month": _month,
    "a frequent category": lambda choose: [("category", choose.choice(("api_keys", "members", "teams")))],
    "a frequent category of all time": lambda choose: [
        ("category", choose.choice(("api_keys", "members", "teams"))),
        ALL,
    ],
    "a rare category": lambda choose: [("category", choose.choice(("password", "plan", "organization"))), ALL],
    "three categories": lambda _: [("category", "plan"), ("category", "teams"), ("category", "budgets"), ALL],
    "a category in a month": lambda choose: [("category", choose.choice(("teams", "plan"))), *_month(choose)],
    "an action": lambda choose: [("action", choose.choice(ACTIONS)), ALL],
    "a rare action": lambda choose: [("action", choose.choice(RARE_ACTIONS)), ALL],
    "an action that never was": lambda _: [("action", "key.eaten"), ALL],
    "actions by pattern": lambda choose: [("action", choose.choice(PATTERNS)), ALL],
    "a large organization": lambda choose: [("org", large(choose)), ALL],
    "a small organization": lambda choose: [("org", small(choose)), ALL],
    "a large one's rare action": lambda choose: [("org", large(choose)), ("action", choose.choice(RARE_ACTIONS)), ALL],
    "a small one's rare category": lambda choose: [("org", small(choose)), ("category", "password"), ALL],
    "one resource": _resource,
    "history of 3 events": lambda _: [("resource_type", "key"), ("resource_id", RESOURCE_SHORT), ALL],
    "history of 100,000 events": lambda _: [("resource_type", "key"), ("resource_id", RESOURCE_LONG), ALL],
    "one actor": lambda choose: _actor(choose.randint(100, 20_000)),
    "a busy actor": lambda choose: _actor(choose.randint(1, 3)),
    "a busy actor in an organization": lambda choose: [*_actor(1), ("org", anyone(choose))],
    "a busy actor's rare action": lambda choose: [*_actor(1), ("action", choose.choice(RARE_ACTIONS))],
    "actors by pattern": lambda choose: [("actor", f"person_{choose.randint(1, 20_000)}@"), ALL],
    "an actor that never was": lambda choose: [("actor", f"nobody {choose.random()}"), ALL],
    "resources by name": lambda choose: [("resource", f"name {choose.randrange(RESOURCES)}"), ALL],
    "a text that is frequent": lambda _: [("q", "rpm_limit"), ALL],
    "a text that is nowhere": lambda choose: [("q", f"needle {choose.random()}"), ALL],
}
"""URLs of the page."""

DEEP: dict[str, Pairs] = {
    "all time": [ALL],
    "a frequent category": [("category", "api_keys"), ALL],
    "an action": [("action", "key.created"), ALL],
    "a large organization": [("org", "org_1"), ALL],
    "a busy actor": _actor(1),
    "history of 100,000 events": [("resource_type", "key"), ("resource_id", RESOURCE_LONG), ALL],
}

COMMANDS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "nothing": lambda _: {},
    "since 7d": lambda _: {"since": "7d"},
    "until a day": lambda choose: {"until": f"{choose.randint(60, 700)}d"},
    "a frequent category": lambda choose: {"categories": [choose.choice(("api_keys", "members", "teams"))]},
    "a rare category": lambda choose: {"categories": [choose.choice(("password", "plan", "organization"))]},
    "three categories": lambda _: {"categories": ["plan", "teams", "budgets"]},
    "an action": lambda choose: {"actions": [choose.choice(ACTIONS)]},
    "a rare action": lambda choose: {"actions": [choose.choice(RARE_ACTIONS)]},
    "actions by pattern": lambda choose: {"actions": [choose.choice(PATTERNS)]},
    "a large organization": lambda choose: {"orgs": [large(choose)]},
    "a small organization": lambda choose: {"orgs": [small(choose)]},
    "a small one's rare category": lambda choose: {"orgs": [small(choose)], "categories": ["password"]},
    "a busy actor": lambda choose: {"actor_id": f"usr_{choose.randint(1, 3)}"},
    "one actor": lambda choose: {"actor_id": f"usr_{choose.randint(100, 20_000)}"},
    "actors by pattern": lambda choose: {"actors": [f"person_{choose.randint(1, 20_000)}@*"]},
    "one resource": lambda choose: {"resource_id": f"res_{choose.randrange(RESOURCES)}"},
    "history of 3 events": lambda _: {"resource_id": RESOURCE_SHORT},
    "history of 100,000 events": lambda _: {"resource_id": RESOURCE_LONG},
    "show ID": lambda choose: {"event_id": choose.randint(1001, 900_000)},
}
"""Options of `pgtrail log`, and the event of `pgtrail show`."""
