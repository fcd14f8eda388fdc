"""The data folder of an embedded server, which the server's user owns."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from pgtrail.errors import ServerError
from pgtrail.server.server_user import ServerUser, server_user


class DataFolder:
    """A folder for one server.

    :raises ServerError: from each method, with the reason and a hint; nothing was changed.
    """

    def __init__(self, path: Path, user: ServerUser) -> None:
        self.path = path.resolve()
        self._user = user

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self.path / "postgres.log"

    def holds_database(self) -> bool:
        """Whether the folder holds a database; false where it is missing or empty."""
        if not self._user.can_reach(self.path):
            raise ServerError(
                f"the user {self._user.name}, as whom the server runs, can't reach {self.path}",
                "choose a folder below /var/lib or /tmp with --data-dir",
            )
        try:
            if (self.path / "PG_VERSION").exists():
                return True
            if not self.path.exists() or not any(self.path.iterdir()):
                return False
        except OSError as error:
            raise self._unusable(error) from error
        raise ServerError(f"{self.path} is not empty and is not a database", "choose another folder with --data-dir")

    def _unusable(self, error: OSError) -> ServerError:
        return ServerError(
            f"can't keep a database in {self.path}: {(error.strerror or str(error)).lower()}",
            "choose another folder with --data-dir",
        )

    def fill(self, initdb: Callable[[Path], None]) -> None:
        """Create the database in a temporary folder and rename that, so that it is never half created."""
        unfinished: Path | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
            self._user.own(unfinished)
            initdb(unfinished)
            unfinished.rename(self.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise self._unusable(error) from error
        finally:
            if unfinished is not None:
                shutil.rmtree(unfinished, ignore_errors=True)

    def check(self, major: int) -> None:
        """Raise unless a server of this major version can use it now."""
        made_by = (self.path / "PG_VERSION").read_text().strip()
        if made_by != str(major):
            raise ServerError(
                f"{self.path} was created by PostgreSQL {made_by}, and this server is {major}",
                f"choose another folder with --data-dir, or set PGTRAIL_PG_BIN to the binaries of {made_by}",
            )
        pid = living_postmaster(self.path)
        if pid is not None:
            raise ServerError(
                f"a server (process {pid}) is already using {self.path}",
                "stop it, or choose another folder with --data-dir",
            )

    def open_log(self) -> int:
        """Open the log for appending; never a link or a pipe that the server's user may have put there."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            log = os.open(self.log_file, flags, 0o600)
        except OSError as error:
            raise ServerError(
                f"can't write {self.log_file}: {(error.strerror or str(error)).lower()}", "remove it"
            ) from error
        status = os.fstat(log)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return log
        os.close(log)
        raise ServerError(f"{self.log_file} is not a regular file", "remove it")


def living_postmaster(data_dir: Path) -> int | None:
    """The process that uses the folder; None if there is none, though a crash may have left its file."""
    try:
        pid = int((data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return None
    try:
        # A postmaster works in its data folder.
        return pid if Path(f"/proc/{pid}/cwd").samefile(data_dir) else None
    except PermissionError:
        return pid
    except OSError:
        return None if Path("/proc/self").exists() else pid


def default_data_dir() -> Path:
    """The user's data folder or, for root, one that the server's user can reach."""
    folder = platformdirs.user_data_path("pgtrail")
    return folder if server_user().can_reach(folder) else Path("/var/lib/pgtrail")
