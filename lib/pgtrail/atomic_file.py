"""Files that appear only when they are complete."""

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
    """A file that gets its name once it is complete and on disk; if that fails, nothing is left.

    A device or a pipe is written to directly. A file that is replaced keeps its mode and owner.

    :param private: a new file is readable by its owner only.
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
    """Take over the mode and owner of the file that is replaced; for a new file, apply the umask."""
    if before is not None:
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        return
    # The umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(descriptor, 0o666 & ~mask)


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents, accessible to their owner only."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
