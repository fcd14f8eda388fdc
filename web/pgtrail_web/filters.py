"""The filters in a URL: parsed, checked, and serialized again with something changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pgtrail_web.errors import InvalidRequest

RANGES = {"today": ("Today", 1), "7d": ("7 days", 7), "30d": ("30 days", 30), "all": ("All time", None)}
"""The presets: label, and how many days, today included."""
DEFAULT_RANGE = "30d"
CUSTOM = "custom"
SIZES = (50, 200, 1000)
MAX_TEXT_CHARS = 500
MAX_ID_CHARS = 20_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TYPED = {
    "q": "Text",
    "action": "Action",
    "actor": "Actor",
    "resource": "Resource",
    "org": "Organization",
    "node": "Node",
}
"""Parameters that are typed or chosen from a list, with their labels."""
EXACT = ("actor_type", "actor_id", "resource_type", "resource_id")
"""Parameters that a link sets, in pairs."""
HUB = "-"
"""The node of events that the hub recorded itself."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the last page ended: events before this one come next.

    :param microseconds: since 1970.
    """

    microseconds: int
    event_id: int

    def __str__(self) -> str:
        return f"{self.microseconds}-{self.event_id}"

    def as_json(self) -> dict[str, Any]:
        """As audit.filter() takes it."""
        return {
            "before_time": (EPOCH + timedelta(microseconds=self.microseconds)).isoformat(),
            "before_id": self.event_id,
        }


@dataclass(frozen=True, slots=True)
class Filters:
    """The query of a URL, checked.

    :param first, last: days, both included; if neither is given, ``range`` applies.
    :param before: the page begins below this event.
    """

    categories: tuple[str, ...] = ()
    range: str = DEFAULT_RANGE
    first: date | None = None
    last: date | None = None
    q: str = ""
    action: str = ""
    actor: str = ""
    resource: str = ""
    org: str = ""
    node: str = ""
    actor_type: str = ""
    actor_id: str = ""
    resource_type: str = ""
    resource_id: str = ""
    size: int = SIZES[0]
    before: Cursor | None = None

    def but(self, **changes: Any) -> "Filters":
        """The same with something changed."""
        return replace(self, **changes)

    @property
    def days(self) -> int | None:
        """How many days of the preset; None: all."""
        return None if self.range == CUSTOM else RANGES[self.range][1]

    @property
    def is_narrow(self) -> bool:
        """Whether it excludes anything that the page shows at first."""
        return self.but(size=SIZES[0], before=None) != Filters()

    @property
    def period(self) -> str:
        """The time, as people say it."""
        if self.range != CUSTOM:
            return RANGES[self.range][0]
        if self.first and self.last:
            return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        if self.first:
            return f"from {self.first}"
        return f"until {self.last}" if self.last else RANGES["all"][0]

    @property
    def applied(self) -> list[tuple[str, str, "Filters"]]:
        """The filters besides the time: label, value, and the filters without it."""
        found = [
            ("Category", name, self.but(categories=tuple(each for each in self.categories if each != name)))
            for name in self.categories
        ]
        for name, label in TYPED.items():
            if value := getattr(self, name):
                found.append((label, node_label(value) if name == "node" else value, self.but(**{name: ""})))
        for kind, key in (EXACT[:2], EXACT[2:]):
            if value := getattr(self, key):
                found.append((getattr(self, kind), value, self.but(**{kind: "", key: ""})))
        return found

    @property
    def is_searching(self) -> bool:
        """Whether a typed filter, or one chosen from a list, is set."""
        return any(getattr(self, name) for name in TYPED)

    def as_json(self) -> dict[str, Any]:
        """As audit.filter() takes it, without ``before``."""
        lists = {
            "actions": self.action,
            "actors": _contains(self.actor),
            "resources": _contains(self.resource),
            "orgs": self.org,
            "nodes": self.node,
        }
        fields = {
            "categories": list(self.categories),
            "first_day": self.first and self.first.isoformat(),
            "last_day": self.last and self.last.isoformat(),
            "days": self.days,
            "words": self.q,
        }
        fields |= {name: [text] for name, text in lists.items() if text} | {name: getattr(self, name) for name in EXACT}
        return {name: value for name, value in fields.items() if value}

    def parameters(self) -> list[tuple[str, str]]:
        """The query of its URL, without defaults."""
        texts = {name: getattr(self, name) for name in (*TYPED, *EXACT)} | {
            "range": "" if self.range == DEFAULT_RANGE or self.first or self.last else self.range,
            "from": self.first.isoformat() if self.first else "",
            "to": self.last.isoformat() if self.last else "",
            "size": "" if self.size == SIZES[0] else str(self.size),
            "before": str(self.before or ""),
        }
        return [("category", name) for name in self.categories] + [(k, v) for k, v in texts.items() if v]

    def url(self, **changes: Any) -> str:
        """The query with something changed; from the newest event, unless ``before`` is given."""
        query = urlencode(self.but(**{"before": None} | changes).parameters())
        return f"?{query}" if query else "?"


def parse(parameters: Iterable[tuple[str, str]]) -> Filters:
    """Parse a query or a form; unknown parameters are ignored.

    :raises InvalidRequest: a value is invalid.
    """
    # (Ids and types are taken literally; what a person types may end in a space.)
    pairs = [(name, value if name in EXACT else value.strip()) for name, value in parameters]
    for name, value in pairs:
        max_chars = MAX_ID_CHARS if name in EXACT else MAX_TEXT_CHARS
        if len(value) > max_chars or "\x00" in value:
            raise InvalidRequest(f"{name} is longer than {max_chars:,} characters, or not a text.", "Write less.")
    given = {name: value for name, value in pairs if value}
    for kind, key in (EXACT[:2], EXACT[2:]):
        if (kind in given) != (key in given):
            raise InvalidRequest(f"{kind} and {key} go together.", "Follow a name in the table.")
    preset = _one_of(given, "range", (*RANGES, CUSTOM), CUSTOM if given.keys() & {"from", "to"} else DEFAULT_RANGE)
    # Without a script, a form sends its days with a preset too.
    first, last = (_day(given, name) if preset == CUSTOM else None for name in ("from", "to"))
    if first and last and first > last:
        raise InvalidRequest(f"The time from {first} to {last} ends before it begins.", "Change the two days.")
    texts: dict[str, Any] = {name: given[name] for name in (*TYPED, *EXACT) if name in given}
    return Filters(
        categories=tuple(dict.fromkeys(value for name, value in pairs if name == "category" and value)),
        range=preset,
        first=first,
        last=last,
        size=int(_one_of(given, "size", [str(size) for size in SIZES], str(SIZES[0]))),
        before=_cursor(given["before"]) if "before" in given else None,
        **texts,
    )


def _day(given: Mapping[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(given[name]) if name in given else None
    except ValueError as error:
        raise InvalidRequest(f'"{given[name]}" is not a day.', "Write it as 2026-11-24.") from error


def _one_of(given: Mapping[str, str], name: str, allowed: Sequence[str], default: str) -> str:
    value = given.get(name, default)
    if value not in allowed:
        raise InvalidRequest(f'{name} can\'t be "{value}".', f"It is one of {', '.join(allowed)}.")
    return value


def _cursor(text: str) -> Cursor:
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 18 for part in parts):
        raise InvalidRequest("This is not a position in the log.", "Begin with the newest events.")
    return Cursor(int(parts[0]), int(parts[1]))


def node_label(node: str | None) -> str:
    return "this hub" if node in (None, HUB) else str(node)


def _contains(text: str) -> str:
    """A typed name matches whatever contains it, unless it has a wildcard of its own."""
    return text if not text or "*" in text else f"*{text}*"
