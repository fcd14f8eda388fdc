"""The user that the server runs as: Postgres refuses to run as root, so root runs it as another user."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The server's user; ``switch`` if it is not the current one."""

    name: str
    uid: int
    gid: int
    switch: bool

    def process_arguments(self) -> dict[str, Any]:
        """What subprocess needs to run a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def own(self, path: Path) -> None:
        """Give the user a file or folder, as far as that is needed."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the user can go through every folder above the path; folders that are missing count as passable."""
        return not self.switch or all(self._has(parent, 0o1) for parent in path.absolute().parents if parent.exists())

    def can_read(self, path: Path) -> bool:
        """Whether the user can reach and read the path."""
        return self.can_reach(path) and (not self.switch or self._has(path, 0o4))

    def _has(self, path: Path, bit: int) -> bool:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & bit)


def server_user() -> ServerUser:
    """The current user; for root the user ``postgres``, else ``nobody``."""
    if os.geteuid() != 0:
        return ServerUser(str(os.geteuid()), os.geteuid(), os.getegid(), switch=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name, entry.pw_uid, entry.pw_gid, switch=True)
    return ServerUser("65534", 65534, 65534, switch=True)
