"""The options that filter events, for the commands that list them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--category", "categories", multiple=True, help="Only this category; can be repeated."),
    click.option("--action", "actions", multiple=True, help="Only actions that match: 'key.*'; can be repeated."),
    click.option(
        "--actor",
        "actors",
        multiple=True,
        help="Only actors whose id or label matches: '*@acme.com'; can be repeated.",
    ),
    click.option("--actor-id", help="Only the actor with exactly this id, which is faster."),
    click.option("--org", "orgs", multiple=True, help="Only this organization; can be repeated."),
    click.option(
        "--resource",
        "resources",
        multiple=True,
        help="Only resources whose id or label matches: 'prod*'; can be repeated.",
    ),
    click.option("--resource-id", help="Only the resource with exactly this id, which is faster."),
    click.option(
        "--node", "nodes", multiple=True, help="On a hub: only what this node recorded ('-': the hub); can be repeated."
    ),
    click.option("--since", help="Only since this time: 7d, 24h, yesterday, 2026-11-23, an ISO time."),
    click.option("--until", help="Only before this time."),
)

archive_option = click.option(
    "--archive",
    metavar="LOCATION",
    help="Read the months that were archived there (a folder, or s3://BUCKET/PREFIX), without a database.",
)


def filter_options(command: Command) -> Command:
    """Give a command the options; they reach it as keyword arguments for `as_filter`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def as_filter(**options: Any) -> dict[str, Any]:
    """The options that were given, as audit.filter() takes and checks them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value is not None and value != ()
    }
