"""Writes docs/reference/functions.md and fields.md out of sql/ and migrations/: ``make docs``."""

import re
from collections.abc import Iterator

from reference import linked

from pgtrail.project_files import project_files, sql_files

SUBJECTS = {
    "capture": "Say who acts",
    "track": "Track",
    "read": "Read",
    "forward": "Forward",
    "seal": "Seal",
    "erase": "Erase",
    "retention": "Keep and drop",
    "hub": "Hub",
    "operate": "Operate",
}
"""The folders of sql/ with functions that people call, in the order of the page."""
FUNCTION = re.compile(
    r"^create or replace (?:function|procedure) audit\.(\w+)\((.*?)\)\n(?:returns (.*?)\nlanguage)?", re.M | re.S
)
COMMENT = re.compile(r"^comment on (\w+) audit\.([\w.]+)(?:\([^)]*\))? is\s+'((?:[^']|'')*)';", re.M)


def comments(text: str) -> dict[tuple[str, str], str]:
    """What is said of each function, view, table and column, by kind and name."""
    return {(kind, name): said.replace("''", "'") for kind, name, said in COMMENT.findall(text)}


def one_line(text: str) -> str:
    """Arguments as \\df shows them, or a cell of a table."""
    return " ".join(text.split())


def functions() -> str:
    """All of docs/reference/functions.md below its heading."""
    return linked("\n".join(_functions()))


def _functions() -> Iterator[str]:
    for folder, subject in SUBJECTS.items():
        yield f"## {subject}\n"
        for file in sql_files():
            if file.parent.name != folder:
                continue
            said = {name: text for (_, name), text in comments(file.read_text()).items()}
            for name, arguments, returned in FUNCTION.findall(file.read_text()):
                result = f" → {one_line(returned)}" if returned else ""
                yield f"`audit.{name}({one_line(arguments)}){result}`\n\n{one_line(said[name])}\n"


def fields() -> str:
    """The tables of docs/reference/fields.md: the views, and the columns of an event."""
    said = {}
    for file in [*sorted(project_files("migrations").glob("*.sql")), *sql_files()]:
        said |= comments(file.read_text())
    views = [f"| `audit.{name}` | {cell(text)} |" for (kind, name), text in said.items() if kind == "view"]
    columns = [
        f"| `{name.removeprefix('event.')}` | {cell(text)} |"
        for (kind, name), text in said.items()
        if kind == "column" and name.startswith("event.")
    ]
    head = "| {} | |\n| --- | --- |\n"
    return linked(
        "## Columns of audit.event\n\n" + head.format("column") + "\n".join(columns)
        + "\n\n## Views\n\n" + head.format("view") + "\n".join(views) + "\n"
    )  # fmt: skip


def cell(text: str) -> str:
    """The text in a cell of a table."""
    return one_line(text).replace("|", "\\|")
