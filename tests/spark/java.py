"""Whether there is a Java that Spark runs on: what `make spark` asks before it installs anything.

It needs nothing but Python.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

MIN_VERSION = 17
HINT = f"install Java {MIN_VERSION} or later (Debian: openjdk-17-jre-headless), or set JAVA_HOME to where it is"


def find_java() -> str | None:
    """The program that Spark would start; None: there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(Path(home) / "bin" / "java" if home else "java")


def java_version(program: str) -> int | None:
    """Its version: 8, 17, 21 …; None: it says none."""
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(found[1]) if found else None


def java_problem() -> str | None:
    """Why Spark can't run; None: it can."""
    program = find_java()
    if program is None:
        return f"Spark needs Java, and there is none: {HINT}"
    version = java_version(program)
    if version is None or version < MIN_VERSION:
        return f"Spark needs Java {MIN_VERSION} or later, and {program} is {version or 'of no known version'}: {HINT}"
    return None


if __name__ == "__main__":
    if problem := java_problem():
        print(problem, file=sys.stderr)
        sys.exit(2)
