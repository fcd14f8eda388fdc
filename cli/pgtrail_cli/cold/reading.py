"""Finding events in an archive, by the filters of `pgtrail log`, as the database would."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pgtrail_cli.cold.engine import Engine, engine, named_rows, run
from pgtrail_cli.cold.manifest import Manifest, understood
from pgtrail_cli.cold.place import Place, place
from pgtrail_cli.errors import NotUnderstood, PgtrailError

Event = dict[str, Any]
"""An event's columns by name, its `time` as text as well."""
Wanted = dict[str, Any]
"""The filters by their names; None: not given."""
LONGEST_PATTERNS = 2000
LISTS = ("categories", "actions", "orgs", "actors", "resources", "nodes")


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is open."""

    place: Place
    months: list[Manifest]
    engine: Engine

    def newest(self, wanted: Wanted, most: int) -> list[Event]:
        """The newest events that pass, newest first: no further back than it takes."""
        found: list[Event] = []
        for files in _ever_more(self._files(wanted)[::-1]):
            missing = most - len(found)
            if not missing:
                break
            found += named_rows(self.engine, "newest", events=files, wanted=wanted, most=missing)
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
        """What has to be read, by times that do not overlap, the oldest first."""
        since, until = wanted["since"], wanted["until"]
        asked = [
            month
            for month in self.months
            if (since is None or month.ends > since) and (until is None or month.begins < until)
        ]
        files = [
            [self.place.uri(month.path(file)) for month in months for file in month.of_orgs(wanted["orgs"])]
            for months in apart(asked)
        ]
        return [some for some in files if some]


def apart(months: Sequence[Manifest]) -> list[list[Manifest]]:
    """Months in the order of time, those together of which one begins before another ends."""
    groups: list[list[Manifest]] = []
    for month in sorted(months, key=lambda month: month.begins):
        if groups and month.begins < max(other.ends for other in groups[-1]):
            groups[-1].append(month)
        else:
            groups.append([month])
    return groups


def _ever_more(months: list[list[str]]) -> Iterator[list[str]]:
    """The files of a month, of the next two, the next four …: where events are rare, few questions reach the end."""
    place, many = 0, 1
    while place < len(months):
        yield [file for files in months[place : place + many] for file in files]
        place, many = place + many, 2 * many


@contextmanager
def open_archive(where: str, *, jobs: int = 0) -> Iterator[Archive]:
    """An archive, to be read.

    :raises PgtrailError: there is none.
    """
    found = place(where)
    months = manifests_of(found, where)
    with TemporaryDirectory(prefix="pgtrail-") as folder, engine(Path(folder), jobs=jobs) as reading:
        found.attach(reading)
        yield Archive(found, months, reading)


def manifests_of(found: Place, where: str) -> list[Manifest]:
    """The months of a place.

    :raises PgtrailError: there is none.
    """
    months = [read_manifest(found, name) for name in found.manifests()]
    if not months:
        raise PgtrailError(f"there is no archived month in {where}", "pgtrail archive writes them")
    if len({month.log for month in months}) > 1:
        raise PgtrailError(f"{where} has the archives of more than one database", "keep each in a place of its own")
    return months


def read_manifest(found: Place, name: str) -> Manifest:
    """A month.

    :raises PgtrailError: it can't be read.
    """
    try:
        with found.open(name) as content:
            return understood(content.read())
    except (OSError, ValueError) as error:
        raise PgtrailError(f"{name} is no manifest of an archive that this version reads", "fetch it again") from error


def resolve(archive: Archive, **options: Any) -> Wanted:
    """Make the options of filters.py out, as the database does: times told, categories known."""
    known = {category for month in archive.months for category in month.categories}
    for category in options.get("categories", ()):
        if category not in known:
            raise PgtrailError(f'there is no category "{category}"', f"the archive knows: {', '.join(sorted(known))}")
    for kind in ("actions", "actors", "resources"):
        if len(" ".join(options.get(kind, ()))) > LONGEST_PATTERNS:
            raise PgtrailError(
                "the patterns for actions, actors or resources are longer than 2000 characters",
                "Use * for what they have in common: key.*",
            )
    lists = {name: list(options.get(name, ())) or None for name in LISTS}
    ids = {name: options.get(name) for name in ("actor_id", "resource_id")}
    times = {name: _moment(archive.engine, options.get(name)) for name in ("since", "until")}
    return {**lists, **ids, **times}


def _moment(reading: Engine, description: str | None) -> Any:
    if description is None:
        return None
    row = run(reading, "moment", {"description": description}).fetchone()
    if row is None or row[0] is None:
        raise NotUnderstood(
            f'"{description}" is no time that an archive is asked for',
            "Write 30m, 24h, 7d, 2w, today, yesterday, 2026-11-23 or 2026-11-23T09:30+01.",
        )
    return row[0]
