"""``pgtrail forward``: the worker."""

import asyncio
import logging
import signal
import sys

import click
from pythonjsonlogger.json import JsonFormatter

from pgtrail_cli.connection import dsn_option, open_connection
from pgtrail_cli.errors import DatabaseError
from pgtrail_cli.filters import QUERIES
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.worker import Worker


@click.command()
@dsn_option
@click.option("-v", "--verbose", is_flag=True, help="Log each delivery, not only what goes wrong.")
def forward(dsn: str, verbose: bool) -> None:
    """Forward new events to the destinations until SIGTERM or Ctrl-C.

    Run as many as you like: they share the destinations. The role has to be in audit_forwarder; the connection must
    not go through a transaction pooler, which would keep NOTIFY from it (polling would still find everything).
    Logs are JSON lines on stderr.

    \b
    Example:
      pgtrail forward --dsn postgresql://forwarder@localhost/app
    """
    _log_to_stderr(logging.INFO if verbose else logging.WARNING)
    with open_connection(dsn) as connection:
        connection.execute(QUERIES["status_of_forwarder"])
    try:
        asyncio.run(_forward(dsn))
    except WorkerError as error:
        raise DatabaseError(str(error), error.hint) from error


async def _forward(dsn: str) -> None:
    worker = Worker(dsn)
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, worker.stop)
    await worker.run()


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{message}", style="{", rename_fields={"asctime": "time", "levelname": "level"}
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("pgtrail_worker").setLevel(level)
