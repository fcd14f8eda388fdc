"""Whether an archived month is what was sealed: computed anew from its files, without a database."""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from pgtrail_cli.archive import wrong_event
from pgtrail_cli.canonical import Kept, merkle_root
from pgtrail_cli.cold import manifest as manifests
from pgtrail_cli.cold.engine import Engine, engine, named_rows, rows, run
from pgtrail_cli.cold.manifest import File, Manifest
from pgtrail_cli.cold.place import Place
from pgtrail_cli.errors import PgtrailError

Problem = tuple[str, str]
"""Subject and what is wrong with it."""
Chain = dict[int, tuple[str, str]]
"""By a seal's number its hash, and that of the seal that it follows."""
PREVIOUS, ROOT = 19, 18
"""Places in a seal's text."""
PIECE = 1 << 20


def check_month(
    place: Place, month: Manifest, folder: Path, *, jobs: int = 0, chain: Chain | None = None, only: File | None = None
) -> Iterator[Problem]:
    """What does not match in a month, or in one of its files of events.

    :param folder: for what does not fit into memory.
    :param chain: its seals are added to it.
    """
    events = month.of_kind(manifests.EVENTS) if only is None else [only]
    beside = [file for file in month.files if file.kind != manifests.EVENTS]
    changed = [problem for file in (*events, *beside) for problem in _check_bytes(place, month, file)]
    yield from changed
    try:
        with engine(folder, jobs=jobs) as working:
            place.attach(working)
            yield from _check_seals(working, place, month, {} if chain is None else chain)
            yield from _check_events(working, place, month, events)
    except (PgtrailError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        # A file that was changed may be none that can be read.
        if not changed:
            raise _no_archive(month) if not isinstance(error, PgtrailError) else error from error
        yield month.name, "what is in the files above can't be checked"


def _no_archive(month: Manifest) -> PgtrailError:
    return PgtrailError(f"{month.name} is of no archive of pgtrail, or was cut off", "fetch it again")


def _check_bytes(place: Place, month: Manifest, file: File) -> Iterator[Problem]:
    try:
        with place.open(month.path(file)) as content:
            found = _digest(content)
    except FileNotFoundError:
        yield month.path(file), "it is missing"
        return
    if found != file.sha256:
        yield month.path(file), "it is not the file that was archived: its SHA-256 is another"


def _digest(content: IO[bytes]) -> str:
    found = sha256()
    while piece := content.read(PIECE):
        found.update(piece)
    return found.hexdigest()


def _one(place: Place, month: Manifest, kind: str) -> str:
    (file,) = month.of_kind(kind)
    return place.uri(month.path(file))


def _check_seals(working: Engine, place: Place, month: Manifest, chain: Chain) -> Iterator[Problem]:
    roots = {}
    (file,) = month.of_kind(manifests.SEALS)
    with place.open(month.path(file)) as lines:
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
    leaves = rows(working, "leaves", leaves=_one(place, month, manifests.LEAVES))
    for number, sealed in groupby(leaves, itemgetter(0)):
        root = merkle_root([bytes.fromhex(leaf) for _, _, leaf in sealed]).hex()
        if roots.pop(number, None) != root:
            yield f"seal {number}", "its list of leaves was changed: it has another root"
    for number in roots:
        yield f"seal {number}", "its list of leaves is missing"


def check_chain(chain: Chain) -> Iterator[Problem]:
    """Whether each seal follows the one before it, where both are there."""
    for number, (_, previous) in sorted(chain.items()):
        if number - 1 in chain and chain[number - 1][0] != previous:
            yield f"seal {number}", "the chain is broken: it follows another seal than the one before it"


def _wrong_event(row: dict[str, Any]) -> str | None:
    if row["leaf"] is None:
        return "it is in no seal"
    kept = {
        field["part"]: Kept(bytes.fromhex(field["commitment"]), field["salt"] and bytes.fromhex(field["salt"]))
        for field in row["kept"] or ()
    }
    actor, person, secret = (row[name] and bytes.fromhex(row[name]) for name in ("actor_salt", "person_salt", "secret"))
    problem = wrong_event(row, bytes.fromhex(row["leaf"]), secret, actor, person, kept)
    if problem is None and not row["is_filed"]:
        # (Where nobody who asks for its time or its organization would find it.)
        return "it is in the wrong file"
    return problem


def _check_events(working: Engine, place: Place, month: Manifest, events: list[File]) -> Iterator[Problem]:
    run(working, "known_seals", seals=_one(place, month, manifests.SEALS))
    beside = {kind: _one(place, month, kind) for kind in (manifests.LEAVES, manifests.SALTS, manifests.ERASED)}
    files = [place.uri(month.path(file)) for file in events]
    bounds = {"begins": month.begins, "ends": month.ends, "parts": month.parts}
    for row in named_rows(working, "sealed_events", events=files, **bounds, **beside):
        problem = _wrong_event(row)
        if problem is not None:
            yield f"event {row['id']}", problem
    count, different = run(working, "count_events", events=files).fetchone() or (0, 0)
    if count != different:
        for (event_id,) in rows(working, "repeated_events", events=files):
            yield f"event {event_id}", "it is there twice"
    expected = month.events if len(events) != 1 or month.parts == 1 else events[0].rows
    if different != expected:
        yield "events", f"there are {different:,} of {expected:,}"
