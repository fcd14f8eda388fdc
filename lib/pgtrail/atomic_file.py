"""Files that are there when they are complete, and not before."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pgtrail.errors import PgtrailError


@contextlib.contextmanager
def atomic_file(file: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is complete and safely on disk; otherwise nothing is left.

    A device or a pipe is written to as it is. Mode and owner of a file that is replaced stay.

    :param private: a new one is for its owner alone.
    """
    part: Path | None = None
    try:
        target = file.resolve()
        before = target.stat() if target.exists() else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            with target.open("wb") as output:
                yield output
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        part = Path(name)
        with os.fdopen(descriptor, "wb") as output:
            yield output
            if before is not None or not private:
                _inherit(descriptor, before)
            output.flush()
            os.fsync(descriptor)
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise PgtrailError(
            f"can't write {file}: {(error.strerror or str(error)).lower()}",
            "choose a folder that exists, that you may write to and that has room",
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _inherit(descriptor: int, before: os.stat_result | None) -> None:
    """Mode and owner of the file that was there; for a new one what the umask leaves."""
    if before is not None:
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        return
    # There is no other way to ask for it.
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(descriptor, 0o666 & ~mask)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
