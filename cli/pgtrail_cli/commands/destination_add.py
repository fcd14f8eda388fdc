"""``pgtrail destination add``."""

import sys
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import click

from pgtrail.connection import Connection
from pgtrail.errors import InvalidInput, PgtrailError
from pgtrail.export import as_jsonb
from pgtrail_cli.database import QUERIES
from pgtrail_cli.matching import recent
from pgtrail_cli.options import with_connection
from pgtrail_cli.streams import say
from pgtrail_worker.address import Network, why_forbidden


@click.command()
@click.argument("name")
@click.option("--url", required=True, help="Where events are posted: https://…")
@click.option(
    "--format", default="webhook", show_default=True, help="How events are rendered (docs/security/formats.md)."
)
@click.option("--category", "categories", multiple=True, help="Only this category; can be repeated.")
@click.option("--action", "actions", multiple=True, help="Only actions that match: 'key.*'; can be repeated.")
@click.option("--org", "orgs", multiple=True, help="Only this organization; can be repeated.")
@click.option("--since", help="Also events since this time: 7d, 2026-11-01. Default: only new ones.")
@click.option("--token-env", help="The variable of the worker that holds the token; NAME_HOSTS has its hosts.")
@click.option("--token-file", help="The file in the worker's secrets folder with the token; FILE.hosts has its hosts.")
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin and keep it in the database.")
@click.option(
    "--oauth-url", help="Where the token is fetched by client credentials; the token is then the client's secret."
)
@click.option("--oauth-client-id", help="The OAuth client's id.")
@click.option("--oauth-scope", help="The OAuth scope to request.")
@click.option(
    "--in-flight",
    "max_in_flight",
    type=click.IntRange(1, 64),
    help="Maximum requests at a time. With 1 all events stay in order; else those of one resource do.",
)
@click.option("--gzip/--no-gzip", default=None, help="Compress requests. Default: depends on the format.")
@click.option("--ca-file", help="Authorities (PEM) for the receiver's certificate, in the worker's secrets folder.")
@click.option("--client-cert-file", help="The worker's client certificate and key (PEM), in its secrets folder.")
@click.option(
    "--allow-network",
    "allowed_networks",
    multiple=True,
    help="A network that is not public, such as 10.1.0.0/16; can be repeated.",
)
@click.option("--seals", is_flag=True, help="Send it each seal too, whatever its filters: history is anchored there.")
@click.option("--allow-http", is_flag=True, help="Allow a URL without TLS: events cross the network in the clear.")
@with_connection
def add(connection: Connection, name: str, url: str, format: str, token_stdin: bool, **options: Any) -> None:
    """Forward events to a URL, as the destination NAME.

    If its format signs requests, the signing secret is printed, once.

    \b
    Example:
      pgtrail destination add siem --url https://siem.example.com/hooks/audit --category api_keys --since 30d
      pgtrail destination add splunk --format splunk_hec --token-env SPLUNK_TOKEN \\
        --url https://splunk.example.com:8088/services/collector/event
    """
    _check_address(url, [_network(text) for text in options["allowed_networks"]])
    given = as_jsonb({key: value for key, value in options.items() if value not in (None, ())})
    lines = recent(connection, name, **{kind: options[kind] for kind in ("categories", "actions", "orgs")})
    with connection.transaction():
        if token_stdin:
            hand_over(connection, token_from_stdin())
        asked = {"name": name, "url": url, "format": format, "options": given}
        (secret,) = connection.fetch_one(QUERIES["add_destination"], asked)
    for line in lines:
        say(line)
    if secret is None:
        say(f"added {name}; try it: pgtrail destination test {name}")
        return
    say(f"added {name}; give the receiver this signing secret, it is not shown again:")
    click.echo(secret)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidInput(f'invalid network "{text}" ({error})', "write it as 10.1.0.0/16 or fd00::/8") from error


def _check_address(url: str, allowed: list[Network]) -> None:
    """Refuse an address that the worker would refuse. (The worker checks what a name resolves to.)"""
    try:
        address = str(ip_address(urlsplit(url).hostname or ""))
    except ValueError:
        return
    if reason := why_forbidden(address, allowed):
        raise PgtrailError(reason, f"if it is meant, allow it: --allow-network {ip_network(address)}")


def hand_over(connection: Connection, token: str) -> None:
    """Give the server a token for the rest of this transaction.

    By COPY: a server may log every statement with its parameters, but never what is copied.
    """
    connection.execute(QUERIES["make_token_table"])
    with connection.cursor() as cursor:
        with cursor.copy(QUERIES["copy_token"]) as copy:
            copy.set_types(["text"])
            copy.write_row([token])
        cursor.execute(QUERIES["take_token"])


def token_from_stdin() -> str:
    """The token, typed without echo or piped in: an argument would show in the list of processes."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Token", hide_input=True, err=True)
        return typed.strip()
    return sys.stdin.readline().strip()
