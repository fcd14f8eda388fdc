"""The command ``pgtrail``."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from pgtrail_cli.commands.add import add
from pgtrail_cli.commands.demo import demo
from pgtrail_cli.commands.destination import destination
from pgtrail_cli.commands.doctor import doctor
from pgtrail_cli.commands.erase import erase_actor
from pgtrail_cli.commands.export import export
from pgtrail_cli.commands.forward import forward
from pgtrail_cli.commands.install import migrate, status
from pgtrail_cli.commands.log import log, show
from pgtrail_cli.commands.ping import test
from pgtrail_cli.commands.proof import prove, verify_proof
from pgtrail_cli.commands.resend import dead_letters, redrive, replay
from pgtrail_cli.commands.retention import retention, verify_archive
from pgtrail_cli.commands.seal import seal, verify
from pgtrail_cli.commands.shell import shell
from pgtrail_cli.commands.tracking import tables, track, untrack
from pgtrail_cli.errors import NotUnderstood


class OneLineGroup(click.Group):
    """Says what it does not understand in one line, where click takes four."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
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


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
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


for command in (add, test, replay, dead_letters, redrive):
    destination.add_command(command)
for command in (
    demo, migrate, status, doctor, track, untrack, tables, log, show, export, destination, forward,
    seal, verify, prove, verify_proof, retention, verify_archive, erase_actor, shell,
):  # fmt: skip
    main.add_command(command)
