"""Replaces calls to SQL functions by their bodies in ``sql/``, so that this version's run, whatever a database has."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pgtrail.project_files import sql_files

_FUNCTION = re.compile(
    r"^create or replace function audit(?:_internal)?\.(?P<name>\w+)\((?P<parameters>[^)]*)\)\n"
    r"returns (?P<returns>\w+)[^$]*\nlanguage sql\n[^$]*as \$\$\n(?:    --.*\n)*    select\s(?P<body>[^$]*)\$\$;",
    re.MULTILINE,
)
_COMMENT = re.compile(r"^ *-- .*\n", re.MULTILINE)
_CALL = re.compile(r"\baudit(?:_internal)?\.(\w+)\(")
_SIGN = re.compile(r"'(?:[^']|'')*'|[(),]")


@dataclass(frozen=True, slots=True)
class SqlFunction:
    """A function that is one query.

    :param body: what it returns: an expression or, of a set, the query.
    """

    parameters: tuple[str, ...]
    body: str


@cache
def sql_functions() -> dict[str, SqlFunction]:
    """Those in the files that `pgtrail migrate` installs, by name."""
    found = {}
    for file in sql_files():
        for each in _FUNCTION.finditer(file.read_text(encoding="utf-8")):
            parameters = tuple(one.split()[0] for one in each["parameters"].split(", ") if one)
            body = _COMMENT.sub("", each["body"]).strip()
            found[each["name"]] = SqlFunction(parameters, f"select {body}" if each["returns"] == "table" else body)
    return found


def inline(query: str) -> str:
    """A query with all calls of pgtrail's functions replaced by their bodies."""
    while call := _CALL.search(query):
        arguments = list(_arguments(query, call.end()))
        end = call.end() + sum(map(len, arguments)) + len(arguments)
        function = sql_functions()[call[1]]
        values = dict(zip(function.parameters, map(str.strip, arguments), strict=True))
        query = f"{query[: call.start()]}({_with_values(function.body, values)}){query[end:]}"
    return query


def _arguments(query: str, begins: int) -> Iterator[str]:
    """The arguments of a call, as text."""
    depth = 0
    for sign in _SIGN.finditer(query, begins):
        if depth == 0 and sign[0] in ",)":
            yield query[begins : sign.start()]
            begins = sign.end()
        depth += {"(": 1, ")": -1}.get(sign[0], 0)
        if depth < 0:
            return


def _with_values(body: str, values: dict[str, str]) -> str:
    """A body with values for its parameters; strings, and columns of the same name, are left alone."""
    names = re.compile(rf"'(?:[^']|'')*'|(?<![\w.])(?:{'|'.join(values)})\b")
    return names.sub(lambda found: values.get(found[0], found[0]), body)
