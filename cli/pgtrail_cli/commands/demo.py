"""``pgtrail demo``."""

import importlib.util
import signal
import statistics
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
from psycopg.conninfo import make_conninfo
from rich.columns import Columns
from rich.console import Console
from rich.rule import Rule

from pgtrail.connection import open_connection
from pgtrail.errors import PgtrailError, Undelivered
from pgtrail.server.binaries import best_binaries
from pgtrail.server.data_folder import default_data_dir
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.commands.log import print_event, print_newest
from pgtrail_cli.demo import scenario, stage
from pgtrail_cli.demo.stage import Arrival
from pgtrail_cli.render import console

if TYPE_CHECKING:
    from pgtrail_cli.demo.receiver import Receiver

SETTINGS = {
    # To measure how long an event takes from its commit.
    "track_commit_timestamp": "on",
}


@click.command()
@click.option("--once", is_flag=True, help="Show everything and end; exit status 1 if anything did not arrive.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its database is kept; created if needed.",
)
def demo(once: bool, data_dir: Path | None) -> None:
    """Show everything at work on an embedded Postgres.

    An organization's day, a worker that forwards it, and a receiver that checks every signature. The database is
    created anew each time and kept until the next.

    \b
    Example:
      pgtrail demo
      pgtrail demo --once
    """
    # It comes with the extra `demo`, which the command line and the worker do not need.
    if importlib.util.find_spec("standardwebhooks") is None:
        raise PgtrailError("the demo needs the package standardwebhooks", "run: pip install 'pgtrail[demo]'")
    from pgtrail_cli.demo.receiver import Receiver

    screen = console()
    binaries = best_binaries()
    with EmbeddedPostgres(data_dir or default_data_dir(), binaries, SETTINGS) as server:
        screen.print(f"PostgreSQL {binaries.major} runs in {server.data_dir}")
        dsn = stage.build(server.dsn())
        with Receiver() as receiver:
            stage.add_destination(dsn, receiver)
            with stage.running_worker(dsn):
                stage.wait_for_worker(dsn)
                with stage.connect_as(dsn, "gateway") as app:
                    scenario.play(app)
                arrival = stage.wait_for_arrival(dsn, receiver)
                auditor = make_conninfo(dsn, user="demo_auditor")
                _show_log(screen, auditor, arrival.recorded)
                _show_arrival(screen, arrival, receiver)
                _show_next(screen, auditor, once)
                if not once and not arrival.missing:
                    with stage.running_page(make_conninfo(dsn, user="demo_admin")) as address:
                        _show_page(screen, address)
                        _wait_for_the_end(screen)
    if arrival.missing or receiver.rejected:
        raise Undelivered(
            f"{len(arrival.missing)} of {arrival.recorded} recorded events did not arrive, "
            f"{receiver.rejected} were rejected",
            f"the server's log is {server.log_file}",
        )


def _show_page(screen: Console, address: str) -> None:
    _section(screen, "the same in a browser: pgtrail page")
    screen.print(address, soft_wrap=True)
    if screen.is_terminal:
        click.launch(address)


def _wait_for_the_end(screen: Console) -> None:
    ended = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: ended.set())
    screen.print("\nIt stays up until Ctrl-C.")
    ended.wait()


def _show_log(screen: Console, dsn: str, events: int) -> None:
    with open_connection(dsn) as connection:
        _section(screen, f"pgtrail log --limit {events}")
        print_newest(connection, events)
        (rotated,) = connection.fetch_one("select max(id) from audit.api_keys where action = 'key.rotated'")
        _section(screen, f"pgtrail show {rotated}")
        print_event(connection, rotated)


def _show_arrival(screen: Console, arrival: Arrival, receiver: "Receiver") -> None:
    _section(screen, "what the receiver got, and how long after the commit")
    actions = {receipt.event_id: receipt.action for receipt in receiver.receipts}
    screen.print(
        Columns(
            [
                f"{milliseconds:6.1f} ms  evt_{event_id} {actions[event_id]}"
                for event_id, milliseconds in sorted(arrival.latencies.items())
            ],
            column_first=True,
            padding=(0, 3),
        )
    )
    latencies = arrival.latencies.values()
    screen.print(
        f"{len(latencies)} of {arrival.recorded} recorded events, every signature verified with the library "
        f"standardwebhooks; {receiver.rejected} rejected, {arrival.duplicates} received twice."
    )
    if len(latencies) > 1:
        p99 = statistics.quantiles(latencies, n=100, method="inclusive")[98]
        screen.print(
            f"From commit to receipt: median {statistics.median(latencies):.1f} ms, p99 {p99:.1f} ms, "
            f"max {max(latencies):.1f} ms."
        )


def _show_next(screen: Console, dsn: str, once: bool) -> None:
    _section(screen, "try next" + (", while `pgtrail demo` stays up (without --once)" if once else ""))
    screen.print(f'export PGTRAIL_DSN="{dsn}"', soft_wrap=True)
    for command in (
        "pgtrail log --category api_keys --since 1h",
        "pgtrail export audit.csv",
        "pgtrail shell",
    ):
        screen.print(command)


def _section(screen: Console, title: str) -> None:
    screen.print()
    screen.print(Rule(title, align="left"))
