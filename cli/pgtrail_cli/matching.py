"""How many events a filter matches, and suggestions for names that are unknown."""

from collections.abc import Iterator
from difflib import get_close_matches

from pgtrail.connection import Connection
from pgtrail.export import Notes, as_jsonb
from pgtrail.moments import from_json
from pgtrail_cli.database import QUERIES
from pgtrail_cli.filters import as_filter
from pgtrail_cli.render import local_time
from pgtrail_cli.streams import say

MAX_COUNTED = 100_000
MAX_NAMED = 5
RECENT = "30d"


def recent(connection: Connection, name: str, **options: object) -> list[str]:
    """How many events of the last 30 days match, as lines; a warning if there are none.

    Call it before the filters are stored, which is an event too.
    """
    return _report(connection, name, "of the last 30 days", {**options, "since": RECENT, "until": None})


def ever(connection: Connection, name: str, **options: object) -> list[str]:
    """The same of the whole log."""
    return _report(connection, name, "of the log", options)


def _report(connection: Connection, name: str, period: str, options: dict[str, object]) -> list[str]:
    asked = {"filter": as_jsonb(as_filter(**options)), "limit": MAX_COUNTED}
    row = connection.execute(QUERIES["matching"], asked).fetchone()
    events, unmatched = row or (0, None)
    shown = f"{events:,}{' or more' if events == MAX_COUNTED else ''} {'event' if events == 1 else 'events'} {period}"
    warning = "" if events else "warning: "
    return [f"{warning}{name} matches {shown}", *_warnings(unmatched)]


def say_visible_from(limits: Notes) -> None:
    """Say from when on this role can see events, if the filter reaches further back."""
    for limit in limits or ():
        moment = limit["moment"] and local_time(from_json(limit["moment"]))
        say(f"visible from {moment} on: {limit['reason']}" if moment else limit["reason"])


def warn_unmatched(unmatched: Notes) -> None:
    """Name what no event has, with suggestions."""
    for warning in _warnings(unmatched):
        say(warning)


def _warnings(unmatched: Notes) -> Iterator[str]:
    for missing in unmatched or ():
        setting, value, known = missing["setting"], missing["value"], missing["known"]
        near = get_close_matches(value, known, MAX_NAMED, 0.5)
        more = f", … {len(known) - MAX_NAMED} more" if not near and len(known) > MAX_NAMED else ""
        names = ", ".join(near or known[:MAX_NAMED]) + more
        hint = f"did you mean {names}?" if near else f"there are: {names}" if names else "there is none yet"
        yield f'warning: no event has the {setting} "{value}" ({hint})'
