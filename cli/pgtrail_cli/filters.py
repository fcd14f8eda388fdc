"""The options by which events are chosen, shared by the commands that list them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pgtrail_cli.connection import Connection
from pgtrail_worker.queries import load

QUERIES = load("pgtrail_cli")
Command = TypeVar("Command", bound=Callable[..., Any])
Filters = dict[str, Any]

_OPTIONS = (
    click.option("--category", "categories", multiple=True, help="Only this category; can be repeated."),
    click.option("--action", "actions", multiple=True, help="Only actions like this: 'key.*'; can be repeated."),
    click.option(
        "--actor",
        "actors",
        multiple=True,
        help="Only actors whose id or label is like this: '*@acme.com'; can be repeated.",
    ),
    click.option("--org", "orgs", multiple=True, help="Only this organization; can be repeated."),
    click.option("--resource", help="Only the resource with this id or label."),
    click.option("--since", help="Only from this time on: 7d, 24h, yesterday, 2026-11-23, an ISO time."),
    click.option("--until", help="Only before this time."),
)


def filter_options(command: Command) -> Command:
    """Give a command the options; they reach it as keyword arguments for `resolve`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def resolve(connection: Connection, **options: Any) -> Filters:
    """The options as the queries take them: times made out, categories known, what is not given null."""
    for category in options["categories"]:
        connection.execute(QUERIES["check_category"], {"category": category})
    for patterns in (options["actions"], options["actors"]):
        connection.execute(QUERIES["check_patterns"], {"patterns": list(patterns)})
    row = connection.execute(QUERIES["moments"], {key: options[key] for key in ("since", "until")}).fetchone()
    since, until = row or (None, None)
    lists = {key: list(options[key]) or None for key in ("categories", "actions", "actors", "orgs")}
    return {**lists, "resource": options["resource"], "since": since, "until": until}
