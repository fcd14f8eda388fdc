"""The string literals of a text of SQL or PL/pgSQL."""

import re
from collections.abc import Iterator

TOKEN = re.compile(
    r"""--[^\n]*
    | /\*.*?\*/
    | "(?:[^"]|"")*"
    | \$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$
    | (?P<prefix>\b[eE])'(?P<escaped>(?:[^'\\]|''|\\.)*)'(?P<escaped_rest>(?:\s*\n\s*'(?:[^'\\]|''|\\.)*')*)
    | (?P<plain>'(?:[^']|'')*'(?:\s*\n\s*'(?:[^']|'')*')*)""",
    re.S | re.X,
)


def plain_literals(source: str) -> Iterator[re.Match[str]]:
    """Those that mean what the session's standard_conforming_strings says, with what goes on in the next line."""
    return (token for token in TOKEN.finditer(source) if token["plain"] is not None)
