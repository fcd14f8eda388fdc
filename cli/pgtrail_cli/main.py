"""The command ``pgtrail``."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from pgtrail.errors import InvalidInput, PgtrailError
from pgtrail_cli.lazy import LazyGroup
from pgtrail_cli.streams import say, write_anything

SECTIONS = {
    "Start": {"demo": "demo:demo", "migrate": "install:migrate"},
    "Track": {
        "suggest": "suggest:suggest",
        "preset": "preset:preset",
        "track": "tracking:track",
        "untrack": "tracking:untrack",
        "baseline": "tracking:baseline",
        "import": "import_:import_",
    },
    "Read": {
        "log": "log:log",
        "show": "log:show",
        "export": "export:export",
        "page": "page:page",
        "shell": "shell:shell",
    },
    "Forward": {"destination": "destination:destination", "forward": "forward:forward"},
    "Trust": {
        "seal": "seal:seal",
        "verify": "verify:verify",
        "proof": "proof:proof",
    },
    "Keep": {
        "retention": "retention:retention",
        "archive": "archive:archive",
        "erase-actor": "erase:erase_actor",
    },
    "Operate": {
        "status": "status:status",
        "doctor": "doctor:doctor",
        "hub": "hub:hub",
        "uninstall": "uninstall:uninstall",
    },
}
"""The commands by what they are for, as --help lists them."""
COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}


class MainGroup(LazyGroup):
    """Lists its commands in sections; reports an error in one line, where click takes four."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(map(len, self.list_commands(ctx)))
        for title, names in SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(longest), command.get_short_help_str(80)) for name, command in commands if command]
                )

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        write_anything()
        with _one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line():
            return super().invoke(ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except (PgtrailError, click.UsageError, UnicodeEncodeError, OSError) as error:
        # (A reader that went away is click's to see to.)
        if isinstance(error, OSError) and error.errno != errno.ENOSPC and error.filename is None:
            raise
        explained = _explained(error)
        say(explained.format_message())
        raise SystemExit(explained.exit_code) from error


def _explained(error: PgtrailError | click.UsageError | UnicodeEncodeError | OSError) -> PgtrailError:
    match error:
        case PgtrailError():
            return error
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "pgtrail"
            return InvalidInput(error.format_message(), f"try: {command} --help")
        case UnicodeEncodeError():
            # (Arguments and variables come as they are: bytes that are not UTF-8 as lone surrogates.)
            return InvalidInput(f"{ascii(error.object)[:100]} is not UTF-8", "write it in UTF-8")
    if error.errno != errno.ENOSPC:
        name = ascii(error.filename)[:100]
        return PgtrailError(f"{name} can't be used: {error.strerror}", "name another file or folder")
    # What is still in the buffer would be written, and fail, once more at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PgtrailError("there is no room for the output", "make room, or write it elsewhere")


@click.group(
    cls=MainGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="pgtrail", prog_name="pgtrail")
def main() -> None:
    """An audit log inside Postgres: who changed what, and when.

    \b
    Example:
      pgtrail demo
      pgtrail migrate && pgtrail track public.api_key --org org_id --label name
      pgtrail log --since 7d
    """
    # What is half done is cleaned up, as at Ctrl-C.
    signal.signal(signal.SIGTERM, _leave)


def _leave(signal_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)
