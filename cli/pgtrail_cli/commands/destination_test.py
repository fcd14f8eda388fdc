"""``pgtrail destination test``: one event, sent as the worker would, and what came back."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from pgtrail.connection import Connection, open_connection
from pgtrail.errors import PgtrailError
from pgtrail.text import printable
from pgtrail_cli.commands.forward import secrets_option
from pgtrail_cli.database import QUERIES, event_id, no_event
from pgtrail_cli.options import dsn_option
from pgtrail_cli.streams import say
from pgtrail_worker.database import Database
from pgtrail_worker.destination import Destination
from pgtrail_worker.errors import WorkerError
from pgtrail_worker.response import Cause, Response
from pgtrail_worker.secret_store import SecretStore
from pgtrail_worker.sender import Sender
from pgtrail_worker.verdict import Delivered, Partial, Verdict

Result = TypeVar("Result")

CAUSES = {
    Cause.UNRESOLVED: "check the host name of the URL, and the name servers of this machine",
    Cause.FORBIDDEN: "if it is meant, add the destination with --allow-network",
    Cause.REFUSED: "check host and port of the URL, and the firewall between",
    Cause.UNTRUSTED: "check the receiver's certificate; name its authority with --ca-file where it is your own",
    Cause.TIMED_OUT: "check the firewall between, or the receiver's load",
    Cause.BROKEN: "look at the receiver's own log, or at a proxy between",
    Cause.UNUSABLE: "check the URL, and that the certificate files are in the secrets folder",
    Cause.NO_SECRET: "put it, and the hosts that it is for, where the worker (and this command) runs",
}
STATUSES = {
    400: "the receiver does not understand the event: is the format right for it?",
    401: "the receiver does not know who sends: check the token or the signing secret",
    403: "the receiver does not let this sender in: check the token's rights",
    404: "there is nothing at this path: check the URL",
    405: "the receiver takes no POST at this path: check the URL",
    408: "the receiver gave up waiting: look at its load",
    410: "the receiver says that this endpoint is gone for good",
    413: "one event is too large for the receiver: raise its limit",
    415: "the receiver does not take this content type: is the format right for it?",
    429: "the receiver wants fewer requests: forwarding slows down by itself",
}
MAX_BODY_CHARS = 300
SECRET_HEADERS = ("authorization", "dd-api-key", "webhook-signature")


@click.command()
@click.argument("name")
@click.option("--event", "event", help="Send this event of the log instead of audit.ping.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, on stdout, and send nothing.")
@secrets_option
@dsn_option
def test(dsn: str, name: str, event: str | None, dry_run: bool, secrets_dir: Path) -> None:
    """Send NAME a test event, and explain the response.

    Tokens and certificates are read on this machine. The role must be in audit_forwarder.

    \b
    Example:
      pgtrail destination test siem
      pgtrail destination test siem --dry-run
    """
    with open_connection(dsn) as connection:
        piece, uid = _rendered(connection, name, event_id(connection, event) if event else None)
    destination = asyncio.run(_destination(dsn, name))
    body = _framed(destination, piece)
    message_id = uid if event else f"ping_{uuid.uuid4().hex}"
    secrets = SecretStore(secrets_dir, os.environ)
    try:
        if dry_run:
            asyncio.run(_with_sender(destination, secrets, lambda sender: _show(destination, sender, message_id, body)))
        else:
            sent = asyncio.run(_with_sender(destination, secrets, lambda sender: sender.send(message_id, body, 1)))
            _explain(name, *sent)
    except WorkerError as error:
        raise PgtrailError(f"{name}: {error}", CAUSES[Cause.NO_SECRET]) from error


def _rendered(connection: Connection, name: str, event_id: int | None) -> tuple[bytes, str]:
    row = connection.execute(QUERIES["rendered"], {"name": name, "event_id": event_id}).fetchone()
    if row is None:
        raise no_event(str(event_id))
    return bytes(row[0]), row[1]


async def _destination(dsn: str, name: str) -> Destination:
    try:
        async with Database(dsn) as database:
            found = await database.destination(name)
    except WorkerError as error:
        hint = error.hint or "connect as a role in audit_forwarder"
        raise PgtrailError(f"{name} can't be tested: {error}", hint) from error
    assert found is not None
    return found


def _framed(destination: Destination, piece: bytes) -> bytes:
    return destination.framing.prefix + piece + destination.framing.suffix


async def _with_sender(
    destination: Destination, secrets: SecretStore, act: Callable[[Sender], Awaitable[Result]]
) -> Result:
    async with Sender(destination, secrets, lambda: datetime.now(UTC)) as sender:
        return await act(sender)


async def _show(destination: Destination, sender: Sender, message_id: str, body: bytes) -> None:
    headers, sent = await sender.request(message_id, body)
    click.echo(f"POST {destination.url}")
    for header, text in headers.items():
        click.echo(f"{header}: {'[redacted]' if header in SECRET_HEADERS else text}")
    click.echo()
    click.echo(body.decode())
    if len(sent) != len(body):
        say(f"{len(body):,} bytes, {len(sent):,} as they are sent, compressed")


async def tested(dsn: str, name: str, secrets_dir: Path) -> str:
    """A ping for the page: sent as the worker would, and the response in one line.

    :raises PgtrailError: it was not accepted, or can't be sent from here.
    """
    with open_connection(dsn) as connection:
        piece, _ = _rendered(connection, name, None)
    destination = await _destination(dsn, name)
    body = _framed(destination, piece)
    secrets = SecretStore(secrets_dir, os.environ)
    sent = await _with_sender(destination, secrets, lambda sender: sender.send(f"ping_{uuid.uuid4().hex}", body, 1))
    return _outcome(name, *sent)


def _explain(name: str, response: Response, verdict: Verdict) -> None:
    say(_outcome(name, response, verdict))


def _outcome(name: str, response: Response, verdict: Verdict) -> str:
    """What came back, in one line.

    :raises PgtrailError: it was not taken.
    """
    milliseconds = round(response.seconds * 1000)
    said = printable(" ".join(response.body[: 4 * MAX_BODY_CHARS].decode(errors="replace").split()))[:MAX_BODY_CHARS]
    quoted = f': "{said}"' if said else ""
    if isinstance(verdict, Delivered):
        return f"{name} took it: HTTP {response.status} in {milliseconds} ms{quoted}"
    error = _error(verdict)
    raise PgtrailError(f"{name} did not take it: {error} after {milliseconds} ms{quoted}", _next_step(response))


def _error(verdict: Verdict) -> str:
    match verdict:
        case Delivered():
            return ""
        case Partial(poison=((_, error), *_)):
            return error
        case Partial(failed=failed):
            return failed.error if failed else "it has not looked at it"
        case refused:
            return refused.error


def _next_step(response: Response) -> str:
    if response.status is None:
        return CAUSES[response.cause or Cause.BROKEN]
    if 300 <= response.status < 400:
        return "redirects are not followed: name the final URL"
    if 200 <= response.status < 300:
        return "the response does not say that anything is stored: is the URL the one that takes events?"
    return STATUSES.get(response.status, "look at the receiver's own log")
