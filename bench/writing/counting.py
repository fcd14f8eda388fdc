"""How many processor instructions one transaction takes, whatever else the machine is doing.

A single-user backend under Valgrind's callgrind runs a script's statement 100 and 500 times, each in a transaction of its
own, and the difference is divided by 400: so neither the start nor the first plan is in it. Two runs differ by about 1 %.
The server must be stopped. What is not counted: the disk, the kernel, waiting for locks.
"""

import re
import shutil
import subprocess
from pathlib import Path

from auditors import Auditor
from pgtrail.server.binaries import Binaries, readable_binaries
from pgtrail.server.server_user import server_user
from writing.ground import DATABASE
from writing.works import Script

FEW, MANY = 100, 500
ROWS = 2 * (FEW + MANY)
"""How many rows there are to be: each run has rows of its own, and what deletes them has others than all else."""
PARTS = {
    "trigger": "ExecCallTriggerFunc",
    "statements begun": "standard_ExecutorStart",
    "expressions made ready": "ExecInitExprWithParams",
    "indexes": "ExecInsertIndexTuples",
    "right to call": "object_aclcheck",
}
"""What a profile tells of: names of the functions of Postgres that do it. (Expressions are those of PL/pgSQL.)"""


class NoValgrind(Exception):
    """Valgrind is not installed."""


def count(binaries: Binaries, data: Path, auditor: Auditor, script: Script, function: str | None = None) -> int:
    """Instructions a transaction; within a function of Postgres alone, where one is named.

    :raises NoValgrind: it is not installed.
    :raises RuntimeError: Postgres reported an error.
    """
    first = ROWS // 2 + 1 if script.consumes else 1
    few = _run(binaries, data, _input(auditor, script, first, FEW), function)
    many = _run(binaries, data, _input(auditor, script, first + FEW, MANY), function)
    return round((many - few) / (MANY - FEW))


def _input(auditor: Auditor, script: Script, first: int, times: int) -> str:
    """What the backend reads: statements that end with an empty line."""
    lines = [line for line in script.path.read_text().splitlines() if not line.startswith("\\")]
    statement = "\n".join(lines)
    numbered = (re.sub(r"(?<!:):n\b", str(number), statement) for number in range(first, first + times))
    return "\n\n".join([f"set search_path = {auditor.schema};", *numbered, ""]) + "\n"


def _run(binaries: Binaries, data: Path, statements: str, function: str | None) -> int:
    """Instructions of a backend that runs the statements."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NoValgrind("counting instructions needs Valgrind: apt-get install valgrind")
    user = server_user()
    done = subprocess.run(
        [
            *(valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            *([f"--toggle-collect={function}"] if function else []),
            *(readable_binaries(binaries, user) / "postgres", "--single", "-j", "-D", data),
            *("-c", "autovacuum=off", "-c", "fsync=off", DATABASE),
        ],
        input=statements,
        capture_output=True,
        text=True,
        cwd="/",
        **user.process_arguments(),
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None or "ERROR:" in done.stderr:
        raise RuntimeError(f"the backend under Valgrind failed: {done.stderr[-4000:]}")
    return int(found[1])
