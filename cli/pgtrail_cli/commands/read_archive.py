"""`pgtrail log` and `export` with ``--archive``, without a database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

import click

from pgtrail.archive.formats import Event, as_json, csv_header, csv_line, event_name, field_lines
from pgtrail.archive.reading import Archive, Wanted, open_archive, resolve
from pgtrail_cli.log_table import print_rows
from pgtrail_cli.streams import say

Form = Literal["table", "json", "csv"]


def log(where: str, limit: int, options: dict[str, Any], form: Form) -> None:
    """Print the newest events that pass."""
    with open_archive(where) as archive:
        found = archive.newest(resolve(archive, **options), limit)
    if form == "table":
        print_rows(map(_row, found))
    elif form == "json":
        for event in found:
            click.echo(as_json(event))
    else:
        sys.stdout.buffer.write(csv_header())
        sys.stdout.buffer.writelines(map(csv_line, reversed(found)))
    if not found:
        say("no events match")


def _row(event: Event) -> tuple[Any, ...]:
    actor = event["actor_id"] if event["actor_label"] is None else event["actor_label"]
    resource = event["resource_id"] if event["resource_label"] is None else event["resource_label"]
    moment, name = datetime.fromisoformat(event["time"]), event_name(event)
    return event["id"], moment, event["action"], actor, resource, event["summary"], event["operation"], name


@contextmanager
def csv_lines(where: str, options: dict[str, Any], by_field: bool) -> Iterator[tuple[int, Iterator[bytes]]]:
    """The CSV of the events that pass, oldest first, and how many they are."""
    with open_archive(where) as archive:
        wanted = resolve(archive, **options)
        yield archive.count(wanted), _lines(archive, wanted, by_field)


def _lines(archive: Archive, wanted: Wanted, by_field: bool) -> Iterator[bytes]:
    yield csv_header(by_field)
    for event in archive.oldest_first(wanted):
        if by_field:
            yield from field_lines(event)
        else:
            yield csv_line(event)
