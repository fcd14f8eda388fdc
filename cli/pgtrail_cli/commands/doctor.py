"""``pgtrail doctor``: problems, and how to fix them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click
from rich.text import Text

from pgtrail import install as migrations
from pgtrail.connection import Connection, open_connection
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import dsn_option
from pgtrail_cli.render import console, rows_table
from pgtrail_cli.streams import say

LISTEN_SECONDS = 2.0
"""How long to wait for a notification, which takes milliseconds."""
INFORMATION = "information"
"""A finding that is not a problem."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem.

    :param problem: its kind.
    :param subject: the object that has it.
    :param hint: what to do, usually a command or a statement.
    """

    problem: str
    subject: str
    finding: str
    hint: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@dsn_option
def doctor(dsn: str, as_json: bool) -> None:
    """Find problems, each with a hint.

    The most urgent comes first. It checks triggers, partitions, destinations, workers, nodes, the installed version,
    and whether LISTEN works on this connection. Exit status 1 if there is a problem; `information` is none.

    \b
    Example:
      pgtrail doctor
    """
    with open_connection(dsn) as connection:
        findings = [
            *_version(connection),
            *(Finding(*row) for row in connection.execute(QUERIES["doctor"])),
        ]
        standby = connection.call("pg_is_in_recovery")
        # (A standby does not support LISTEN.)
        if not standby:
            with open_connection(dsn) as notifier:
                findings += _listening(connection, notifier)
    wrong = [finding for finding in findings if finding.problem != INFORMATION]
    _show([*wrong, *(finding for finding in findings if finding.problem == INFORMATION)], as_json)
    if wrong:
        raise SystemExit(1)
    say("nothing is wrong that a standby can see" if standby else "all is well")


def _version(connection: Connection) -> Iterator[Finding]:
    present = migrations.installed(connection)
    if not present.current:
        yield Finding(
            "other version",
            "pgtrail",
            f"the database has {present.version}, installed from other files than this program's",
            "pgtrail migrate",
        )


def _listening(listener: Connection, notifier: Connection) -> Iterator[Finding]:
    """Whether a notification arrives, and each statement reaches the same server process."""
    listener.execute("listen pgtrail_doctor")
    process = listener.call("pg_backend_pid")
    notifier.execute("notify pgtrail_doctor")
    heard = list(listener.notifies(timeout=LISTEN_SECONDS, stop_after=1))
    moved = listener.call("pg_backend_pid") != process
    listener.execute("unlisten pgtrail_doctor")
    if not heard or moved:
        yield Finding(
            "deaf",
            "LISTEN",
            "no notification arrives on this connection: it goes through a pooler in transaction mode",
            "give the worker a direct connection to the server; until then it polls every second",
        )


def _show(findings: list[Finding], as_json: bool) -> None:
    if as_json:
        for finding in findings:
            click.echo(json.dumps(asdict(finding)))
        return
    rows = [
        {**asdict(finding), "problem": Text(finding.problem, "dim" if finding.problem == INFORMATION else "red")}
        for finding in findings
    ]
    if rows:
        console().print(rows_table(rows, {key.capitalize(): key for key in rows[0]}))
