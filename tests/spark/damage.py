"""Copies of an archive with something wrong, and one file as large as those of a real month."""

import shutil
from pathlib import Path

import duckdb

from pgtrail.archive.engine import engine, run

COPIES = 80
"""Of each event, in the large file."""


def event_files(place: Path) -> list[Path]:
    """The files of events of an archive."""
    return sorted(place.glob("month=*/part=*/*.parquet"))


def without_a_file(place: Path, copy: Path) -> Path:
    """A copy that lacks a file of events."""
    shutil.copytree(place, copy)
    event_files(copy)[0].unlink()
    return copy


def with_a_value_changed(place: Path, copy: Path) -> Path:
    """A copy in which one event has one digit more."""
    shutil.copytree(place, copy)
    file = event_files(copy)[-1]
    with duckdb.connect() as writer:
        writer.execute("create table was as select * from read_parquet(?, hive_partitioning = false)", [str(file)])
        writer.execute(
            """
            update was set details = replace(details, '"rpm_limit": {"after": ', '"rpm_limit": {"after": 9')
            where id = (select min(id) from was where action = 'key.updated' and contains(details, '"rpm_limit": {'))
            """
        )
        writer.execute(f"copy was to '{file}' (format parquet)")
    return copy


def with_others_broken(place: Path, copy: Path, kept: Path) -> Path:
    """A copy in which all files of events but one are no Parquet."""
    shutil.copytree(place, copy)
    for file in event_files(copy):
        if file != copy / kept.relative_to(place):
            file.write_bytes(b"no Parquet")
    return copy


def large_file(place: Path, folder: Path) -> tuple[Path, int, int]:
    """Some hundred thousand events of other organizations, as an archive's file; its rows and its row groups."""
    folder.mkdir()
    file = folder / "large.parquet"
    with engine(folder) as writer:
        writer.execute(
            "create table event as "
            "select * exclude (month, part) replace (org_id || ' ' || copy as org_id), 0 as part "
            "from read_parquet($files, hive_partitioning = true), range($copies) as copies (copy)",
            {"files": [str(each) for each in event_files(place)], "copies": COPIES},
        )
        (rows,) = run(writer, "write_part", {"file": str(file)}, part=0).fetchone() or (0,)
        (groups,) = writer.execute(
            "select count(distinct row_group_id) from parquet_metadata($file)", {"file": str(file)}
        ).fetchone() or (0,)
    return file, rows, groups
