"""Whether archived months are what was sealed: computed anew from their files, without a database."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from pgtrail_cli.archive import manifest as manifests
from pgtrail_cli.archive.engine import Engine, engine, named_rows, rows, run
from pgtrail_cli.archive.location import Location
from pgtrail_cli.archive.manifest import File, Manifest
from pgtrail_cli.archive.reading import months_of
from pgtrail_cli.canonical import Kept, event_of, leaf, merkle_root
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.verify.erased import is_pseudonym

Problem = tuple[str, str]
"""Subject and what is wrong with it."""
Chain = dict[int, tuple[str, str]]
"""By a seal's number its hash, and that of the seal that it follows."""
PREVIOUS, ROOT = 19, 18
"""Positions in a seal's text."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """What is checked, and what was found.

    :param chain: the seals, by number; complete once the problems have been gone through.
    """

    events: int
    months: int
    chain: Chain
    problems: Iterator[Problem]


def check_archive(where: str, jobs: int) -> Check:
    """All months of an archive, and the chain over them."""
    location, months = months_of(where)
    chain: Chain = {}

    def problems() -> Iterator[Problem]:
        for month in months:
            with TemporaryDirectory(prefix="pgtrail-") as folder:
                yield from check_month(location, month, Path(folder), jobs=jobs, chain=chain)
        yield from _check_chain(chain)

    return Check(sum(month.events for month in months), len(months), chain, problems())


def check_month(
    location: Location, month: Manifest, folder: Path, *, jobs: int = 0, chain: Chain | None = None
) -> Iterator[Problem]:
    """What does not match in a month.

    :param folder: for what does not fit into memory.
    :param chain: its seals are added to it.
    """
    changed = [problem for file in month.files for problem in _check_bytes(location, month, file)]
    yield from changed
    try:
        with engine(folder, jobs=jobs) as working:
            location.attach(working)
            yield from _check_seals(working, location, month, {} if chain is None else chain)
            yield from _check_events(working, location, month)
    except (PgtrailError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        # A file that was changed may be unreadable.
        if changed:
            yield month.name, "what is in the files above can't be checked"
        elif isinstance(error, PgtrailError):
            raise
        else:
            raise PgtrailError(f"{month.name} is of no archive of pgtrail, or was cut off", "fetch it again") from error


def _check_bytes(location: Location, month: Manifest, file: File) -> Iterator[Problem]:
    try:
        with location.open(month.path(file)) as content:
            found = _digest(content)
    except FileNotFoundError:
        yield month.path(file), "it is missing"
        return
    if found != file.sha256:
        yield month.path(file), "it is not the file that was archived: its SHA-256 is another"


def _digest(content: IO[bytes]) -> str:
    found = sha256()
    while chunk := content.read(CHUNK_BYTES):
        found.update(chunk)
    return found.hexdigest()


def _uri(location: Location, month: Manifest, kind: str) -> str:
    (file,) = month.of_kind(kind)
    return location.uri(month.path(file))


def _check_seals(working: Engine, location: Location, month: Manifest, chain: Chain) -> Iterator[Problem]:
    roots = {}
    (file,) = month.of_kind(manifests.SEALS)
    with location.open(month.path(file)) as lines:
        for line in lines:
            kept = json.loads(line)
            text = json.loads(kept["seal"])
            number = text[1]
            subject = f"seal {number}"
            if sha256(kept["seal"].encode()).hexdigest() != kept["hash"] or number != kept["number"]:
                yield subject, "it was changed: its hash is another"
            roots[number] = text[ROOT]
            if chain.setdefault(number, (kept["hash"], text[PREVIOUS])) != (kept["hash"], text[PREVIOUS]):
                yield subject, "another month has another seal of that number"
    leaves = rows(working, "leaves", leaves=_uri(location, month, manifests.LEAVES))
    for number, sealed in groupby(leaves, itemgetter(0)):
        root = merkle_root([bytes.fromhex(leaf) for _, _, leaf in sealed]).hex()
        if roots.pop(number, None) != root:
            yield f"seal {number}", "its list of leaves was changed: it has another root"
    for number in roots:
        yield f"seal {number}", "its list of leaves is missing"


def _check_chain(chain: Chain) -> Iterator[Problem]:
    """Whether each seal follows the one before it, where both are there."""
    for number, (_, previous) in sorted(chain.items()):
        if number - 1 in chain and chain[number - 1][0] != previous:
            yield f"seal {number}", "the chain is broken: it follows another seal than the one before it"


def _check_events(working: Engine, location: Location, month: Manifest) -> Iterator[Problem]:
    run(working, "known_seals", seals=_uri(location, month, manifests.SEALS))
    evidence = {kind: _uri(location, month, kind) for kind in (manifests.LEAVES, manifests.SALTS, manifests.ERASED)}
    files = [location.uri(month.path(file)) for file in month.of_kind(manifests.EVENTS)]
    bounds = {"begins": month.begins, "ends": month.ends, "parts": month.parts}
    for row in named_rows(working, "sealed_events", events=files, **bounds, **evidence):
        problem = _wrong_event(row)
        if problem is not None:
            yield f"event {row['id']}", problem
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
        field["part"]: Kept(bytes.fromhex(field["commitment"]), field["salt"] and bytes.fromhex(field["salt"]))
        for field in row["kept"] or ()
    }
    actor, person, secret = (row[name] and bytes.fromhex(row[name]) for name in ("actor_salt", "person_salt", "secret"))
    event = event_of(row)
    if leaf(event, secret, actor, person, kept).hex() != row["leaf"]:
        return "it was changed"
    for part, text in event.fields() if kept else ():
        if part in kept and kept[part].salt is None and not is_pseudonym(text, part):
            return f"its {part} was changed under cover of an erasure"
    if not row["is_filed"]:
        # (Where nobody who asks for its time or its organization would find it.)
        return "it is in the wrong file"
    return None
