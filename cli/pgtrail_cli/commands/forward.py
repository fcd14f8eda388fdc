"""``pgtrail forward``: the worker."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from pythonjsonlogger.json import JsonFormatter

from pgtrail.connection import open_connection
from pgtrail.errors import DatabaseError, PgtrailError
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import dsn_option
from pgtrail_cli.params import Number, authority, check_host
from pgtrail_cli.streams import say
from pgtrail_worker import http
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.metrics_server import serve_metrics
from pgtrail_worker.pace import Pace, SealPace
from pgtrail_worker.secret_store import SecretStore, default_secrets_folder
from pgtrail_worker.worker import Worker

secrets_option = click.option(
    "--secrets-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_secrets_folder,
    help="The only folder that tokens and certificates are read from. "
    "Default: $CREDENTIALS_DIRECTORY, else /run/secrets.",
)


@click.command()
@dsn_option
@click.option("-v", "--verbose", is_flag=True, help="Log each delivery, not only what goes wrong.")
@click.option(
    "--lease", type=Number(1, 600), default=30.0, show_default=True,
    help="Seconds after which another worker takes over from one that died.",
)  # fmt: skip
@click.option(
    "--timeout",
    type=Number(1, 300),
    default=http.TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds for a whole request and its response.",
)
@click.option(
    "--seal-every", type=Number(0.1, 3600), default=10.0, show_default=True,
    help="Seconds between two seals, if there is anything to seal.",
)  # fmt: skip
@click.option(
    "--seal-events", type=click.IntRange(1, 65536), default=10_000, show_default=True,
    help="Seal at once when this many events wait.",
)  # fmt: skip
@secrets_option
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics and /healthz on this port.")
@click.option(
    "--metrics-address",
    callback=check_host,
    default="127.0.0.1",
    show_default=True,
    help="The address to serve them on.",
)
def forward(
    dsn: str,
    verbose: bool,
    lease: float,
    timeout: float,
    seal_every: float,
    seal_events: int,
    secrets_dir: Path,
    metrics_port: int | None,
    metrics_address: str,
) -> None:
    """Run the worker, which forwards new events and seals them.

    It runs until SIGTERM or Ctrl-C. Run as many as you like: they share the destinations. The role must be in
    audit_forwarder. Connect directly, not through a transaction pooler: NOTIFY does not pass one (the worker then
    polls each second). Logs are JSON lines on stderr; metrics are for Prometheus.

    \b
    Example:
      pgtrail forward --dsn postgresql://forwarder@localhost/app --metrics-port 9187
    """
    _log_to_stderr(logging.INFO if verbose else logging.WARNING)
    with open_connection(dsn) as connection:
        connection.execute(QUERIES["status_of_forwarder"])
        if connection.call("pg_is_in_recovery"):
            raise PgtrailError("this server is a standby, on which no cursor can move", "forward from the primary")
    worker = Worker(
        dsn,
        Pace(lease=lease),
        SealPace(seal_every, seal_events),
        SecretStore(secrets_dir, os.environ),
        timeout,
        observed=metrics_port is not None,
    )
    serving = contextlib.nullcontext() if metrics_port is None else _metrics(worker, metrics_address, metrics_port)
    with serving:
        try:
            asyncio.run(_forward(worker))
        except WorkerError as error:
            raise DatabaseError(str(error), error.hint) from error


@contextlib.contextmanager
def _metrics(worker: Worker, host: str, port: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            served = stack.enter_context(serve_metrics(host, port, worker.metrics.registry, lambda: worker.is_healthy))
        except OSError as error:
            raise PgtrailError(
                f"can't listen on {authority(host, port)}: {error.strerror or error}",
                "choose another --metrics-port or --metrics-address",
            ) from error
        say(f"metrics on http://{authority(host, served)}/metrics")
        yield


async def _forward(worker: Worker) -> None:
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
