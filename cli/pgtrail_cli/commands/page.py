"""``pgtrail page``: the Audit page."""

import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import click
import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

import pgtrail_web
from pgtrail.connection import open_connection
from pgtrail.errors import PgtrailError
from pgtrail_cli.commands.destination_test import tested
from pgtrail_cli.commands.forward import secrets_option
from pgtrail_cli.database import QUERIES
from pgtrail_cli.options import dsn_option
from pgtrail_cli.params import Number, authority, check_host
from pgtrail_cli.streams import say
from pgtrail_web.access import Access, Local, Proxied
from pgtrail_web.http import HEADERS
from pgtrail_web.session import Sessions, Token

MOUNTED_AT = "/audit"


@click.command()
@click.option(
    "--org", help="Show this organization alone; by its role and row-level security, nothing else can be seen."
)
@click.option("--host", callback=check_host, default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="The port; 0: any.")
@click.option("--root-path", default="", help="The path prefix that a proxy strips: /tools.")
@click.option("--trusted-header", help="Trust this header, which a proxy sets, instead of a token: X-Remote-User.")
@click.option(
    "--trusted-proxy", "trusted_proxies", multiple=True, metavar="NETWORK",
    help="Where the proxy connects from; can be repeated. Default: this machine.",
)  # fmt: skip
@click.option(
    "--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A certificate, to serve https."
)
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its key.")
@click.option(
    "--session-minutes", default=720.0, show_default=True, type=Number(0.02, 43_200),
    help="How long a session lasts.",
)  # fmt: skip
@secrets_option
@dsn_option
def page(
    dsn: str,
    org: str | None,
    host: str,
    port: int,
    root_path: str,
    trusted_header: str | None,
    trusted_proxies: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    session_minutes: float,
    secrets_dir: Path,
) -> None:
    """Serve the Audit page, in a browser.

    Open the address that is printed: its token authenticates once.
    It shows what the role of --dsn may see: give it audit_auditor or audit_reader; with audit_admin destinations can
    be paused, resumed and redriven.

    \b
    Example:
      pgtrail page
      pgtrail page --org acme --port 9000
      pgtrail page --trusted-header X-Remote-User --root-path /tools
    """
    if trusted_proxies and not trusted_header:
        raise click.UsageError("--trusted-proxy needs --trusted-header.")
    if bool(tls_cert) != bool(tls_key):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    if not (_is_loopback(host) or tls_cert or trusted_header):
        raise click.UsageError(
            f"on {host} tokens would be sent unencrypted. "
            "Serve 127.0.0.1 behind a proxy, or give --tls-cert and --tls-key."
        )
    if root_path and not root_path.startswith("/"):
        raise click.UsageError(f"--root-path begins with a slash: /{root_path}")
    root_path = root_path.rstrip("/")
    _check_role(dsn, org)
    listening = _listening(host, port)
    scheme = "https" if tls_cert else "http"
    address = f"{scheme}://{authority(host, listening.getsockname()[1])}{root_path}{MOUNTED_AT}/"
    access: Access = Proxied(trusted_header, _networks(trusted_proxies), org) if trusted_header else Local(org)
    if trusted_header:
        say(f"the Audit page is at {address}, for the user in {trusted_header}")
    audit = pgtrail_web.app(
        dsn,
        access=access,
        sessions=Sessions(seconds=int(session_minutes * 60)),
        token=None if trusted_header else Token(lambda text: say(f"open once: {address}?token={text}")),
        tester=lambda name: tested(dsn, name, secrets_dir),
    )
    _serve(audit, listening, root_path, tls_cert, tls_key)


def _check_role(dsn: str, org: str | None) -> None:
    """Check that the role may read the log and, for one organization, be confined to it."""
    with open_connection(dsn) as connection:
        try:
            connection.execute(QUERIES["page_role"], {"org": org})
        except psycopg.errors.InsufficientPrivilege as error:
            if org is None:
                raise
            raise PgtrailError(
                "--org needs the role audit_org_reader, which this role can't assume",
                "grant audit_org_reader to it; a role in audit_reader sees what was granted to it without --org",
            ) from error


def _serve(audit: Starlette, listening: socket.socket, root_path: str, cert: Path | None, key: Path | None) -> None:
    async def to_audit(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{root_path}{MOUNTED_AT}/{query}", headers=HEADERS)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with audit.router.lifespan_context(audit):
            yield

    app = Starlette(
        routes=[Route("/", to_audit), Route(MOUNTED_AT, to_audit), Mount(MOUNTED_AT, audit)],
        lifespan=lifespan,
    )
    config = uvicorn.Config(
        app,
        root_path=root_path,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        ssl_certfile=cert,
        ssl_keyfile=key,
        # Open pages wait for events indefinitely.
        timeout_graceful_shutdown=2,
    )
    # (An export that is cut off is rolled back by the server.)
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    # uvicorn handles the signal, and then raises it once more.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except ssl.SSLError as error:
        raise PgtrailError(f"the certificate or its key can't be used: {error.reason}", "both are PEM files") from error
    except KeyboardInterrupt:
        pass


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise PgtrailError(
            f"can't listen on {authority(host, port)}: {error.strerror or error}",
            "choose another --port or --host",
        ) from error
    # Accepted connections inherit it (asyncio sets it only if the socket names its protocol). Without it a response in
    # two parts waits 40 ms for an acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _networks(texts: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(text) for text in texts or ("127.0.0.0/8", "::1")]
    except ValueError as error:
        raise click.UsageError(f"--trusted-proxy: {error}. Write 10.0.0.5 or 10.0.0.0/24.") from error
