"""What a URL asks for: read, checked, and written again with one thing changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pgtrail_web.errors import NotUnderstood

RANGES = {"today": ("Today", 1), "7d": ("7 days", 7), "30d": ("30 days", 30), "all": ("All time", None)}
"""The presets: label, and how many days, this one included."""
DEFAULT_RANGE = "30d"
CUSTOM = "custom"
SIZES = (50, 200, 1000)
SCAN_LIMIT = 1_500
"""Events that a search without an index of its own looks at for one page."""
LONGEST_TEXT = 500
LONGEST_ID = 20_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_EXACT = {"actor_type", "actor_id", "resource_type", "resource_id"}
_WORDS = {
    "Text": "words", "Action": "action", "Actor": "actor", "Resource": "resource", "Organization": "org",
    "Node": "node",
}  # fmt: skip
"""What can be typed or chosen from a list, by its label."""
HUB = "-"
"""The node that is none: what a hub did itself."""


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
        """What audit.filter() takes."""
        return {
            "before_time": (EPOCH + timedelta(microseconds=self.microseconds)).isoformat(),
            "before_id": self.event_id,
        }


@dataclass(frozen=True, slots=True)
class Filters:
    """A URL's query, checked. All fields are as the URL has them.

    :param first, last: days, both included; where neither is given ``range`` holds.
    :param before: the page begins below this event.
    """

    categories: tuple[str, ...] = ()
    range: str = DEFAULT_RANGE
    first: date | None = None
    last: date | None = None
    action: str = ""
    actor: str = ""
    resource: str = ""
    words: str = ""
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
        """Whether it lets anything less through than the page as it is opened."""
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
        """What narrows it beside the time: a word, its value, and the filters without it."""
        found = [
            ("Category", name, self.but(categories=tuple(each for each in self.categories if each != name)))
            for name in self.categories
        ]
        for word, field in _WORDS.items():
            if value := getattr(self, field):
                shown = node_label(value) if field == "node" else value
                found.append((word, shown, self.but(**{field: ""})))
        for word in ("actor", "resource"):
            kind, key = f"{word}_type", f"{word}_id"
            if getattr(self, key):
                found.append((getattr(self, kind), getattr(self, key), self.but(**{kind: "", key: ""})))
        return found

    @property
    def is_searching(self) -> bool:
        """Whether anything that is typed or chosen from a list narrows it."""
        return any(getattr(self, field) for field in _WORDS.values())

    def as_json(self) -> dict[str, Any]:
        """What audit.filter() takes; without the place where the page begins."""
        fields: dict[str, Any] = {
            "categories": list(self.categories),
            "actions": _listed(self.action),
            "actors": _listed(_anywhere(self.actor)),
            "resources": _listed(_anywhere(self.resource)),
            "orgs": _listed(self.org),
            "nodes": _listed(self.node),
            "first_day": self.first and self.first.isoformat(),
            "last_day": self.last and self.last.isoformat(),
            "days": self.days,
            "words": self.words,
            "actor_id": self.actor_id,
            "actor_type": self.actor_type,
            "resource_id": self.resource_id,
            "resource_type": self.resource_type,
        }
        return {name: value for name, value in fields.items() if value}

    def parameters(self) -> list[tuple[str, str]]:
        """Its URL's query, without what is so by default."""
        texts = {
            "action": self.action,
            "actor": self.actor,
            "resource": self.resource,
            "q": self.words,
            "org": self.org,
            "node": self.node,
            "actor_type": self.actor_type,
            "actor_id": self.actor_id,
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
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
    """Read a query or a form; what it does not know it leaves alone.

    :raises NotUnderstood: a value makes no sense.
    """
    # (An id or a type is what it is; what a person types may have a space at an end.)
    pairs = [(name, value if name in _EXACT else value.strip()) for name, value in parameters]
    given = {name: value for name, value in pairs if value}
    for name, value in pairs:
        longest = LONGEST_ID if name in _EXACT else LONGEST_TEXT
        if len(value) > longest or "\x00" in value:
            raise NotUnderstood(f"{name} is longer than {longest:,} characters, or no text.", "Write less.")
    preset = _one_of(given, "range", (*RANGES, CUSTOM), CUSTOM if given.keys() & {"from", "to"} else DEFAULT_RANGE)
    # Without a script, a form sends its days with a preset too.
    first, last = (_day(given, name) if preset == CUSTOM else None for name in ("from", "to"))
    if first and last and first > last:
        raise NotUnderstood(f"The time from {first} to {last} ends before it begins.", "Change the two days.")
    return Filters(
        categories=tuple(dict.fromkeys(value for name, value in pairs if name == "category" and value)),
        range=preset,
        first=first,
        last=last,
        action=given.get("action", ""),
        actor=given.get("actor", ""),
        resource=given.get("resource", ""),
        words=given.get("q", ""),
        org=given.get("org", ""),
        node=given.get("node", ""),
        actor_type=_with(given, "actor_type", "actor_id"),
        actor_id=_with(given, "actor_id", "actor_type"),
        resource_type=_with(given, "resource_type", "resource_id"),
        resource_id=_with(given, "resource_id", "resource_type"),
        size=int(_one_of(given, "size", [str(size) for size in SIZES], str(SIZES[0]))),
        before=_cursor(given.get("before")),
    )


def _day(given: Mapping[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(given[name]) if name in given else None
    except ValueError as error:
        raise NotUnderstood(f'"{given[name]}" is no day.', "Write it as 2026-11-24.") from error


def _one_of(given: Mapping[str, str], name: str, allowed: Sequence[str], default: str) -> str:
    value = given.get(name, default)
    if value not in allowed:
        raise NotUnderstood(f'{name} can\'t be "{value}".', f"It is one of {', '.join(allowed)}.")
    return value


def _with(given: Mapping[str, str], name: str, other: str) -> str:
    if name not in given:
        return ""
    if other not in given:
        raise NotUnderstood(f"{name} needs {other} beside it.", "Follow a name in the table.")
    return given[name]


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 18 for part in parts):
        raise NotUnderstood("This is no place in the log.", "Begin with the newest events.")
    return Cursor(int(parts[0]), int(parts[1]))


def node_label(node: str | None) -> str:
    """What people read for a node, or for none."""
    return "this hub" if node in (None, HUB) else str(node)


def _listed(text: str) -> list[str]:
    return [text] if text else []


def _anywhere(text: str) -> str:
    """A name as people type it stands for all that has it in it, unless they say where the rest may be."""
    return text if not text or "*" in text else f"*{text}*"
