"""The command ``pgtrail``."""

import signal
import sys
from types import FrameType

import click

from pgtrail_cli.commands.demo import demo
from pgtrail_cli.commands.destination import destination
from pgtrail_cli.commands.export import export
from pgtrail_cli.commands.forward import forward
from pgtrail_cli.commands.install import migrate, status
from pgtrail_cli.commands.log import log, show
from pgtrail_cli.commands.shell import shell
from pgtrail_cli.commands.tracking import tables, track, untrack


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
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


for command in (demo, migrate, status, track, untrack, tables, log, show, export, destination, forward, shell):
    main.add_command(command)
