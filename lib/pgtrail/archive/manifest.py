"""The manifest of an archived month, which is written last. Pure: no I/O."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

VERSION = "pgtrail archive 1"
SUFFIX = ".manifest.json"
EVENTS, SEALS, LEAVES, SALTS, ERASED = "events", "seals", "leaves", "salts", "erased"
EVENTS_A_PART = 500_000
MAX_PARTS = 256
_NAME = re.compile(r"(part=[0-9]+/)?[^/]+")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a month.

    :param name: within the month's folder.
    :param part: which share of the organizations; None: it is not of events.
    """

    name: str
    kind: str
    rows: int
    bytes: int
    sha256: str
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A month.

    :param log: the hash of the log's first seal; empty: it had none.
    :param categories: those that the log knew.
    :param parts: into how many shares the organizations are divided.
    """

    partition: str
    begins: datetime
    ends: datetime
    events: int
    first_id: int
    last_id: int
    log: str
    categories: list[str]
    parts: int
    files: list[File]

    @property
    def folder(self) -> str:
        """The month's folder."""
        return folder_of(self.begins)

    @property
    def name(self) -> str:
        """Where the manifest is, in a location."""
        return f"{self.folder}/_{stem_of(self.partition)}{SUFFIX}"

    def of_kind(self, kind: str) -> list[File]:
        """The files of a kind."""
        return [file for file in self.files if file.kind == kind]

    def path(self, file: File) -> str:
        """Where a file is, in a location."""
        return f"{self.folder}/{file.name}"

    def of_orgs(self, orgs: list[str] | None) -> list[File]:
        """The files that events of these organizations are in; None: of any."""
        if orgs is None:
            return self.of_kind(EVENTS)
        parts = {part_of(org, self.parts) for org in orgs}
        return [file for file in self.of_kind(EVENTS) if file.part in parts]


def part_of(org: str, parts: int) -> int:
    """The share of the organizations that one belongs to."""
    return int(sha256(org.encode()).hexdigest()[:8], 16) % parts


def number_of_parts(events: int, events_a_part: int) -> int:
    """Into how many shares the organizations of a month are divided."""
    return min(max(-(-events // events_a_part), 1), MAX_PARTS)


def folder_of(begins: datetime) -> str:
    """The folder of a month that begins then, in UTC."""
    return f"month={begins.year:04}-{begins.month:02}"


def stem_of(partition: str) -> str:
    """What the files of a partition are called."""
    return partition.removeprefix("audit.").replace("/", "_")


def serialize(manifest: Manifest) -> bytes:
    """A manifest as JSON."""
    document = {"archive": VERSION, **asdict(manifest)}
    return (json.dumps(document, indent=1, default=datetime.isoformat, ensure_ascii=False) + "\n").encode()


def parse(content: bytes) -> Manifest:
    """A manifest from JSON.

    :raises ValueError: it is not a manifest.
    """
    try:
        document: dict[str, Any] = json.loads(content)
        if document.pop("archive") != VERSION:
            raise ValueError("of another version")
        files = [File(**file) for file in document.pop("files")]
        document["begins"], document["ends"] = (datetime.fromisoformat(document[name]) for name in ("begins", "ends"))
        manifest = Manifest(**document, files=files)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a manifest") from error
    # It names the files to read: none outside its folder.
    if not all(_NAME.fullmatch(file.name) and file.name != ".." for file in files):
        raise ValueError("a file outside its folder")
    return manifest
