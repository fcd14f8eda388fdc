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
    "Start": ("demo", "migrate"),
    "Track": ("suggest", "preset", "track", "untrack", "baseline", "import"),
    "Read": ("log", "show", "export", "page", "shell"),
    "Forward": ("destination", "forward"),
    "Trust": ("seal", "verify", "proof"),
    "Keep": ("retention", "archive", "erase-actor"),
    "Operate": ("status", "doctor", "hub", "uninstall"),
}
"""The commands by what they are for, as --help lists them."""
MODULES = {
    **{name: name for names in SECTIONS.values() for name in names},
    "track": "tracking",
    "untrack": "tracking",
    "baseline": "tracking",
    "import": "import_",
    "show": "log",
    "erase-actor": "erase",
}


class MainGroup(LazyGroup):
    """Lists its commands in sections; reports an error in one line, where click takes four."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        for title, names in SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), command.get_short_help_str(80)) for name, command in commands if command]
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
        # (click handles a reader that went away.)
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
        return PgtrailError(f"{name} can't be used: {error.strerror}", "use another file or folder")
    # What is left in the buffer would fail once more at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PgtrailError("the disk is full", "free some space, or write the output elsewhere")


@click.group(
    cls=MainGroup,
    modules=MODULES,
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
    # Clean up, as at Ctrl-C.
    signal.signal(signal.SIGTERM, _leave)


def _leave(signal_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)
