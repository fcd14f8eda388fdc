"""Where archives are stored: in a folder, or in the S3-compatible store of s3.py."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from pgtrail.archive.engine import Engine
from pgtrail.archive.manifest import SUFFIX
from pgtrail.atomic_file import atomic_file, make_private
from pgtrail.errors import PgtrailError

S3 = "s3://"


class Location(Protocol):
    """Files by their names, which have slashes."""

    def manifests(self) -> list[str]:
        """The names of all manifests, sorted."""

    def open(self, name: str) -> IO[bytes]:
        """A file, to be read."""

    def put(self, file: Path, name: str) -> None:
        """Store a file, which appears only when it is complete."""

    def clear(self, folder: str, stem: str) -> None:
        """Remove the files of a partition: its manifest first."""

    def uri(self, name: str) -> str:
        """The name of a file for DuckDB."""

    def attach(self, engine: Engine) -> None:
        """Let DuckDB read files here."""


def find_location(where: str) -> Location:
    """The location of that name: a folder, or `s3://BUCKET/PREFIX`.

    :raises PgtrailError: it does not exist, or an extra is not installed.
    """
    if where.startswith(S3):
        from pgtrail.archive.s3 import Store

        return Store(where.removeprefix(S3).rstrip("/"))
    if not Path(where).is_dir():
        raise PgtrailError(f"there is no folder {where}", "create it first, or write s3://BUCKET/PREFIX")
    return Folder(Path(where))


class Folder:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def manifests(self) -> list[str]:
        return sorted(str(file.relative_to(self.root)) for file in self.root.glob(f"month=*/*{SUFFIX}"))

    def open(self, name: str) -> IO[bytes]:
        return (self.root / name).open("rb")

    def put(self, file: Path, name: str) -> None:
        target = self.root / name
        try:
            make_private(target.parent)
        except OSError as error:
            raise PgtrailError(f"can't write {target}", "choose a folder that you may write to") from error
        with file.open("rb") as source, atomic_file(target, private=True) as output:
            shutil.copyfileobj(source, output, 1 << 20)

    def clear(self, folder: str, stem: str) -> None:
        month = self.root / folder
        (month / f"_{stem}{SUFFIX}").unlink(missing_ok=True)
        # (And what a killed run left unfinished.)
        for pattern in (f"_{stem}.*", f"._{stem}.*.part", f"part=*/{stem}.parquet", f"part=*/.{stem}.parquet.*.part"):
            for file in month.glob(pattern):
                file.unlink(missing_ok=True)
        for part in month.glob("part=*"):
            with suppress(OSError):
                part.rmdir()

    def uri(self, name: str) -> str:
        return str(self.root / name)

    def attach(self, engine: Engine) -> None:
        pass
