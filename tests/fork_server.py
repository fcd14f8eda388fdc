"""Forks the command line, imported once, for each run that a test asks for: a start then costs a twentieth.

A program of its own, which `tests.command` starts. Its standard input is a socket; each message is a request as JSON
with four descriptors: the run's three streams, and a pipe which hears the run's process id, as soon as it is one of
its own, and later its status.
What is forked runs `python -m pgtrail_cli` to the end of the interpreter, with nothing of this process left open.
"""

import atexit
import contextlib
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from importlib import import_module
from typing import Any

from pgtrail_cli.main import MODULES

LATER = (
    "anyio._backends._asyncio",
    "asyncio",
    "encodings.idna",
    "httpcore._async.http11",
    "jinja2.ext",
    "psycopg_pool",
    "uvicorn.lifespan.on",
    "uvicorn.logging",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.h11_impl",
)
"""What the commands' packages import only when they run."""


def main() -> None:
    for module in MODULES.values():
        import_module(f"pgtrail_cli.commands.{module}")
    for module in LATER:
        import_module(module)
    assert threading.active_count() == 1 == len(os.listdir("/proc/self/task")), "a thread does not come with a fork"
    # The collector would write into every page that is shared.
    gc.collect()
    gc.freeze()
    request, descriptors = _serve(socket.socket(fileno=os.dup(0)))
    _become(request, descriptors)
    try:
        runpy.run_module("pgtrail_cli", run_name="__main__", alter_sys=True)
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            _end(left.code or 0)
        raise


def _end(status: int) -> None:
    """End as the interpreter does, but for taking the modules apart, which would cost most of a short run.

    Returns where there is something to complain of: let the interpreter do it.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each request until nobody asks any more. Returns in the forked processes only."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(running)
        if control in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 4)
            if not message:
                _leave(running)
            pid = os.fork()
            if pid == 0:
                control.close()
                return json.loads(message), descriptors
            *streams, status = descriptors
            for stream in streams:
                os.close(stream)
            running[pid] = status


def _reap(running: dict[int, int]) -> None:
    for pid in list(running):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _tell(running.pop(pid), os.waitstatus_to_exitcode(status))


def _tell(pipe: int, status: int) -> None:
    try:
        os.write(pipe, b"%d\n" % status)
    except BrokenPipeError:
        pass  # Nobody waits for it.
    finally:
        os.close(pipe)


def _leave(running: dict[int, int]) -> None:
    """As the tests end, so does what they left."""
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Leave nothing that a new interpreter would not have."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Also where whoever runs the tests, in the background, has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    for number in range(3):
        os.dup2(descriptors[number], number)
    sys.stdin = sys.__stdin__ = _stream(0, sys.stdin)
    sys.stdout = sys.__stdout__ = _stream(1, sys.stdout)
    sys.stderr = sys.__stderr__ = _stream(2, sys.stderr)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    sys.argv = ["-m", *request["arguments"]]
    os.write(descriptors[3], b"%d\n" % os.getpid())
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _stream(number: int, like: Any) -> Any:
    """A standard stream as the interpreter opens it at its start."""
    raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    buffered = raw if like.write_through else io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffered,
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=number == 2 or os.isatty(number),
        write_through=like.write_through,
    )


if __name__ == "__main__":
    main()
