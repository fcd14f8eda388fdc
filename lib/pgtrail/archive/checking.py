"""Verifies archived months: recomputes their seals from the files, without a database."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from pgtrail.archive import manifest as manifests
from pgtrail.archive.engine import Engine, engine, named_rows, rows, run
from pgtrail.archive.location import Location
from pgtrail.archive.manifest import File, Manifest
from pgtrail.archive.reading import months_of
from pgtrail.errors import PgtrailError
from pgtrail.verify.anchor import find_manifests
from pgtrail.verify.canonical import Kept, event_of, leaf, merkle_root
from pgtrail.verify.erased import is_pseudonym

Problem = tuple[str, str]
"""Subject and what is wrong with it."""
PREVIOUS, ROOT = 19, 18
"""Positions in a seal's text."""
CHUNK_BYTES = 1 << 20


@dataclass(slots=True)
class Evidence:
    """What months know of each other.

    :param seals: by number the hash, and that of the seal before it.
    :param manifests: by name the SHA-256 that was recorded when the month was dropped.
    """

    seals: dict[int, tuple[str, str]] = field(default_factory=dict)
    manifests: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """What is checked, and what was found.

    :param evidence: complete once the problems have been gone through.
    """

    months: list[Manifest]
    evidence: Evidence
    problems: Iterator[Problem]


def check_archive(where: str, jobs: int, manifests: dict[str, set[str]] | None = None) -> Check:
    """All months of an archive, and the chain over them.

    :param manifests: the SHA-256 of manifests that are known from elsewhere.
    """
    location, months = months_of(where)
    evidence = Evidence(manifests=manifests or {})

    def problems() -> Iterator[Problem]:
        for month in months:
            with TemporaryDirectory(prefix="pgtrail-") as folder:
                yield from check_month(location, month, Path(folder), jobs=jobs, evidence=evidence)
        yield from _check_chain(evidence)
        for month in months:
            yield from _check_manifest(location, month, evidence)

    return Check(months, evidence, problems())


def check_month(
    location: Location, month: Manifest, folder: Path, *, jobs: int = 0, evidence: Evidence | None = None
) -> Iterator[Problem]:
    """What does not match in a month.

    :param folder: for what does not fit into memory.
    :param evidence: what the month says of others is added to it.
    """
    evidence = evidence or Evidence()
    changed = [problem for file in month.files for problem in _check_bytes(location, month, file)]
    yield from changed
    try:
        with engine(folder, jobs=jobs) as working:
            location.attach(working)
            yield from _check_seals(working, location, month, evidence)
            yield from _check_events(working, location, month, evidence)
    except (PgtrailError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        # A file that was changed may be unreadable.
        if changed:
            yield month.name, "the content of the files above can't be checked"
        elif isinstance(error, PgtrailError):
            raise
        else:
            raise PgtrailError(
                f"{month.name} is not an archive of pgtrail, or was cut off", "fetch it again"
            ) from error


def _check_bytes(location: Location, month: Manifest, file: File) -> Iterator[Problem]:
    try:
        with location.open(month.path(file)) as content:
            found = _digest(content)
    except FileNotFoundError:
        yield month.path(file), "it is missing"
        return
    if found != file.sha256:
        yield month.path(file), "it is not the file that was archived: its SHA-256 differs"


def _digest(content: IO[bytes]) -> str:
    found = sha256()
    while chunk := content.read(CHUNK_BYTES):
        found.update(chunk)
    return found.hexdigest()


def _uri(location: Location, month: Manifest, kind: str) -> str:
    (file,) = month.of_kind(kind)
    return location.uri(month.path(file))


def _check_seals(working: Engine, location: Location, month: Manifest, evidence: Evidence) -> Iterator[Problem]:
    roots = {}
    (file,) = month.of_kind(manifests.SEALS)
    with location.open(month.path(file)) as lines:
        for line in lines:
            kept = json.loads(line)
            text = json.loads(kept["seal"])
            number = text[1]
            subject = f"seal {number}"
            if sha256(kept["seal"].encode()).hexdigest() != kept["hash"] or number != kept["number"]:
                yield subject, "it was changed: its hash differs"
            roots[number] = text[ROOT]
            seal = kept["hash"], text[PREVIOUS]
            if evidence.seals.setdefault(number, seal) != seal:
                yield subject, "another month has a different seal of that number"
    leaves = rows(working, "leaves", leaves=_uri(location, month, manifests.LEAVES))
    for number, sealed in groupby(leaves, itemgetter(0)):
        root = merkle_root([bytes.fromhex(leaf) for _, _, leaf in sealed]).hex()
        if roots.pop(number, None) != root:
            yield f"seal {number}", "its list of leaves was changed: it has a different root"
    for number in roots:
        yield f"seal {number}", "its list of leaves is missing"


def _check_chain(evidence: Evidence) -> Iterator[Problem]:
    """Whether each seal follows the one before it, where both are there."""
    for number, (_, previous) in sorted(evidence.seals.items()):
        if evidence.seals.get(number - 1, (previous,))[0] != previous:
            yield f"seal {number}", "the chain is broken: it follows another seal than the one before it"


def _check_manifest(location: Location, month: Manifest, evidence: Evidence) -> Iterator[Problem]:
    """Whether it is the one that was recorded when the month was dropped, where that is known."""
    recorded = evidence.manifests.get(month.name)
    if recorded is not None:
        with location.open(month.name) as content:
            if _digest(content) not in recorded:
                yield month.name, "it is not what was recorded when the month was dropped: its SHA-256 differs"


def _check_events(working: Engine, location: Location, month: Manifest, evidence: Evidence) -> Iterator[Problem]:
    run(working, "known_seals", seals=_uri(location, month, manifests.SEALS))
    sealed = {kind: _uri(location, month, kind) for kind in (manifests.LEAVES, manifests.SALTS, manifests.ERASED)}
    files = [location.uri(month.path(file)) for file in month.of_kind(manifests.EVENTS)]
    bounds = {"begins": month.begins, "ends": month.ends, "parts": month.parts}
    for row in named_rows(working, "sealed_events", events=files, **bounds, **sealed):
        problem = _wrong_event(row)
        if problem is not None:
            yield f"event {row['id']}", problem
        elif row["action"] == "audit.partition_dropped" and row["node"] is None:
            for name, digests in find_manifests(row["after"] or "").items():
                evidence.manifests.setdefault(name, set()).update(digests)
    count, different = run(working, "count_events", events=files).fetchone() or (0, 0)
    if count != different:
        for (event_id,) in rows(working, "repeated_events", events=files):
            yield f"event {event_id}", "it is there twice"
    if different != month.events:
        yield "events", f"there are {different:,} of {month.events:,}"


def _wrong_event(row: dict[str, Any]) -> str | None:
    """What does not match of an event; None: nothing."""
    if row["leaf"] is None:
        return "it is in no seal"
    kept = {
        part["part"]: Kept(bytes.fromhex(part["commitment"]), part["salt"] and bytes.fromhex(part["salt"]))
        for part in row["kept"] or ()
    }
    actor, person, secret = (row[name] and bytes.fromhex(row[name]) for name in ("actor_salt", "person_salt", "secret"))
    event = event_of(row)
    if leaf(event, secret, actor, person, kept).hex() != row["leaf"]:
        return "it was changed"
    for part, text in event.texts().items() if kept else ():
        if part in kept and kept[part].salt is None and not is_pseudonym(text, part):
            return f"its {part} was changed under cover of an erasure"
    if not row["is_filed"]:
        # (A search for its time or its organization would not find it.)
        return "it is in the wrong file"
    return None
