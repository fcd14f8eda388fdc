"""A month of the log in two files: its events, and the seals over them, so that both can be verified alone.

``NAME.csv`` (or ``.parquet``) has a column for each of ``audit.event``, each cell as Postgres writes it; null is
``\\N``, and a cell that begins with a backslash has another one before it. ``NAME.seals.jsonl`` has a header, then
salts, erased parts and seals, one JSON object a line.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pgtrail_cli.canonical import Row, actor_part, commitment, leaf, merkle_root, rows_part
from pgtrail_cli.cold.engine import engine, named_rows, run, spooled
from pgtrail_cli.errors import PgtrailError

VERSION = "pgtrail archive 1"
DIGEST_BYTES = 32
NULL = "\\N"


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event's place in the chain."""

    leaf: bytes
    personal: frozenset[str]


@dataclass(slots=True)
class Seals:
    """What a file of seals says.

    :param salts: by kind, type and id.
    :param erased: commitments by event id and part.
    """

    header: dict[str, Any] = field(default_factory=dict)
    salts: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    erased: dict[tuple[str, str], bytes] = field(default_factory=dict)
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
        elif "salt" in line:
            seals.salts[line["kind"], line["type"], line["id"]] = bytes.fromhex(line["salt"])
        elif "erased" in line:
            seals.erased[str(line["erased"]), line["part"]] = bytes.fromhex(line["commitment"])
        else:
            problems += _check_seal(line, previous)
            text = json.loads(line["seal"])
            previous = text[1], line["hash"]
            leaves = _pieces(line["leaves"])
            personal = frozenset(text[16])
            for event_id, sealed in zip(line["ids"], leaves, strict=True):
                seals.events[str(event_id)] = Sealed(sealed, personal)
    if seals.header["archive"] != VERSION:
        raise ValueError(seals.header["archive"])
    return seals, problems


def _check_seal(line: dict[str, Any], previous: tuple[int, str] | None) -> Iterator[tuple[str, str]]:
    text = json.loads(line["seal"])
    subject = f"seal {text[1]}"
    if sha256(line["seal"].encode()).hexdigest() != line["hash"]:
        yield subject, "it was changed: its hash is another"
    if merkle_root(_pieces(line["leaves"])).hex() != text[17]:
        yield subject, "its list of leaves was changed: it has another root"
    if previous is not None and text[1] == previous[0] + 1 and text[18] != previous[1]:
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
        elif leaf(row, _committed(row, "actor", seals, sealed), _committed(row, "rows", seals, sealed)) != sealed.leaf:
            yield f"event {event_id}", "it was changed"
        seen.add(event_id)
    if len(seen) != seals.header["events"]:
        yield "events", f"there are {len(seen):,} of {seals.header['events']:,}"


def _committed(row: Row, part: str, seals: Seals, sealed: Sealed) -> bytes:
    kept = seals.erased.get((str(row["id"]), part))
    if kept is not None:
        return kept
    if part == "actor":
        return commitment(
            seals.salts.get(("actor", str(row["actor_type"]), str(row["actor_id"])), b""), actor_part(row)
        )
    salted = row["resource_type"] in sealed.personal
    salt = seals.salts.get(("resource", str(row["resource_type"]), str(row["resource_id"])), b"") if salted else b""
    return commitment(salt, rows_part(row))


def _pieces(digests: str) -> list[bytes]:
    whole = bytes.fromhex(digests)
    return [whole[place : place + DIGEST_BYTES] for place in range(0, len(whole), DIGEST_BYTES)]


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
