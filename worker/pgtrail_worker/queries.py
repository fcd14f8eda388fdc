"""SQL by name, out of ``.sql`` files: ``-- name: x`` begins the statement ``x``."""

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

_HEADING = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load(package: str, file: str = "queries.sql") -> dict[str, LiteralString]:
    """The statements of a package's file by their names."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    # Ours as much as a literal in the code is.
    return {name: cast(LiteralString, body.strip()) for name, body in zip(parts[::2], parts[1::2], strict=True)}
