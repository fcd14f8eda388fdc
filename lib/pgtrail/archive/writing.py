"""Writes a spooled month to Parquet files, and stores them."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

from pgtrail.archive import manifest as manifests
from pgtrail.archive.engine import Engine, engine, run, spooled
from pgtrail.archive.location import Location
from pgtrail.archive.manifest import EVENTS_A_PART, File, Manifest, number_of_parts, parse, stem_of
from pgtrail.archive.spool import Spool, Spooled
from pgtrail.errors import PgtrailError


def write_month(
    spool: Spool, location: Location, folder: Path, *, jobs: int = 0, events_a_part: int = EVENTS_A_PART
) -> tuple[Manifest, bytes]:
    """Write a month, its manifest last; that, and its SHA-256.

    :param folder: for temporary files.
    :param events_a_part: about how many are in a file.
    """
    manifest = Manifest(
        partition=spool.month.partition,
        begins=spool.month.begins,
        ends=spool.month.ends,
        events=spool.events.rows,
        first_id=spool.month.first_id,
        last_id=spool.month.last_id,
        log=spool.log,
        categories=spool.categories,
        parts=number_of_parts(spool.events.rows, events_a_part),
        files=[],
    )
    _check_is_ours(location, manifest)
    stem = stem_of(manifest.partition)
    location.clear(manifest.folder, stem)
    with engine(folder, jobs=jobs) as working:
        for file, source in _files(working, spool, manifest, folder, stem):
            location.put(source, manifest.path(file))
            manifest.files.append(file)
            source.unlink()
    complete = folder / "manifest.json"
    complete.write_bytes(manifests.serialize(manifest))
    location.put(complete, manifest.name)
    return manifest, _digest(complete)


def _check_is_ours(location: Location, manifest: Manifest) -> None:
    """Only what an earlier run left of the same month may be replaced."""
    if manifest.name not in location.manifests():
        return
    with location.open(manifest.name) as content:
        try:
            left = parse(content.read())
        except ValueError:
            left = None
    if left is None or (left.log, left.first_id) != (manifest.log, manifest.first_id):
        raise PgtrailError(
            f"{manifest.name} exists already, with other events", "choose another location for this database's archive"
        )


def _files(working: Engine, spool: Spool, manifest: Manifest, folder: Path, stem: str) -> Iterator[tuple[File, Path]]:
    """Each file as it is written."""
    run(working, "sort_events", parts=manifest.parts, **_given(spool.events))
    spool.events.file.unlink()
    digits = len(str(manifest.parts - 1))
    for part in range(manifest.parts):
        made = folder / f"{part}.parquet"
        (rows,) = run(working, "write_part", {"file": str(made)}, part=part).fetchone() or (0,)
        if rows or manifest.parts == 1:
            name = f"part={part:0{digits}}/{stem}.parquet"
            yield replace(_file(made, name, manifests.EVENTS, rows), part=part), made
    for kind, copied in (
        (manifests.LEAVES, spool.leaves),
        (manifests.SALTS, spool.salts),
        (manifests.ERASED, spool.erased),
    ):
        made = folder / f"{kind}.parquet"
        run(working, "write_table", {"file": str(made)}, **_given(copied))
        copied.file.unlink()
        yield _file(made, f"_{stem}.{kind}.parquet", kind, copied.rows), made
    yield _file(spool.seals, f"_{stem}.seals.jsonl", manifests.SEALS, spool.sealed), spool.seals


def _given(copied: Spooled) -> dict[str, Any]:
    return spooled(copied.file, {column.name: column.type for column in copied.columns}, copied.max_row_bytes)


def _file(source: Path, name: str, kind: str, rows: int) -> File:
    return File(name, kind, rows, source.stat().st_size, _digest(source).hex())


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return file_digest(content, "sha256").digest()
