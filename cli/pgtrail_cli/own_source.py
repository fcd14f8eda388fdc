"""Whether the database's functions are those that this program came with: one that lies must not vouch for itself."""

import re
from collections.abc import Iterable, Iterator, Mapping

from pgtrail_cli.migrations import sql_files

_FUNCTION = re.compile(r"^create or replace function audit\.(\w+)\(.*?\bas \$\$(.*?)\$\$;", re.MULTILINE | re.DOTALL)


def foreign_functions(stored: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names of our functions whose source in the database is another.

    :param stored: name and source of each function of schema audit.
    """
    expected = _packaged()
    present: dict[str, set[str]] = {}
    for name, source in stored:
        present.setdefault(name, set()).add(source)
    for name, sources in expected.items():
        if present.get(name, set()) != sources:
            yield name


def _packaged() -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in sql_files():
        for name, source in _FUNCTION.findall(file.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(source)
    return found
