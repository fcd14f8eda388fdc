"""A month of the log in two files: its events, and the seals over them, so that both can be verified alone.

``NAME.csv`` (or ``.parquet``) has a column for each of ``audit.event``, each cell as Postgres writes it; null is
``\\N``, and a cell that begins with a backslash has another one before it. ``NAME.seals.jsonl`` has a header, then
salts, erased parts and seals, one JSON object a line.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pgtrail_cli.appearing import private_files
from pgtrail_cli.canonical import Kept, Row, event_of, leaf, merkle_root, pieces
from pgtrail_cli.cold.engine import engine, named_rows, run, spooled
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.verify.erased import is_pseudonym

VERSION = "pgtrail archive 1"
PREVIOUS, ROOT = 19, 18
"""Places in a seal's text."""
NULL = "\\N"


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event's place in the chain."""

    leaf: bytes
    secret: bytes
    personal: frozenset[str]


@dataclass(slots=True)
class Seals:
    """What a file of seals says.

    :param salts: by kind, type and id.
    :param erased: what was kept of fields when somebody was erased, by event id and part.
    """

    header: dict[str, Any] = field(default_factory=dict)
    salts: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    erased: dict[str, dict[str, Kept]] = field(default_factory=dict)
    events: dict[str, Sealed] = field(default_factory=dict)


def seals_file(data: Path) -> Path:
    """The seals' file beside the events'."""
    return data.with_name(data.name.rsplit(".", 1)[0] + ".seals.jsonl")


def digest(file: Path) -> bytes:
    """SHA-256 of a file."""
    with file.open("rb") as content:
        return file_digest(content, "sha256").digest()


def csv_to_parquet(source: Path, target: Path, longest: int) -> None:
    """The same cells as columns of text.

    :param longest: bytes of the longest row.
    :raises PgtrailError: the extra is not installed.
    """
    with source.open(newline="", encoding="utf-8") as lines:
        names = next(csv.reader(lines))
    with TemporaryDirectory(prefix="pgtrail-") as folder, engine(Path(folder)) as working:
        given = spooled(source, dict.fromkeys(names, "varchar"), longest)
        with private_files():
            run(working, "write_texts", {"file": str(target)}, **given)


def verify(data: Path) -> tuple[Seals, list[tuple[str, str]]]:
    """Recompute everything; subject and problem of what does not match.

    :raises PgtrailError: there is no such archive.
    """
    try:
        with seals_file(data).open(encoding="utf-8") as lines:
            seals, problems = _read_seals(json.loads(line) for line in lines)
        if digest(data).hex() != seals.header["sha256"]:
            problems.append((data.name, "it is not the file that was archived: its SHA-256 is another"))
        problems += _check_events(_events(data), seals)
    except OSError as error:
        raise PgtrailError(
            f"can't read {error.filename}: {(error.strerror or str(error)).lower()}",
            "an archive is two files in one folder: the events, and NAME.seals.jsonl",
        ) from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, csv.Error) as error:
        raise PgtrailError(f"{data} is no archive of pgtrail, or was cut off", "fetch it again") from error
    return seals, problems


def _read_seals(lines: Iterable[dict[str, Any]]) -> tuple[Seals, list[tuple[str, str]]]:
    seals = Seals()
    problems: list[tuple[str, str]] = []
    previous: tuple[int, str] | None = None
    for line in lines:
        if "archive" in line:
            seals.header = line
        elif "erased" in line:
            salt = line["salt"] and bytes.fromhex(line["salt"])
            kept = seals.erased.setdefault(str(line["erased"]), {})
            kept[line["part"]] = Kept(bytes.fromhex(line["commitment"]), salt)
        elif "salt" in line:
            seals.salts[line["kind"], line["type"], line["id"]] = bytes.fromhex(line["salt"])
        else:
            problems += _check_seal(line, previous)
            text = json.loads(line["seal"])
            previous = text[1], line["hash"]
            leaves = pieces(bytes.fromhex(line["leaves"]))
            secret, personal = bytes.fromhex(line["secret"]), frozenset(text[16])
            for event_id, sealed in zip(line["ids"], leaves, strict=True):
                seals.events[str(event_id)] = Sealed(sealed, secret, personal)
    if seals.header["archive"] != VERSION:
        raise ValueError(seals.header["archive"])
    return seals, problems


def _check_seal(line: dict[str, Any], previous: tuple[int, str] | None) -> Iterator[tuple[str, str]]:
    text = json.loads(line["seal"])
    subject = f"seal {text[1]}"
    if sha256(line["seal"].encode()).hexdigest() != line["hash"]:
        yield subject, "it was changed: its hash is another"
    if merkle_root(pieces(bytes.fromhex(line["leaves"]))).hex() != text[ROOT]:
        yield subject, "its list of leaves was changed: it has another root"
    if previous is not None and text[1] == previous[0] + 1 and text[PREVIOUS] != previous[1]:
        yield subject, "the chain is broken: it follows another seal than the one before it"


def _check_events(rows: Iterable[Row], seals: Seals) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for row in rows:
        event_id = str(row["id"])
        sealed = seals.events.get(event_id)
        if sealed is None:
            yield f"event {event_id}", "it is in no seal"
        elif event_id in seen:
            yield f"event {event_id}", "it is there twice"
        else:
            actor = seals.salts.get(("actor", str(row["actor_type"]), str(row["actor_id"])))
            resource = ("resource", str(row["resource_type"]), str(row["resource_id"]))
            person = seals.salts.get(resource) if row["resource_type"] in sealed.personal else None
            wrong = wrong_event(row, sealed.leaf, sealed.secret, actor, person, seals.erased.get(event_id, {}))
            if wrong is not None:
                yield f"event {event_id}", wrong
        seen.add(event_id)
    if len(seen) != seals.header["events"]:
        yield "events", f"there are {len(seen):,} of {seals.header['events']:,}"


def wrong_event(
    row: Row, sealed: bytes, secret: bytes, actor: bytes | None, person: bytes | None, kept: Mapping[str, Kept]
) -> str | None:
    """What does not match of an archived event; None: nothing.

    :param sealed: its leaf.
    :param secret: its seal's.
    :param actor, person: the salts of its actor, and of its resource where that tells of a person.
    """
    event = event_of(row)
    if leaf(event, secret, actor, person, kept) != sealed:
        return "it was changed"
    texts = event.texts() if kept else {}
    for part, known in kept.items():
        if known.salt is None and part in texts and not is_pseudonym(texts[part], part):
            return f"its {part} was changed under cover of an erasure"
    return None


def _events(data: Path) -> Iterator[Row]:
    if data.suffix == ".parquet":
        with TemporaryDirectory(prefix="pgtrail-") as folder, engine(Path(folder)) as reading:
            yield from named_rows(reading, "texts", file=str(data))
        return
    with data.open(newline="", encoding="utf-8") as lines:
        yield from _rows(lines)


def _rows(lines: Iterable[str]) -> Iterator[Row]:
    # A row of the log may be long.
    csv.field_size_limit(sys.maxsize)
    for row in csv.DictReader(lines, strict=True):
        yield {name: _cell(cell) for name, cell in row.items()}


def _cell(cell: str) -> str | None:
    if cell == NULL:
        return None
    return cell[1:] if cell.startswith("\\") else cell
