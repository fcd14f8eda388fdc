"""``pgtrail destination …``."""

import asyncio
import json
import time
import uuid
from typing import Any

import click
from rich.text import Text

from pgtrail_cli.connection import Connection, with_connection
from pgtrail_cli.errors import PgtrailError
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.render import console, local_time, plain_table, printable
from pgtrail_worker import http
from pgtrail_worker.signature import sign
from pgtrail_worker.verdict import Answer, Cause

NEXT_STEPS = {
    401: "the receiver wants to know who sends: check the URL's token",
    403: "the receiver does not let this sender in: check its access rules",
    404: "there is nothing at this path: check the URL",
    405: "the receiver takes no POST at this path: check the URL",
    410: "the receiver says that this endpoint is gone for good",
    429: "the receiver wants fewer requests: forwarding slows down by itself",
}


@click.group()
def destination() -> None:
    """Where events are forwarded: add, list, test, pause, resume, remove.

    \b
    Example:
      pgtrail destination add siem --url https://siem.example.com/hooks/audit
    """


@destination.command()
@click.argument("name")
@click.option("--url", required=True, help="Where events are posted: https://…")
@click.option("--format", "format_name", default="webhook", show_default=True, help="How events are rendered.")
@click.option("--category", "categories", multiple=True, help="Only this category; can be repeated.")
@click.option("--action", "actions", multiple=True, help="Only actions like this: 'key.*'; can be repeated.")
@click.option("--org", "orgs", multiple=True, help="Only this organization; can be repeated.")
@click.option("--since", help="From this time on, the past included: 7d, 2026-11-01. Default: from now on.")
@click.option("--allow-http", is_flag=True, help="Allow a URL without TLS: events cross the network in the clear.")
@with_connection
def add(
    connection: Connection,
    name: str,
    url: str,
    format_name: str,
    categories: tuple[str, ...],
    actions: tuple[str, ...],
    orgs: tuple[str, ...],
    since: str | None,
    allow_http: bool,
) -> None:
    """Forward events to a URL, signed (Standard Webhooks). The secret goes to stdout, this once.

    \b
    Example:
      pgtrail destination add siem --url https://siem.example.com/hooks/audit --category api_keys --since 30d
    """
    row = connection.execute(
        QUERIES["add_destination"],
        {
            "name": name,
            "url": url,
            "format": format_name,
            "categories": list(categories) or None,
            "actions": list(actions) or None,
            "orgs": list(orgs) or None,
            "since": since,
            "allow_http": allow_http,
        },
    ).fetchone()
    assert row is not None
    click.echo(f"pgtrail: added {name}; give the receiver this signing secret, it is not shown again:", err=True)
    click.echo(row[0])


@destination.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_connection
def list_destinations(connection: Connection, as_json: bool) -> None:
    """List the destinations: state, how far behind, the last error.

    \b
    Example:
      pgtrail destination list
    """
    cursor = connection.execute(QUERIES["destinations"])
    names = [column.name for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=str))
        return
    table = plain_table("Name", "State", "Behind", "Last success", "Next try", "URL", "Only", "Last error")
    for row in rows:
        table.add_row(
            row["name"],
            Text(row["state"], style={"active": "green", "paused": "dim"}.get(row["state"], "yellow")),
            str(row["events_behind"]),
            local_time(row["last_success_at"]),
            local_time(row["retry_at"]),
            printable(row["url"]),
            printable(", ".join(part for key in ("categories", "actions", "orgs") for part in row[key] or ())),
            printable(row["last_error"] or ""),
        )
    if rows:
        console().print(table)
    else:
        click.echo("pgtrail: no destinations yet (pgtrail destination add NAME --url https://…)", err=True)


@destination.command()
@click.argument("name")
@with_connection
def test(connection: Connection, name: str) -> None:
    """Send a signed audit.ping to NAME and explain what comes back.

    \b
    Example:
      pgtrail destination test siem
    """
    row = connection.execute(QUERIES["ping"], {"name": name}).fetchone()
    if row is None:
        raise PgtrailError(f"the secret of {name} is not yours to use", "connect as a role in audit_forwarder")
    url, content_type, secret, body = row
    answer = asyncio.run(_ping(url, content_type, secret, body.encode()))
    milliseconds = round(answer.seconds * 1000)
    if answer.status is not None and 200 <= answer.status < 300:
        click.echo(f"pgtrail: {name} answered HTTP {answer.status} in {milliseconds} ms", err=True)
        return
    what = f"HTTP {answer.status}" if answer.status is not None else (answer.cause or Cause.BROKEN).value
    raise PgtrailError(f"{name} did not take the ping: {what} after {milliseconds} ms", _next_step(answer))


async def _ping(url: str, content_type: str, secret: str, body: bytes) -> Answer:
    headers = {"content-type": content_type, "user-agent": "pgtrail"}
    signed = sign(f"ping_{uuid.uuid4().hex}", int(time.time()), body, [secret])
    async with http.client() as client:
        return await http.post(client, url, headers | signed, body)


def _next_step(answer: Answer) -> str:
    if answer.status is None:
        return "check host and port of the URL, its certificate, and the firewall between"
    if 300 <= answer.status < 400:
        return "redirects are not followed: name the final URL"
    return NEXT_STEPS.get(answer.status, "look at the receiver's own log")


def _switch(connection: Connection, name: str, paused: bool) -> None:
    connection.execute(QUERIES["pause_destination"], {"name": name, "paused": paused})


@destination.command()
@click.argument("name")
@with_connection
def pause(connection: Connection, name: str) -> None:
    """Stop sending to NAME. Nothing is lost: resume goes on from here.

    \b
    Example:
      pgtrail destination pause siem
    """
    _switch(connection, name, paused=True)
    click.echo(f"pgtrail: {name} is paused; events wait for it", err=True)


@destination.command()
@click.argument("name")
@with_connection
def resume(connection: Connection, name: str) -> None:
    """Go on sending to NAME from where it was, and try at once.

    \b
    Example:
      pgtrail destination resume siem
    """
    _switch(connection, name, paused=False)
    click.echo(f"pgtrail: {name} goes on from where it was", err=True)


@destination.command()
@click.argument("name")
@click.confirmation_option("--yes", prompt="It forgets how far this destination has got. Remove it?")
@with_connection
def remove(connection: Connection, name: str, **_: Any) -> None:
    """Remove NAME with its secret and its place in the log. The events stay.

    \b
    Example:
      pgtrail destination remove siem --yes
    """
    connection.execute(QUERIES["remove_destination"], {"name": name})
    click.echo(f"pgtrail: removed {name}", err=True)
