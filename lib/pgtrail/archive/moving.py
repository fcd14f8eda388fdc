"""Moves a month to an archive: written, read back, verified, then dropped from the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import psycopg

from pgtrail.archive import QUERIES
from pgtrail.archive.checking import check_month
from pgtrail.archive.location import Location
from pgtrail.archive.manifest import EVENTS_A_PART
from pgtrail.archive.spool import log_identity, spool
from pgtrail.archive.writing import write_month
from pgtrail.connection import Connection
from pgtrail.errors import PgtrailError

ATTEMPTS = 5
"""To drop a month while others use the log."""


class OldMonth(NamedTuple):
    """A month that is old enough to be dropped, and the reasons to keep it; none: it can be dropped."""

    partition: str
    begins: datetime
    events: int
    kept_because: list[str]


@dataclass(frozen=True, slots=True)
class Target:
    """Where months are archived.

    :param temp: a folder for temporary files.
    :param jobs: threads; 0: one for each processor.
    :param events_a_part: about how many are in a file.
    """

    location: Location
    temp: Path
    jobs: int
    events_a_part: int = EVENTS_A_PART


def old_months(connection: Connection, before: datetime | None, include_undelivered: bool = False) -> list[OldMonth]:
    """The months that are old enough, the oldest first.

    :param before: those that end by then; None: by the retention settings.
    """
    rows = connection.execute(QUERIES["retention_plan"], {"before": before, "include_undelivered": include_undelivered})
    return [OldMonth(*row) for row in rows]


def lock_archiving(connection: Connection) -> None:
    """Until the session ends.

    :raises PgtrailError: another run has the lock.
    """
    if connection.execute(QUERIES["try_archiving"]).fetchone() != (True,):
        raise PgtrailError("another archive of this database is being written", "wait until that is finished")


def drop_month(
    connection: Connection,
    partition: str,
    target: Target | None,
    *,
    before: datetime | None,
    include_undelivered: bool = False,
) -> str | None:
    """Drop a month, archived and verified first; the name of its manifest.

    :param target: None: it is dropped without an archive.
    :raises PgtrailError: its archive can't be written, or does not verify.
    """
    name, digest, events = (None, None, None) if target is None else _archive(connection, partition, target)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            connection.call("audit.drop_partition", partition, name, digest, include_undelivered, before, events)
            break
        except psycopg.errors.LockNotAvailable:
            if attempt == ATTEMPTS:
                raise
    return name


def _archive(connection: Connection, partition: str, target: Target) -> tuple[str, bytes, int]:
    """The name of the manifest, its SHA-256, and how many events were archived."""
    log, _ = log_identity(connection)
    with working_directory(target.temp, log) as folder:
        copied = spool(connection, partition, folder)
        month, digest = write_month(
            copied, target.location, folder, jobs=target.jobs, events_a_part=target.events_a_part
        )
    with working_directory(target.temp, log) as folder:
        for problem in check_month(target.location, month, folder, jobs=target.jobs):
            raise PgtrailError(
                f"the archive of {partition} does not verify: {': '.join(problem)}",
                "find out why with pgtrail verify; nothing was dropped",
            )
    return month.name, digest, month.events


@contextmanager
def working_directory(folder: Path, log: str) -> Iterator[Path]:
    """A temporary folder, one per log, so that what a killed run left there is removed."""
    directory = folder / f"pgtrail-archive-{log[:16] or 'new'}"
    try:
        if directory.exists():
            rmtree(directory)
        directory.mkdir(mode=0o700)
    except OSError as error:
        raise PgtrailError(f"can't create {directory}", "use another folder: --temp") from error
    try:
        yield directory
    finally:
        rmtree(directory, ignore_errors=True)
