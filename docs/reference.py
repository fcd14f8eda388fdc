"""Writes docs/reference/commands*.md out of the commands themselves: ``make docs``."""

import inspect
import re
from pathlib import Path

import click

from pgtrail_cli.lazy import every_command
from pgtrail_cli.main import SECTIONS, main

DOCS = Path(__file__).parent
COMMON = {"dsn", "help"}
"""Options that every command has, or nearly; said once."""


def synopsis(name: str, command: click.Command) -> str:
    """The first line of its help."""
    arguments = [p.human_readable_name for p in command.params if isinstance(p, click.Argument)]
    return " ".join([name, "[OPTIONS]", *arguments])


def described(option: click.Option) -> str:
    """One line of the list of options."""
    names = ", ".join(f"`{name}`" for name in option.opts)
    taken = "" if option.is_flag else f" *{option.metavar or option.opts[-1].lstrip('-').upper()}*"
    default = f" Default: {option.default}." if option.show_default else ""
    return f"- {names}{taken}: {option.help}{default}"


def linked(text: str) -> str:
    """Turn each page that a help text names into a link from docs/reference to where the page is."""

    def link(mention: re.Match[str]) -> str:
        (page,) = DOCS.rglob(mention[1])
        return f"[{page.relative_to(DOCS).as_posix()}](../{page.relative_to(DOCS).as_posix()})"

    return re.sub(r"docs/(?:[\w-]+/)*([\w-]+\.md)", link, text)


def commands(*sections: str) -> str:
    """The commands of these sections of ``pgtrail --help``, for a page of docs/reference."""
    names = {name for section in sections for name in SECTIONS[section]}
    parts = []
    for path, command in every_command(main):
        if isinstance(command, click.Group) or path[1] not in names:
            continue
        name = " ".join(path)
        text, _, examples = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("Example:\n")
        parts.append(f"## {name}\n\n`{synopsis(name, command)}`\n\n{text.strip()}\n")
        options = [p for p in command.params if isinstance(p, click.Option) and p.name not in COMMON]
        if options:
            parts.append("\n".join(described(option) for option in options) + "\n")
        parts.append(f"```console\n{inspect.cleandoc(examples)}\n```\n")
    return linked("\n".join(parts))
