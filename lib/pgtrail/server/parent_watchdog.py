"""Ends a server or a worker when the process that started it ends, even if that is killed.

The parent keeps one end of a pipe. It is closed on purpose after a clean stop, and by the system when the parent is
killed; the watchdog at the other end then sends SIGINT and, if that does not help in time, SIGQUIT.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 30.0


class ParentWatchdog:
    """Ends one process when this one ends. Create it before that process is started."""

    def __init__(self) -> None:
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal must not end it before the process that it watches.
            start_new_session=True,
        )

    def watch(self, pid: int, folder: Path | None = None) -> None:
        """Say which process to end, and which folder to remove then."""
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{pid}\n{folder or ''}\n".encode())
        self._watchdog.stdin.flush()

    def dismiss(self) -> None:
        """Call when the process has ended."""
        assert self._watchdog.stdin is not None
        # Killed: at the end of the pipe it would signal a process id that may have been reused.
        self._watchdog.kill()
        self._watchdog.stdin.close()
        self._watchdog.wait()


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
