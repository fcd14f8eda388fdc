"""Ends a process when its parent does, however that ends: for servers and workers that must not be left behind.

The parent keeps one end of a pipe. It is closed on purpose after a clean stop, and by the system when the parent is
killed; the guard at the other end then sends SIGINT and, if that does not help in time, SIGQUIT.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 30.0


class Guard:
    """Watches over one process on behalf of this one, from before it is started."""

    def __init__(self) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal must not end it before its charge.
            start_new_session=True,
        )

    def watch(self, pid: int, folder: Path | None = None) -> None:
        """Say whom to end, and which folder to remove then."""
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{pid}\n{folder or ''}\n".encode())
        self._guard.stdin.flush()

    def dismiss(self) -> None:
        """Call when the process has ended."""
        assert self._guard.stdin is not None
        # Ended by force: at the end of the pipe it would signal a process id that may be another's by now.
        self._guard.kill()
        self._guard.stdin.close()
        self._guard.wait()


def _watch() -> None:
    pid, folder = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    sys.stdin.read()
    if pid:
        _end(int(pid))
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.1)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGQUIT)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    _watch()
