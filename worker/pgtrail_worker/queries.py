"""SQL by name, out of ``.sql`` files: ``-- name: x`` begins the statement ``x``."""

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

_HEADING = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load(package: str) -> dict[str, LiteralString]:
    """The statements of a package's ``queries.sql`` by their names."""
    text = files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    # Ours as much as a literal in the code is.
    return {name: cast(LiteralString, body.strip()) for name, body in zip(parts[::2], parts[1::2], strict=True)}
