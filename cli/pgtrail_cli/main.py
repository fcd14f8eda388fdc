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

from pgtrail_cli.errors import NotUnderstood, PgtrailError
from pgtrail_cli.lazy import LazyGroup
from pgtrail_cli.streams import write_anything

COMMANDS = {
    "archive": "archive:archive",
    "demo": "demo:demo",
    "destination": "destination:destination",
    "doctor": "doctor:doctor",
    "erase-actor": "erase:erase_actor",
    "export": "export:export",
    "forward": "forward:forward",
    "hub": "hub:hub",
    "import": "import_:import_",
    "log": "log:log",
    "migrate": "install:migrate",
    "page": "page:page",
    "preset": "preset:preset",
    "prove": "proof:prove",
    "retention": "retention:retention",
    "seal": "seal:seal",
    "shell": "shell:shell",
    "show": "log:show",
    "snapshot": "tracking:snapshot",
    "status": "install:status",
    "suggest": "suggest:suggest",
    "tables": "tracking:tables",
    "track": "tracking:track",
    "uninstall": "uninstall:uninstall",
    "untrack": "tracking:untrack",
    "verify": "verify:verify",
    "verify-archive": "verify_archive:verify_archive",
    "verify-proof": "proof:verify_proof",
}


class OneLineGroup(LazyGroup):
    """Says what it does not understand in one line, where click takes four."""

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
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "pgtrail"
        raise NotUnderstood(error.format_message(), f"try: {command} --help") from error
    except UnicodeEncodeError as error:
        # (Arguments and variables come as they are: bytes that are not UTF-8 as lone surrogates.)
        raise NotUnderstood(f"{ascii(error.object)[:100]} is not UTF-8", "write it in UTF-8") from error
    except OSError as error:
        # (A reader that went away is click's to see to.)
        if error.errno != errno.ENOSPC and error.filename is None:
            raise
        if error.errno != errno.ENOSPC:
            name = ascii(error.filename)[:100]
            raise PgtrailError(f"{name} can't be used: {error.strerror}", "name another file or folder") from error
        # What is still in the buffer would be written, and fail, once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise PgtrailError("there is no room for the output", "make room, or write it elsewhere") from error


@click.group(
    cls=OneLineGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="pgtrail", prog_name="pgtrail")
def main() -> None:
    """The audit log that Postgres keeps by itself: who did it, what changed, when.

    \b
    Example:
      pgtrail demo
      pgtrail migrate && pgtrail track public.api_key --org org_id --label name
      pgtrail log --since 7d
    """
    # Whatever is half done is put away, as at Ctrl-C.
    signal.signal(signal.SIGTERM, _leave)


def _leave(signal_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)
