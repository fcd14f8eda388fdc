"""SQL by name, out of ``.sql`` files: ``-- name: x`` begins the statement ``x``."""

import re
from fnmatch import fnmatch
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

_HEADING = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load(package: str, pattern: str = "*.sql") -> dict[str, LiteralString]:
    """The statements of a package's files by their names."""
    found: dict[str, LiteralString] = {}
    for file in sorted(files(package).iterdir(), key=lambda file: file.name):
        if fnmatch(file.name, pattern):
            _, *parts = _HEADING.split(file.read_text(encoding="utf-8"))
            # Ours as much as a literal in the code is.
            found |= {
                name: cast(LiteralString, body.strip()) for name, body in zip(parts[::2], parts[1::2], strict=True)
            }
    return found
