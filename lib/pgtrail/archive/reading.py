"""Finding events in an archive, by the filters of `pgtrail log`, as the database would."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pgtrail.archive.engine import Engine, engine, named_rows, run
from pgtrail.archive.location import Location, find_location
from pgtrail.archive.manifest import Manifest, parse
from pgtrail.errors import InvalidInput, PgtrailError

Event = dict[str, Any]
"""An event's columns by name, its `time` as text as well."""
Wanted = dict[str, Any]
"""The filters by their names; None: not given."""
MAX_PATTERN_CHARS = 2000
LISTS = ("categories", "actions", "orgs", "actors", "resources", "nodes")


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is open."""

    location: Location
    months: list[Manifest]
    engine: Engine

    def newest(self, wanted: Wanted, limit: int) -> list[Event]:
        """The newest events that pass, newest first. Reads no further back than needed."""
        found: list[Event] = []
        for files in _growing_groups(self._files(wanted)[::-1]):
            missing = limit - len(found)
            if not missing:
                break
            found += named_rows(self.engine, "newest", events=files, wanted=wanted, limit=missing)
        return found

    def oldest_first(self, wanted: Wanted) -> Iterator[Event]:
        """All events that pass."""
        for files in self._files(wanted):
            yield from named_rows(self.engine, "oldest_first", events=files, wanted=wanted)

    def count(self, wanted: Wanted) -> int:
        """How many pass."""
        return sum(
            row[0]
            for files in self._files(wanted)
            if (row := run(self.engine, "count", events=files, wanted=wanted).fetchone())
        )

    def _files(self, wanted: Wanted) -> list[list[str]]:
        """The files to read, grouped by times that do not overlap, the oldest first."""
        since, until = wanted["since"], wanted["until"]
        asked = [
            month
            for month in self.months
            if (since is None or month.ends > since) and (until is None or month.begins < until)
        ]
        files = [
            [self.location.uri(month.path(file)) for month in months for file in month.of_orgs(wanted["orgs"])]
            for months in group_by_time(asked)
        ]
        return [some for some in files if some]


def group_by_time(months: Sequence[Manifest]) -> list[list[Manifest]]:
    """Months by time, grouped where they overlap."""
    groups: list[list[Manifest]] = []
    for month in sorted(months, key=lambda month: month.begins):
        if groups and month.begins < max(other.ends for other in groups[-1]):
            groups[-1].append(month)
        else:
            groups.append([month])
    return groups


def _growing_groups(months: list[list[str]]) -> Iterator[list[str]]:
    """The files of a month, of the next two, the next four …, so that a search for rare events takes few queries."""
    start, many = 0, 1
    while start < len(months):
        yield [file for files in months[start : start + many] for file in files]
        start, many = start + many, 2 * many


@contextmanager
def open_archive(where: str, *, jobs: int = 0) -> Iterator[Archive]:
    """An archive, to be read.

    :raises PgtrailError: there is no archive.
    """
    location, months = months_of(where)
    with TemporaryDirectory(prefix="pgtrail-") as folder, engine(Path(folder), jobs=jobs) as reading:
        location.attach(reading)
        yield Archive(location, months, reading)


def months_of(where: str) -> tuple[Location, list[Manifest]]:
    """The months of an archive, or the one whose folder is named.

    :raises PgtrailError: there is no archive.
    """
    root, _, folder = where.rstrip("/").rpartition("/")
    is_month = folder.startswith("month=")
    location = find_location((root or ".") if is_month else where)
    names = [name for name in location.manifests() if not is_month or name.startswith(f"{folder}/")]
    months = [_read_manifest(location, name) for name in names]
    if not months:
        raise PgtrailError(f"there is no archived month in {where}", "pgtrail archive writes them")
    if len({month.log for month in months}) > 1:
        raise PgtrailError(f"{where} has the archives of more than one database", "keep each in a folder of its own")
    return location, months


def _read_manifest(location: Location, name: str) -> Manifest:
    try:
        with location.open(name) as content:
            return parse(content.read())
    except (OSError, ValueError) as error:
        raise PgtrailError(f"{name} is not a manifest that this version can read", "fetch it again") from error


def partitions_of(where: str, orgs: Sequence[str]) -> str:
    """A condition in SQL on the columns `month` and `part`: where the events of these organizations are.

    For other engines, which read an archive as one table.
    """
    _, months = months_of(where)
    names = [month.path(file) for month in months for file in month.of_orgs(list(orgs))]
    folders = [re.fullmatch(r"month=(.+)/part=(.+)/.+", name) for name in names]
    # (Texts in quotes: as they are in the folders' names, leading zeros included.)
    conditions = [f"(month = '{found[1]}' and part = '{found[2]}')" for found in folders if found]
    return " or ".join(conditions) or "false"


def resolve(archive: Archive, **options: Any) -> Wanted:
    """Parse filter options as the database does: times to timestamps, and no unknown category."""
    known = {category for month in archive.months for category in month.categories}
    for category in options.get("categories", ()):
        if category not in known:
            raise PgtrailError(f'there is no category "{category}"', f"the archive knows: {', '.join(sorted(known))}")
    for kind in ("actions", "actors", "resources"):
        if len(" ".join(options.get(kind, ()))) > MAX_PATTERN_CHARS:
            raise PgtrailError(
                "the patterns for actions, actors or resources are longer than 2000 characters",
                "Use * for what they have in common: key.*",
            )
    lists = {name: list(options.get(name, ())) or None for name in LISTS}
    ids = {name: options.get(name) for name in ("actor_id", "resource_id")}
    times = {name: _time(archive.engine, options.get(name)) for name in ("since", "until")}
    return {**lists, **ids, **times}


def _time(reading: Engine, description: str | None) -> Any:
    if description is None:
        return None
    row = run(reading, "moment", {"description": description}).fetchone()
    if row is None or row[0] is None:
        raise InvalidInput(
            f'invalid time "{description}" for an archive',
            "Write 30m, 24h, 7d, 2w, today, yesterday, 2026-11-23 or 2026-11-23T09:30+01.",
        )
    return row[0]
