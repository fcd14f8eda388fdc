"""Runs of the command line: by the fork server where that is the same, else by an interpreter of its own."""

import contextlib
import functools
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any

COMMAND = (sys.executable, "-m", "pgtrail_cli")
ENVIRONMENT = dict(os.environ)
"""The fork server's."""
READ_AT_THE_START = ("LANG", "LC_", "LD_", "OPENSSL_", "PSYCOPG", "PYTHON", "TZ")
"""Variables that an interpreter or what it imports reads once: a run with others of them starts one."""


class Run:
    """A run of the command, as a process that is not our child; with as much of subprocess.Popen as tests use."""

    def __init__(self, pid: int, status: io.FileIO, streams: list[IO[Any] | None], args: list[str]) -> None:
        self.pid = pid
        self.args = args
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = streams
        self._status = status

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """What it writes to its pipes until it ends. Give it little: nobody reads meanwhile."""
        with ThreadPoolExecutor(2) as readers:
            read = [readers.submit(stream.read) if stream else None for stream in (self.stdout, self.stderr)]
            if self.stdin:
                with contextlib.suppress(BrokenPipeError), self.stdin as stdin:
                    stdin.write(input)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        for stream in filter(None, (self.stdout, self.stderr)):
            stream.close()
        out, err = (future.result() if future else None for future in read)
        return out, err


def start(
    *arguments: str | Path, env: Mapping[str, str] | None = None, text: bool = False, **streams: Any
) -> Run | subprocess.Popen[Any]:
    """Start the command. ``stdin``, ``stdout`` and ``stderr`` are as for subprocess.Popen."""
    given, environment = list(map(str, arguments)), dict(os.environ if env is None else env)
    if _read_at_the_start(environment) != _read_at_the_start(ENVIRONMENT):
        return subprocess.Popen([*COMMAND, *given], env=environment, text=text, **streams)
    told, tell = os.pipe()
    ours, theirs = zip(*(_ends(number, streams.get(name), text) for number, name in enumerate(NAMES)), strict=True)
    umask = os.umask(0)
    os.umask(umask)
    request = {"arguments": given, "environment": environment, "folder": os.getcwd(), "umask": umask}
    socket.send_fds(_fork_server()[1], [json.dumps(request).encode()], [*(fd for fd, _ in theirs), tell])
    for descriptor in (tell, *(fd for fd, is_ours in theirs if is_ours)):
        os.close(descriptor)
    status = io.FileIO(told)
    return Run(int(status.readline()), status, list(ours), given)


def run(
    *arguments: str | Path, input: str = "", timeout: float = 120, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    process = start(*arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, **options)
    try:
        out, err = process.communicate(input, timeout=timeout)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def end_fork_server() -> None:
    """Call as the tests end."""
    if _fork_server.cache_info().currsize:
        server, control = _fork_server()
        control.close()
        server.wait()


NAMES = ("stdin", "stdout", "stderr")


def _ends(number: int, wanted: Any, text: bool) -> tuple[IO[Any] | None, tuple[int, bool]]:
    """Our end of a stream if it is a pipe, and its end; whether that is to be closed here."""
    if wanted is None:
        return None, (number, False)
    if wanted == DEVNULL:
        return None, (os.open(os.devnull, os.O_RDWR), True)
    if wanted != PIPE:
        return None, (wanted if isinstance(wanted, int) else wanted.fileno(), False)
    reading, writing = os.pipe()
    ours, theirs = (writing, reading) if number == 0 else (reading, writing)
    return open(ours, ("w" if number == 0 else "r") + ("" if text else "b")), (theirs, True)


def _read_at_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_THE_START)}


@functools.cache
def _fork_server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=theirs, stdout=DEVNULL, env=ENVIRONMENT,
            # Ctrl-C in the terminal is for the tests.
            start_new_session=True,
        )  # fmt: skip
    return server, ours
