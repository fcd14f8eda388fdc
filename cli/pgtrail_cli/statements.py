"""The statements of an SQL file, apart as the server will read them. No input or output.

sqlparse, which is at hand, ends a nested comment at its first ``*/`` and a string at a backslash.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pgtrail_cli.errors import PgtrailError

TOKEN = re.compile(
    r"""
      (?P<space>\s+ | --[^\n]*)
    | (?P<comment>/\*)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*' | '[^']*' | "[^"]*")
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<unclosed>['"])
    | (?P<sign>\d[\w.]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")
CREATE_ROUTINE = re.compile(r"create (or replace )?(function|procedure)\b")
COPY_FROM_STDIN = re.compile(r"copy\b.*\bfrom stdin\b")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, with the comments that stand before it.

    :param line: the line of the file, from 1, on which its first word stands.
    :param text: without the semicolon.
    :param first_line: the line on which its text begins.
    """

    line: int
    text: str
    first_line: int


class NotSql(PgtrailError):
    """The file is not made of SQL statements."""


@dataclass(slots=True)
class _Reading:
    """What is known of the statement that is being read."""

    start: int
    first: int | None = None
    parentheses: int = 0
    blocks: int = 0
    words: str = ""

    def take(self, word: str) -> None:
        """Keep count of a word: between `begin atomic` and `end` a semicolon ends no statement."""
        word = word.lower()
        if len(self.words) < 2000:
            self.words += f"{word} "
        if CREATE_ROUTINE.match(self.words):
            if word in ("begin", "case") and (self.blocks or word == "begin"):
                self.blocks += 1
            elif word == "end" and self.blocks:
                self.blocks -= 1

    @property
    def inside(self) -> bool:
        """Whether a semicolon would be a part of the statement."""
        return bool(self.parentheses or self.blocks)


def split(text: str, source: str) -> list[Statement]:
    """The statements of a file, in their order.

    :param source: what to call the file in an error.
    :raises NotSql: it has a psql command, data of COPY or something that is not closed; with its line.
    """
    return list(_statements(text, source))


def _statements(text: str, source: str) -> Iterator[Statement]:
    reading = _Reading(0)
    for kind, start, end in _tokens(text, source):
        part = text[start:end]
        if kind == "space":
            continue
        if part == ";" and not reading.inside:
            yield from _finished(text, source, reading, start)
            reading = _Reading(end)
            continue
        if part == "\\":
            raise _refused(
                text, source, start, "psql commands (\\…) are for psql", "run the file with psql, or remove it"
            )
        if reading.first is None:
            reading.first = start
        if kind == "word":
            reading.take(part)
        reading.parentheses += {"(": 1, ")": -1}.get(part, 0)
    yield from _finished(text, source, reading, len(text))


def _finished(text: str, source: str, reading: _Reading, end: int) -> Iterator[Statement]:
    if reading.first is None:
        return
    if COPY_FROM_STDIN.match(reading.words):
        raise _refused(text, source, reading.first, "it reads data that follows it", "run the file with psql")
    body = text[reading.start : end]
    start = end - len(body.lstrip())
    yield Statement(_line(text, reading.first), text[start:end], _line(text, start))


def _tokens(text: str, source: str) -> Iterator[tuple[str, int, int]]:
    position = 0
    while position < len(text):
        found = TOKEN.match(text, position)
        assert found is not None
        assert found.lastgroup is not None
        kind, start, position = found.lastgroup, position, found.end()
        if kind == "comment":
            kind, position = "space", _end_of_comment(text, source, start)
        elif kind == "dollar":
            position = text.find(found[0], position) + len(found[0])
            if position < found.end():
                raise _refused(text, source, start, f"{found[0]} is not closed", f"write the other {found[0]}")
        elif kind == "unclosed":
            raise _refused(text, source, start, f"a quote ({found[0]}) is not closed", "write the other one")
        yield kind, start, position


def _end_of_comment(text: str, source: str, start: int) -> int:
    depth = 0
    for edge in COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise _refused(text, source, start, "a comment is not closed", "write */ at its end")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _refused(text: str, source: str, position: int, reason: str, mend: str) -> NotSql:
    return NotSql(f"{source}, line {_line(text, position)}: {reason}; nothing was applied", mend)
